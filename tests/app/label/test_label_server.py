"""The MONAI Label app: the real server, driven by MONAI Label's own client and by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dirnet.cine.saving import LABELS
from dirnet.registrar import Registrar
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_masks
from transforms.structures import PRESETS

requests = pytest.importorskip("requests")
MONAILabelClient = pytest.importorskip("monailabel.client", reason="MONAI Label is not installed").MONAILabelClient
PHASES = 10


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return MONAILabelClient(server.url, tmpdir=str(tmp_path_factory.mktemp("client")))


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def post(server, model, image, params=None, **files):
    opened = {name: (path.name, path.read_bytes()) for name, path in files.items()}
    url = f"{server.url}/infer/{model}"
    return requests.post(url, params={"image": image}, data={"params": json.dumps(params or {})}, files=opened or None)


def test_info_names_the_tasks(client, cines):
    info = client.info()
    assert info["name"] == "DIRNet"
    assert set(info["models"]) == {"propagate", "register"}
    assert info["models"]["propagate"]["type"] == "segmentation"
    assert set(info["trainers"]) == {"dirnet"}
    assert "worst_registered" in info["strategies"]
    assert set(client.datastore()["objects"]) == {"one", "two", cines.series_id}


def test_a_label_is_propagated_and_saved(client, cines, drawn):
    image, result = client.infer("propagate", "one", {}, label_in=str(drawn["one"]))
    masks, lumens = read(image) > 0, cines.lumens["one"]
    assert masks.shape == lumens.shape
    assert sitk.ReadImage(image).GetSpacing() == pytest.approx((1.5, 1.25, 30))
    assert np.array_equal(masks[cines.ed["one"]], lumens[cines.ed["one"]])
    assert min(dice(*pair) for pair in zip(masks, lumens, strict=True)) > 0.75
    areas = masks.sum((1, 2)) * 1.5 * 1.25
    assert result["areas_mm2"] == {"lumen": {"0": pytest.approx(areas)}}
    assert result["frames"] == result["numbers"]["drawn_on_frames"] == [cines.ed["one"]]
    assert result["drawn"] == {"lumen": {"0": [cines.ed["one"]]}}
    assert result["volume_ml"] == {}  # (x, y, time) has no distance between slices
    client.save_label("one", image, tag="original")
    assert np.array_equal(read(client.download_label("one", "original")) > 0, masks)


def test_a_series_is_propagated_from_the_label_saved_for_it(client, cines, tmp_path):
    stack = read_cine_stack(cines.series)
    mask = np.zeros((PHASES, 2, *stack.images.shape[2:]), np.uint8)
    mask[3, :, 20:40, 30:50] = 1
    image = sitk.GetImageFromArray(mask, isVector=False)
    first = stack.grids[0]
    image.SetSpacing((*first.GetSpacing()[:2], stack.distance, 1))
    image.SetOrigin((*first.GetOrigin(), 0))
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(first.GetDirection(), (3, 3))
    image.SetDirection(direction.ravel())
    sitk.WriteImage(image, tmp_path / "label.nii.gz")
    client.save_label(cines.series_id, str(tmp_path / "label.nii.gz"))
    result, numbers = client.infer("propagate", cines.series_id, {})
    masks = read_masks(result, stack)
    assert masks.shape == stack.images.shape
    assert np.array_equal(masks[:, 3], mask[3] > 0)
    expected = Registrar.load().propagate(stack.images[1], mask[3, 1], 3).masks
    assert np.array_equal(masks[1], expected)
    assert numbers["numbers"]["ejection_fraction_percent"] is not None
    assert len(numbers["volume_ml"]["lumen"]) == PHASES


def test_series_and_labels_say_what_is_meant(client, server, cines, tmp_path):
    mask = np.full((2, *read_cine_stack(cines.series).images.shape[2:]), 4, np.uint8)
    mask[:, 20:40, 30:50] = 3
    image = sitk.GetImageFromArray(mask)
    stack = read_cine_stack(cines.series)
    image.SetSpacing((*stack.grids[0].GetSpacing()[:2], stack.distance))
    image.SetOrigin(stack.grids[0].GetOrigin())
    image.SetDirection(stack.grids[0].GetDirection())
    sitk.WriteImage(image, tmp_path / "label.nii.gz")
    number = str(pydicom.dcmread(next(cines.series.iterdir())).SeriesNumber)
    params = {"frame": 2, "series": number, "labels": "lumen=3"}
    result, _ = client.infer("propagate", cines.series_id, params, label_in=str(tmp_path / "label.nii.gz"))
    assert np.array_equal(read_masks(result, stack)[:, 2], mask == 3)
    for wrong, message in (
        ({"frame": 2}, "which is the lumen? params.labels lumen=VALUE"),
        ({"labels": "lumen=3"}, "name the frame (params.frame)"),
        ({**params, "series": 4711}, "has no series '4711'"),
        ({**params, "labels": "wall"}, "labels: expected acdc, mnms, or values such as"),
    ):
        answer = post(server, "propagate", cines.series_id, wrong, label=tmp_path / "label.nii.gz")
        assert (answer.status_code, message in answer.json()["detail"]) == (422, True), answer.text


def heart(stack, frames, labels):
    """A label image with time in a cine's geometry: ventricles and wall on some frames, larger on the later ones."""
    label = np.zeros((PHASES, *stack.images.shape[:1], *stack.images.shape[2:]), np.uint8)
    for more, frame in enumerate(frames):
        label[frame, :, 14 - more : 46, 24:56] = labels["myocardium"]
        label[frame, :, 20 - more : 40, 30:50] = labels["lumen"]
        label[frame, :, 20 : 40 + more, 4:20] = labels["rv"]
    image = sitk.GetImageFromArray(label, isVector=False)
    first = stack.grids[0]
    image.SetSpacing((*first.GetSpacing()[:2], stack.distance, 1))
    image.SetOrigin((*first.GetOrigin(), 0))
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(first.GetDirection(), (3, 3))
    image.SetDirection(direction.ravel())
    return image, label


@pytest.mark.parametrize("preset", ["acdc", "mnms", None])
def test_structures_on_two_frames_come_back_on_all(client, server, cines, tmp_path, preset):
    stack = read_cine_stack(cines.series)
    values = PRESETS[preset or "mnms"]  # without: as the server itself names them
    image, label = heart(stack, (2, 7), values)
    sitk.WriteImage(image, tmp_path / "label.nii.gz")
    client.save_label(cines.series_id, str(tmp_path / "label.nii.gz"))
    params = {"labels": preset} if preset else {}
    path, result = client.infer("propagate", cines.series_id, params)
    found = read(path)
    assert set(np.unique(found)) == {0, 1, 2, 3}
    for structure, value in (("lumen", 1), ("myocardium", 2), ("rv", 3)):
        for frame in (2, 7):
            assert np.array_equal(found[frame] == value, label[frame] == values[structure])
        assert (found == value).any((1, 2, 3)).all()
    assert result["frames"] == [2, 7]
    assert result["drawn"]["rv"] == {"0": [2, 7], "1": [2, 7]}
    assert {name: len(curve) for name, curve in result["volume_ml"].items()} == dict.fromkeys(
        ("lumen", "epicardium", "rv"), PHASES
    )
    assert result["numbers"]["myocardial_mass_g"] > 0
    one, result = client.infer("propagate", cines.series_id, {**params, "frame": "7"})
    assert result["frames"] == [7]
    assert not np.array_equal(read(one)[2], found[2])
    both, _ = client.infer("propagate", cines.series_id, {**params, "frame": [2, 7]})
    assert np.array_equal(read(both), found)

    answer = post(server, "propagate", cines.series_id, {"frame": "2,7,8", **params})
    assert (answer.status_code, "drawn on frames 2, 7 of the cine, not on frame 8" in answer.text) == (422, True)
    client.save_label(cines.series_id, path)  # all of it
    answer = post(server, "propagate", cines.series_id)
    assert (answer.status_code, "say in params.frame which to start from" in answer.text) == (422, True)
    again, _ = client.infer("propagate", cines.series_id, {"frame": "2,7"})
    assert np.array_equal(read(again), found)


def test_a_segmentation_of_three_segments_comes_back_and_is_read_again(client, server, cines, tmp_path):
    stack = read_cine_stack(cines.series)
    image, label = heart(stack, (2, 7), LABELS)
    sitk.WriteImage(image, tmp_path / "label.nii.gz")
    answer = requests.post(
        f"{server.url}/infer/propagate",
        params={"image": cines.series_id, "output": "dicom_seg"},
        files={"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())},
    )
    assert answer.headers["content-type"] == "application/dicom"
    (tmp_path / "label.dcm").write_bytes(answer.content)
    segments = pydicom.dcmread(tmp_path / "label.dcm").SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == [
        "Left ventricle lumen",
        "Left ventricle myocardium",
        "Right ventricle lumen",
    ]
    path, result = client.infer("propagate", cines.series_id, {}, label_in=str(tmp_path / "label.dcm"))
    assert result["frames"] == [2, 7]  # drawn by hand, as it says itself
    assert np.array_equal(read(path)[[2, 7]], label[[2, 7]])


def test_a_folder_that_is_copied_in_is_offered_within_ten_seconds(client, server, cines):
    new, link = cines.folder / "copied" / "cine", cines.folder / "linked"
    id = f"copied_cine_{hashlib.sha256(b'copied/cine').hexdigest()[:8]}"
    try:
        link.symlink_to(cines.folder.parent)
        shutil.copytree(cines.series, new)
        done = time.monotonic()
        while id not in client.datastore()["objects"]:
            assert time.monotonic() - done < 10
            time.sleep(0.2)
        assert f"{id}" in client.datastore()["objects"]
        answer = post(server, "register", id, {"fixed": id, "moving_frame": 0, "fixed_frame": 4})
        assert answer.ok, answer.text
        info = client.info()
        assert info["datastore"]["not_read"] == ["linked"]
        assert "links out of the studies folder: linked" in info["description"]
        answer = post(server, "propagate", "linked")
        assert (answer.status_code, "links out of it are not read: linked" in answer.text) == (404, True)
    finally:
        shutil.rmtree(new.parent)
        link.unlink()
    time.sleep(3.5)
    assert id not in client.datastore()["objects"]


def test_an_image_that_is_sent_along_or_in_a_session(client, server, cines, drawn):
    expected = read(client.infer("propagate", "one", {}, label_in=str(drawn["one"]))[0])
    session = client.create_session(str(cines.folder / "one.nii.gz"))["session_id"]
    image, _ = client.infer("propagate", "", {}, label_in=str(drawn["one"]), session_id=session)
    assert np.array_equal(read(image), expected)
    image, _ = client.infer("propagate", "", {}, label_in=str(drawn["one"]), file=str(cines.folder / "one.nii.gz"))
    assert np.array_equal(read(image), expected)
    answer = requests.post(f"{server.url}/infer/propagate", params={"session_id": "../x"})
    assert answer.status_code == 422


def test_a_batch_propagates_every_label(client, server, cines, drawn):
    client.save_label("two", str(drawn["two"]))
    answer = requests.post(f"{server.url}/batch/infer/propagate", json={"images": ["two"], "label_tag": "propagated"})
    assert answer.ok, answer.text
    for _ in range(120):
        status = requests.get(f"{server.url}/batch/infer/").json()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            break
        time.sleep(0.5)
    assert status["status"] == "DONE", "\n".join(status["details"])
    masks = read(client.download_label("two", "propagated")) > 0
    assert masks.any((1, 2)).all()
    requests.delete(f"{server.url}/datastore/label", params={"id": "two", "tag": "final"})


def test_two_frames_are_registered(client, cines):
    params = {"fixed": "two", "moving_frame": 0, "fixed_frame": 4}
    image, result = client.infer("register", "two", params)
    frames = read(cines.folder / "two.nii.gz")
    registration = Registrar.load().register(frames[0], frames[4])
    assert np.allclose(read(image).squeeze(), registration.warped, atol=0.1)
    assert result["ncc_after"] == pytest.approx(registration.ncc_after, abs=1e-4)
    assert result["ncc_after"] > result["ncc_before"]
    # the field, in ITK's hands
    content = base64.b64decode(result["field"]["data"])
    field = cines.folder.parent / "field.nii.gz"
    field.write_bytes(content)
    transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(field), sitk.sitkVectorFloat64))
    cine = sitk.ReadImage(cines.folder / "two.nii.gz", sitk.sitkFloat32)
    resampled = sitk.Resample(cine[:, :, :1], cine[:, :, :1], transform, sitk.sitkLinear)
    inside = (slice(10, -10), slice(10, -10))
    assert np.allclose(read(image).squeeze()[inside], sitk.GetArrayFromImage(resampled)[0][inside], atol=2)


def test_the_next_image_is_the_one_registered_worst(client, cines):
    found = client.next_sample("worst_registered", {})
    registrar = Registrar.load()
    scores = {}
    for image in ("one", "two"):
        frames = read(cines.folder / f"{image}.nii.gz")
        scores[image] = registrar.propagate(frames, np.ones(frames.shape[1:]), 0).ncc_after[1:].mean()
    worst = min(scores, key=scores.get)  # the series has a final label by now, or is no worse
    if found["id"] != cines.series_id:
        assert found["id"] == worst
        assert found["ncc_after"] == pytest.approx(scores[worst], abs=1e-3)
    else:
        assert found["ncc_after"] <= scores[worst] + 1e-3


WRONG = [
    ("propagate", "nowhere", {}, True, 404, "no image 'nowhere'"),
    ("propagate", "../one", {}, True, 422, "not a path"),
    ("propagate", "/etc/passwd", {}, True, 422, "not a path"),
    ("propagate", "", {}, True, 422, "image must be a name"),
    ("segment", "one", {}, True, 404, "there is no model 'segment'"),
    ("propagate", "two", {}, False, 422, "no label to propagate"),
    ("propagate", "two", {"frame": 99}, True, 422, "frame must be 0 to 9"),
    ("propagate", "two", {"frame": "first"}, True, 422, "whole number"),
    ("propagate", "two", {"label": "/etc/passwd"}, False, 422, "no label to propagate"),
    ("propagate", "two", {"image": "/etc/passwd"}, False, 422, "no label to propagate"),
    ("register", "two", {}, False, 422, "params.fixed"),
    ("register", "two", {"fixed": "../../x", "moving_frame": 0}, False, 422, "not a path"),
    ("register", "two", {"fixed": "nowhere", "moving_frame": 0}, False, 404, "no image 'nowhere'"),
    ("register", "two", {"fixed": "two", "moving_frame": 0, "fixed_frame": 10}, False, 422, "fixed_frame must be 0"),
    ("register", "two", {"fixed": "SERIES", "moving_frame": 0}, False, 422, "fixed_frame must be 0 to 9"),
]


@pytest.mark.parametrize(("model", "image", "params", "labelled", "status", "message"), WRONG)
def test_a_wrong_request_is_told_what_is_wrong(server, cines, drawn, model, image, params, labelled, status, message):
    params = {name: cines.series_id if value == "SERIES" else value for name, value in params.items()}
    answer = post(server, model, image, params, **({"label": drawn["two"]} if labelled else {}))
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.text
    assert requests.get(f"{server.url}/info/").ok


def test_uploads_of_the_wrong_kind(server, drawn, tmp_path):
    text = tmp_path / "label.nii.gz"
    text.write_text("not an image")
    answer = post(server, "propagate", "two", label=text)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("label.nii.gz: cannot be read")  # no folder of the server
    small = tmp_path / "small.nii.gz"
    sitk.WriteImage(sitk.Image([4, 5, PHASES], sitk.sitkUInt8), small)
    assert post(server, "propagate", "two", {"frame": 0}, label=small).status_code == 422
    for route, name in (("datastore/label", "label"), ("datastore/image", "file")):
        answer = requests.put(f"{server.url}/{route}", params={"image": "two"}, files={name: ("x.nii.gz", b"text")})
        assert answer.status_code == 422, answer.text
    answer = requests.post(f"{server.url}/infer/propagate", params={"image": "two"}, data={"params": "{"})
    assert answer.status_code == 422


def test_nothing_leaves_the_datastore(server, cines, drawn):
    def put(route, file="label", **params):
        files = {file: ("x.nii.gz", drawn["one"].read_bytes())}
        return requests.put(f"{server.url}/{route}", params=params, files=files)

    before = sorted(cines.folder.parent.rglob("*"))
    assert put("datastore/image", "file", image="../evil").status_code == 422
    assert put("datastore/label", image="one", tag="../../evil").status_code == 422
    assert put("datastore/label", image="../one").status_code == 422
    assert put("datastore/label", image="nowhere").status_code == 404
    assert [path for path in sorted(cines.folder.parent.rglob("*")) if "evil" in path.name] == []
    assert len(sorted(cines.folder.parent.rglob("*"))) == len(before)
    for route in ("datastore/image", "datastore/label"):
        for name in ("../../etc/passwd", "/etc/passwd", "..", "nowhere"):
            answer = requests.get(f"{server.url}/{route}", params={"image": name, "label": name, "tag": "final"})
            assert answer.status_code in (404, 422), answer.text
    wsi = requests.post(f"{server.url}/infer/wsi/propagate", params={"image": "/etc/passwd"}, json={})
    assert wsi.status_code in (404, 422)
    batch = requests.post(f"{server.url}/batch/infer/propagate", json={"images": ["/etc/passwd"]})
    assert batch.status_code < 500
    assert requests.delete(f"{server.url}/datastore/image", params={"id": cines.series_id}).status_code == 403
    assert cines.series.is_dir()


def test_only_this_machines_names_and_pages_may_ask(server):
    port = server.url.rsplit(":", 1)[1]
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": f"http://evil.example:{port}"}, 403),
        ({"Host": f"evil.example:{port}"}, 400),
        ({"Origin": server.url}, 200),
        ({"Host": f"localhost:{port}"}, 200),
        ({}, 200),
    ):
        answer = requests.get(f"{server.url}/info/", headers=headers)
        assert answer.status_code == status, headers
        assert "access-control-allow-origin" not in answer.headers
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    assert requests.options(f"{server.url}/datastore/image", headers=preflight).status_code == 403


def test_what_this_app_has_no_use_for_is_not_offered(server, tmp_path):
    for method, route in (
        ("GET", "proxy/dicom/wado/..%2Fsystem"),
        ("GET", "logs/"),
        ("GET", "model/propagate"),
        ("PUT", "model/propagate"),
        ("POST", "reload"),
        ("POST", "infer/wsi/propagate"),
        ("GET", "ohif/index.html"),
    ):
        assert requests.request(method, f"{server.url}/{route}").status_code == 404, route
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as content:
        content.addfile(tarfile.TarInfo("../../evil"))
    files = {"files": ("x.tar", archive.read_bytes())}
    assert requests.put(f"{server.url}/session/", params={"uncompress": "true"}, files=files).status_code == 422


def test_a_result_does_not_replace_the_drawing(client, server, cines, drawn):
    client.save_label("one", str(drawn["one"]), tag="final")
    answer = post(server, "propagate", "one", {"save_label": True, "label_tag": "final"})
    assert answer.status_code == 422
    assert "drawing's own" in answer.json()["detail"]
    assert post(server, "propagate", "one", {"save_label": True, "label_tag": "followed"}).ok
    assert np.array_equal(read(client.download_label("one", "final")), read(drawn["one"]))
    requests.delete(f"{server.url}/datastore/label", params={"id": "one", "tag": "final"})


def test_many_requests_at_once_are_all_right_and_leave_no_memory(server, cines, drawn):
    """200 requests, 8 at a time."""
    expected = {name: post(server, "propagate", name, label=drawn[name]).content for name in cines.lumens}
    wanted = {name: content[content.index(b"\x1f\x8b") :][:400] for name, content in expected.items()}
    assert wanted["one"] != wanted["two"]

    def ask(number):
        name = ("one", "two")[number % 2]
        kind = number % 5
        if kind == 0:
            params = {"fixed": name, "moving_frame": number % PHASES, "fixed_frame": 5}
            return post(server, "register", name, params).status_code == 200
        if kind == 1:
            return requests.get(f"{server.url}/info/").ok
        if kind == 2:
            return post(server, "propagate", "nowhere", label=drawn[name]).status_code == 404
        answer = post(server, "propagate", name, label=drawn[name])
        return answer.status_code == 200 and wanted[name] in answer.content

    def resident():
        return server.process.memory_info().rss / 2**20

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(50)))
        after_50 = resident()
        assert all(pool.map(ask, range(50, 200)))
    assert resident() - after_50 < 25, f"{after_50:.0f} MiB after 50 requests, {resident():.0f} after 200"


def test_training_leaves_new_weights_for_the_next_inference(client, server, cines, drawn):
    before = post(server, "propagate", "one", label=drawn["one"]).content
    client.train_start("dirnet", {"iterations": 10, "batch_size": 2})
    for _ in range(300):
        status = client.train_status()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            break
        time.sleep(0.5)
    assert status["status"] == "DONE", "\n".join(status["details"])
    assert len(list(server.model_dir.glob("dirnet_from_*.pt"))) == 1
    assert "iteration 10" in server.log.read_text()
    assert "training on images alone: weights that learned from drawn contours" in server.log.read_text()
    assert post(server, "propagate", "one", label=drawn["one"]).content != before
    assert "trained" in client.info()["train_stats"]["dirnet"]


def test_no_patient_is_in_the_log(server, cines):
    log = server.log.read_text()
    assert not [value for value in cines.patient.values() if value in log]
    assert "Exception in ASGI application" not in log
