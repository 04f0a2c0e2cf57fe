"""The viewer's server, asked as the page asks it, and as nobody should."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scipy.interpolate import RegularGridInterpolator
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app import command_line
from app.viewer import cines as viewer_cines
from app.viewer import results
from app.viewer.access import Access
from app.viewer.cines import Cines
from app.viewer.server import BUG, make_app, serve
from app.viewer.shown import Scale, Shown
from dirnet.cine.first_drawing import on_frame, save_first
from dirnet.cine.follow import follow
from dirnet.cine.saving import write_masks
from dirnet.errors import InputError
from tests.dicom import mr_image, write_enhanced
from transforms.contours import enclosed, outline
from transforms.dicom_series import find_series


def client_of(folder, registrar, output_dir):
    """One that has come in."""
    access = Access()
    app = make_app(folder, registrar, output_dir, access)
    client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
    assert client.get("/", params={"token": access.token}).status_code == 200
    return client


@pytest.fixture
def client(cines, registrar, tmp_path):
    return client_of(cines.folder, registrar, tmp_path / "results")


@pytest.fixture
def cine(client):
    """The address of the first phantom."""
    return f"/api/cines/{client.get('/api/cines').json()[0]['id']}"


def drawn(number, frame, *rings, structure="lumen"):
    """A drawing of one contour."""
    return {"contours": [{"structure": structure, "slice": number, "frame": frame, "rings": rings}]}


def together(*drawings):
    return {"contours": [contour for drawing in drawings for contour in drawing["contours"]]}


def drawing_of(masks, frame, structure="lumen"):
    """Of masks (S, H, W) on one frame."""
    rings = {number: [ring.tolist() for ring in outline(mask)] for number, mask in enumerate(masks) if mask.any()}
    return together(*(drawn(number, frame, *found, structure=structure) for number, found in rings.items()))


def circle(row, column, radius, points=200):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([column + radius * np.cos(angle), row + radius * np.sin(angle)], 1).tolist()


def test_a_contour_encloses_the_pixels_of_its_mask():
    rng = np.random.default_rng(0)
    for mask in rng.random((20, 12, 17)) > 0.5:  # with holes, islands, corners that touch, and pixels at the border
        assert np.array_equal(enclosed(outline(mask), mask.shape), mask)
    assert outline(np.zeros((5, 5), bool)) == []


def test_outlines_of_discs_are_round():
    row, column = np.indices((64, 64))
    for radius in (6, 15.5, 25):
        (ring,) = outline(np.hypot(row - 31.3, column - 30.6) < radius)
        distance = np.hypot(*(ring - (30.6, 31.3)).T)
        assert abs(distance.mean() - radius) < 0.15
        assert distance.std() < 0.25


def test_cines_are_found_and_described(client, cine, cines):
    names = [item["name"] for item in client.get("/api/cines").json()]
    assert names == [f"SCD_IMAGES_01/SCD{number:05d}01/CINESAX_300" for number in (1, 2, 3)]
    slices, frames, height, width = cines.lumens.shape
    described = client.get(cine).json()
    expected = {
        "slices": slices,
        "frames": frames,
        "size": [height, width],
        "spacing": list(cines.stack.spacing),
        "times": cines.stack.times.tolist(),
        "region": [0, 0, height, width],  # a phantom of this size is all heart
        "view": "short axis",
        "base": "last",
    }
    assert {key: described[key] for key in expected} == expected
    assert described["study"]["name"] == "Phantom SCD0000101"
    assert described["study"]["heart_rate"] == pytest.approx(60000 / 700, abs=0.1)
    sent = np.frombuffer(client.get(f"{cine}/slices/1/frames").content, "<u2").reshape(frames, height, width)
    low, step = described["scale"].values()
    assert np.array_equal(low + step * sent, cines.stack.images[1])


def test_small_pictures_are_means_of_the_region(cines, registrar, tmp_path):
    images = np.random.default_rng(0).random((2, 4, 300, 290), np.float32)
    sitk.WriteImage(
        sitk.JoinSeries([sitk.GetImageFromArray(frame) for frame in images.swapaxes(0, 1)]), tmp_path / "a.nii"
    )
    client = client_of(tmp_path, registrar, tmp_path / "out")
    address = f"/api/cines/{client.get('/api/cines').json()[0]['id']}"
    described = client.get(address).json()
    top, left, height, width = described["region"]
    assert (height, width) == (160, 160)
    factor, size = described["small"].values()
    assert (factor, size) == (2, [80, 80])
    part = images[..., top : top + 160, left : left + 160].reshape(2, 4, 80, 2, 80, 2).mean((3, 5))
    low, step = described["scale"].values()
    sent = low + step * np.frombuffer(client.get(f"{address}/small").content, "<u2").reshape(2, 4, 80, 80)
    assert np.abs(sent - part).max() < step
    wide, level = described["window"].values()
    assert (level - wide / 2, level + wide / 2) == pytest.approx((0.01, 0.99), abs=0.01)


def test_numbers_stand_for_grey_values():
    rng = np.random.default_rng(0)
    whole = rng.integers(-1000, 3000, (3, 4)).astype(np.float32)
    scale = Scale.of(whole)
    assert np.array_equal(scale.low + np.frombuffer(scale.bytes(whole), "<u2").reshape(3, 4), whole)
    real = rng.random((3, 4)).astype(np.float32) * 1e-3
    scale = Scale.of(real)
    sent = np.frombuffer(scale.bytes(real), "<u2").reshape(3, 4)
    assert np.allclose(scale.low + scale.step * sent, real, atol=1e-7)
    assert set(Scale.of(np.full((3, 4), 7.5)).bytes(np.full((3, 4), 7.5))) == {0}
    assert Shown(SimpleNamespace(images=np.full((1, 2, 3, 4), 7.0), spacing=(1, 1))).window == (1, 7)


def test_nifti_cines_and_what_cannot_be_read(cines, registrar, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0]), tmp_path / "beat.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0, 0]), tmp_path / "still.nii.gz")
    (tmp_path / "broken.nii").write_bytes(b"no image")
    (tmp_path / "out").mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0]), tmp_path / "out" / "masks.nii.gz")
    client = client_of(tmp_path, registrar, tmp_path / "out")
    ids = {item["name"]: item["id"] for item in client.get("/api/cines").json()}
    assert list(ids) == ["beat.nii.gz", "broken.nii"]
    refused = client.get(f"/api/cines/{ids['broken.nii']}")
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("broken.nii: cannot be read as NIfTI")
    assert client.get(f"/api/cines/{ids['beat.nii.gz']}").json()["times"] is None
    ring = circle(48, 56, 12)
    numbers = client.post(f"/api/cines/{ids['beat.nii.gz']}/follow", json=drawn(0, 0, ring)).json()["numbers"]
    assert numbers["ejection_fraction_percent"] is None


def write_study(folder, series_of):
    """A short-axis cine of 2 slices of 4 frames beside a long-axis one, each file in the sub-folder that is said."""
    pixels = np.random.default_rng(0).integers(255, size=(3, 4, 48, 64), dtype=np.uint8)
    for number, (slice_, time) in enumerate(product(range(3), range(4))):
        series = 30 if slice_ == 2 else series_of(slice_)
        tags = {"SeriesNumber": series, "SeriesInstanceUID": f"1.2.{series}", "TriggerTime": 25 * time}
        tags["SeriesDescription"] = "cine_4ch" if slice_ == 2 else "cine_sax"
        if slice_ == 2:
            tags["ImageOrientationPatient"] = [0, 1, 0, 0, 0, 1]
        path = folder(series) / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        mr_image(pixels[slice_, time], ImagePositionPatient=[0, 0, 8 * slice_], **tags).save_as(path)
    return pixels


def test_a_folder_with_several_series_offers_its_cines(registrar, tmp_path):
    write_study(lambda series: tmp_path / "study", lambda slice_: 20)
    client = client_of(tmp_path, registrar, tmp_path / "results")
    [listed] = client.get("/api/cines").json()
    choices = client.get(f"/api/cines/{listed['id']}").json()["choices"]
    assert [choice["name"] for choice in choices] == ["20 (cine_sax, 2 × 4)", "30 (cine_4ch, 1 × 4)"]
    found = [client.get(f"/api/cines/{choice['id']}").json() for choice in choices]
    assert [(cine["slices"], cine["frames"]) for cine in found] == [(2, 4), (1, 4)]
    assert len(client.get("/api/cines").json()) == 1  # found anew, while what was chosen stays
    long_axis = f"/api/cines/{choices[1]['id']}"
    drawing = drawn(0, 0, circle(24, 32, 9))
    result = client.post(f"{long_axis}/follow", json=drawing).json()["result"]
    saved = client.post(f"{long_axis}/save", json={"result": result}).json()
    assert "study_series_30_numbers.json" in saved["files"]
    assert client.get(f"{long_axis}/slices/0/warped", params={"result": result}).status_code == 200
    assert client.get("/api/cines/0123456789abcdef-01234567").status_code == 404


def test_a_study_with_a_folder_for_each_slice_is_one_cine(registrar, tmp_path):
    write_study(lambda series: tmp_path / "a" / f"s{series}", lambda slice_: 20 + slice_)
    write_enhanced(tmp_path / "one.dcm", np.zeros((1, 3, 48, 64), np.uint8), [(0, 0), (0, 1), (0, 2)])
    other = tmp_path / "b"
    other.mkdir()
    shutil.move(tmp_path / "one.dcm", other / "IM1")
    dataset = pydicom.dcmread(other / "IM1")
    dataset.StudyInstanceUID = "1.2.9"
    dataset.save_as(other / "IM1")
    client = client_of(tmp_path, registrar, tmp_path / "results")
    ids = {item["name"]: item["id"] for item in client.get("/api/cines").json()}
    assert list(ids) == ["a", "a/s20", "a/s21", "a/s30", "b"]
    choices = client.get(f"/api/cines/{ids['a']}").json()["choices"]
    assert [choice["name"] for choice in choices] == ["20, 21 (cine_sax, 2 × 4)", "30 (cine_4ch, 1 × 4)"]
    assert client.get(f"/api/cines/{choices[0]['id']}").json()["slices"] == 2
    assert client.get(f"/api/cines/{ids['a/s21']}").json()["slices"] == 1
    assert client.get(f"/api/cines/{ids['b']}").json()["frames"] == 3
    shutil.rmtree(tmp_path / "a" / "s21")
    assert client.get(f"/api/cines/{choices[0]['id']}").json()["slices"] == 1  # read anew


def test_a_mask_with_several_values_needs_labels(client, cine, cines, tmp_path):
    masks = np.zeros(cines.lumens.shape, np.uint8)
    masks[:, 3] = 1 + 2 * cines.lumens[:, 3]
    write_masks(tmp_path / "labels.nii.gz", masks > 0, cines.stack)
    image = sitk.ReadImage(tmp_path / "labels.nii.gz")
    labelled = sitk.GetImageFromArray(masks.transpose(1, 0, 2, 3), isVector=False)
    labelled.CopyInformation(image)
    sitk.WriteImage(labelled, tmp_path / "labels.nii.gz")
    content, query = (tmp_path / "labels.nii.gz").read_bytes(), {"name": "labels.nii.gz", "frame": 0}
    refused = client.post(f"{cine}/mask", params=query, content=content)
    assert refused.status_code == 422
    assert "which is the lumen? Labels: lumen=VALUE, or acdc, or mnms" in refused.json()["detail"]
    read = client.post(f"{cine}/mask", params={**query, "labels": "lumen=3,rv=1"}, content=content).json()
    assert {contour["structure"] for contour in read["contours"]} == {"lumen", "rv"}
    assert {contour["frame"] for contour in read["contours"]} == {3}
    masks_of = {"lumen": cines.lumens[:, 3], "rv": ~cines.lumens[:, 3]}
    for contour in read["contours"]:
        found = enclosed(contour["rings"], masks.shape[2:])
        assert np.array_equal(found, masks_of[contour["structure"]][contour["slice"]])


def test_a_drawn_circle_is_the_pixels_whose_centres_it_holds(client, cine, cines):
    slices, _, height, width = cines.lumens.shape
    row, column = np.indices((height, width))
    expected = np.hypot(row - 40.3, column - 61.8) < 17.2
    drawing = drawn(slices - 1, 3, circle(40.3, 61.8, 17.2))
    answer = client.post(f"{cine}/follow", json=drawing).json()
    followed = answer["slices"][str(slices - 1)]
    areas = followed["areas"]["lumen"]
    assert np.array_equal(enclosed(followed["contours"]["lumen"][3], (height, width)), expected)
    assert areas[3] == pytest.approx(expected.sum() * np.prod(cines.stack.spacing), abs=0.001)
    assert areas[3] == pytest.approx(np.pi * 17.2**2 * np.prod(cines.stack.spacing), rel=0.01)


def test_the_contour_follows_the_lumen(client, cine, cines, dice):
    drawing = drawing_of(cines.lumens[:, cines.ed], cines.ed)
    answer = client.post(f"{cine}/follow", json=drawing).json()
    for number, followed in answer["slices"].items():
        for rings, lumen in zip(followed["contours"]["lumen"], cines.lumens[int(number)], strict=True):
            assert dice(enclosed(rings, lumen.shape), lumen) > 0.75
    volume = cines.lumens.sum((0, 2, 3))
    fraction = 100 * (1 - volume.min() / volume.max())
    assert answer["numbers"]["ejection_fraction_percent"] == pytest.approx(fraction, abs=6)
    assert max(answer["volumes"]["lumen"]) == pytest.approx(answer["numbers"]["end_diastolic_volume_ml"], abs=0.01)


def test_structures_follow_from_their_own_frames(client, cine, cines):
    ed, es = cines.ed, int(cines.lumens.sum((0, 2, 3)).argmin())
    lumen, wall = circle(48, 56, 12), circle(48, 56, 20)
    drawing = together(
        drawn(0, ed, lumen),
        drawn(0, es, circle(48, 56, 8)),
        drawn(1, ed, lumen),
        drawn(0, ed, wall, structure="epicardium"),
        drawn(1, es, circle(48, 90, 9), structure="rv"),
    )
    answer = client.post(f"{cine}/follow", json=drawing).json()
    first, second = answer["slices"]["0"], answer["slices"]["1"]
    assert (set(first["contours"]), set(second["contours"])) == ({"lumen", "epicardium"}, {"lumen", "rv"})
    area = np.prod(cines.stack.spacing)
    assert first["areas"]["lumen"][es] == pytest.approx(area * np.pi * 8**2, rel=0.03)
    assert first["areas"]["epicardium"][ed] == pytest.approx(area * np.pi * 20**2, rel=0.03)
    assert second["areas"]["rv"][es] == pytest.approx(area * np.pi * 9**2, rel=0.03)
    assert second["areas"]["epicardium"] is None
    assert set(answer["volumes"]) == {"lumen", "epicardium", "rv"}
    assert answer["numbers"]["myocardial_mass_g"] > 0

    # only what has changed is sent once more
    mended = together(drawing, drawn(1, es, circle(48, 56, 7)))
    again = client.post(f"{cine}/follow", json={**mended, "earlier": answer["result"]}).json()
    assert again["slices"]["0"]["contours"] is None
    assert again["slices"]["1"]["contours"] != second["contours"]
    alone = client.post(f"{cine}/follow", json=mended).json()
    assert alone["slices"]["1"] == again["slices"]["1"]
    assert alone["numbers"] == again["numbers"]
    other = client.get("/api/cines").json()[1]["id"]
    foreign = client.post(f"/api/cines/{other}/follow", json={**drawing, "earlier": answer["result"]}).json()
    assert foreign["slices"]["0"]["contours"] is not None


def test_phases_and_slices_are_left_out_as_a_reader_says(client, cine, cines):
    drawing = together(drawn(0, cines.ed, RING), drawn(1, cines.ed, RING))
    free = client.post(f"{cine}/follow", json=drawing).json()["numbers"]
    said = {**drawing, "ed": cines.ed, "es": 2, "left_out_es": [1], "papillary": "excluded"}
    answer = client.post(f"{cine}/follow", json=said).json()
    numbers = answer["numbers"]
    assert (numbers["end_diastolic_frame"], numbers["end_systolic_frame"]) == (cines.ed, 2)
    assert numbers["slices_left_out_at_end_systole"] == [1]
    assert numbers["end_diastolic_volume_ml"] == pytest.approx(free["end_diastolic_volume_ml"], rel=1e-3)
    assert numbers["end_systolic_volume_ml"] < 0.7 * free["end_systolic_volume_ml"]
    assert 2 in answer["slices"]["1"]["left_out"]
    assert answer["slices"]["0"]["left_out"] == []
    assert numbers["warnings"][0] == "papillary muscles are not counted in the lumen, as the reader says"


def test_progress_is_told_by_slice(client, cine, cines, monkeypatch):
    seen = []
    viewer = client.app.state.viewer
    real = viewer.registrar.propagate
    assert client.get(f"{cine}/progress/follow").json() == {}

    def propagate(*args):
        seen.append(client.get(f"{cine}/progress/follow").json())
        return real(*args)

    monkeypatch.setattr(viewer.registrar, "propagate", propagate)
    client.post(f"{cine}/follow", json=together(drawn(0, 0, RING), drawn(1, 0, RING)))
    assert seen == [{}, {"what": "", "done": 1, "all": 2}]
    assert not viewer.progress


def test_suggestions_are_what_the_command_draws(client, cine, cines, registrar):
    """And give the same numbers; who drew stands among the warnings."""
    viewer, seen = client.app.state.viewer, []
    first = viewer.first_contours
    asked = first.network.register_forward_hook(lambda *_: seen.append(client.get(f"{cine}/progress/suggest").json()))
    try:
        found = client.post(f"{cine}/suggest", json={}).json()
    finally:
        asked.remove()
    assert {one["what"] for one in seen if one} == {"finding end-diastole", "drawing"}
    assert all(one["done"] <= one["all"] for one in seen if one)
    assert found["frame"] == cines.ed == first.end_diastole(cines.stack)
    wanted = on_frame(first.draw(cines.stack, cines.ed), cines.stack, cines.ed)
    assert {one["structure"] for one in found["contours"]} == set(wanted)
    for one in found["contours"]:
        mask = wanted[one["structure"]][one["slice"], one["frame"]]
        np.testing.assert_array_equal(enclosed(one["rings"], mask.shape), mask)
    by = {0: "network", 1: "network, mended"}
    contours = [{**one, "by": by[one["slice"]]} for one in found["contours"]]
    numbers = client.post(f"{cine}/follow", json={"contours": contours}).json()["numbers"]
    drawn_by = [
        "slice 0: contours were drawn by a network and accepted by the reader",
        "slice 1: contours were drawn by a network and mended by the reader",
    ]
    expected = follow(registrar, cines.stack, wanted).numbers
    assert numbers == {**expected, "warnings": [*drawn_by, *expected["warnings"]]}
    assert client.post(f"{cine}/suggest", json={"frame": 2}).json()["contours"][0]["frame"] == 2
    refused = client.post(f"{cine}/suggest", json={"frame": 10})
    assert (refused.status_code, refused.json()["detail"]) == (422, "frame must be 0 to 9, got 10")


def test_warped_frames_and_motion(client, cine, cines, registrar):
    lumen, images, ed = cines.lumens[1], cines.stack.images[1], cines.ed
    es = int(lumen.sum((1, 2)).argmin())
    answer = client.post(f"{cine}/follow", json=drawing_of(cines.lumens[:, ed], ed)).json()
    query = {"result": answer["result"]}
    warped = np.frombuffer(client.get(f"{cine}/slices/1/warped", params=query).content, "<u2").reshape(images.shape)
    scale = Shown.of(cines.stack).scale
    shown = (images - scale.low) / scale.step
    assert np.array_equal(warped[ed], shown[ed])
    before, after = (np.abs(shown[es] - other)[lumen[ed]].mean() for other in (shown[ed], warped[es]))
    assert after < 0.5 * before

    start = np.indices(images.shape[1:])[:, :: answer["field_step"], :: answer["field_step"]].astype(float)
    moved = np.frombuffer(client.get(f"{cine}/slices/1/field", params=query).content, "<f4")
    now = start + moved.reshape(len(images), *start.shape)[es]
    ddf = registrar.propagate(images, lumen[ed], ed).ddf[es]
    axes = [np.arange(count) for count in ddf.shape[1:]]
    inside = np.clip(now.T, 0, np.array(ddf.shape[1:]) - 1)  # a field repeats its outermost values beyond its border
    whence = now + np.stack([RegularGridInterpolator(axes, part)(inside).T for part in ddf])
    assert np.abs(whence - start).max() < 0.05
    assert np.abs(now - start).max() > 2


def test_a_mask_is_loaded_as_it_is(client, cine, cines, tmp_path):
    masks = np.zeros_like(cines.lumens)
    masks[:, cines.ed] = cines.lumens[:, cines.ed]
    masks[0, cines.ed, 3:6, 4:9] = True  # an island
    write_masks(tmp_path / "lumen.nii.gz", masks, cines.stack)
    body = (tmp_path / "lumen.nii.gz").read_bytes()
    query = {"name": "lumen.nii.gz", "frame": cines.ed}
    for asked in (cines.ed, 0):  # a file that has its frame keeps it
        found = client.post(f"{cine}/mask", params={**query, "frame": asked}, content=body).json()
        assert [(one["slice"], one["frame"]) for one in found["contours"]] == [(0, cines.ed), (1, cines.ed)]
        for contour in found["contours"]:
            mask = masks[contour["slice"], cines.ed]
            assert np.array_equal(enclosed(contour["rings"], mask.shape), mask)
    found = client.post(f"{cine}/mask", params={**query, "labels": "epicardium"}, content=body).json()
    assert {contour["structure"] for contour in found["contours"]} == {"epicardium"}
    masks[:, cines.ed - 1] = masks[:, cines.ed]
    write_masks(tmp_path / "several.nii.gz", masks, cines.stack)
    several = (tmp_path / "several.nii.gz").read_bytes()
    found = client.post(f"{cine}/mask", params={"name": "several.nii.gz", "frame": 0}, content=several).json()
    assert {contour["frame"] for contour in found["contours"]} == {cines.ed - 1, cines.ed}
    refused = client.post(f"{cine}/mask", params={**query, "name": "../../lumen.nii"}, content=b"none")
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("lumen.nii: cannot be read")


def test_saved_work_is_opened_as_it_was_drawn(client, cine, cines):
    drawing = together(
        drawn(0, cines.ed, RING),
        drawn(1, 3, RING),
        drawn(0, cines.ed, circle(48, 56, 20), structure="epicardium"),
    )
    result = client.post(f"{cine}/follow", json=drawing).json()["result"]
    saved = client.post(f"{cine}/save", json={"result": result}).json()
    for ending in ("masks.nii.gz", "segmentation.dcm"):
        name = next(file for file in saved["files"] if file.endswith(ending))
        body = (Path(saved["folder"]) / name).read_bytes()
        found = client.post(f"{cine}/mask", params={"name": name, "frame": 0}, content=body).json()["contours"]
        places = {(one["structure"], one["slice"], one["frame"]): one["rings"] for one in found}
        assert set(places) == {("lumen", 0, cines.ed), ("lumen", 1, 3), ("epicardium", 0, cines.ed)}, ending
        for contour in drawing["contours"]:
            rings = places[contour["structure"], contour["slice"], contour["frame"]]
            size = cines.lumens.shape[2:]
            assert np.array_equal(enclosed(rings, size), enclosed(contour["rings"], size))


def test_who_drew_saved_masks_is_known_wherever_they_are_loaded(client, cine, cines, registrar, tmp_path):
    """Where they were saved, and elsewhere with the file beside them; masks that a network drew too."""
    contours = together(drawn(0, cines.ed, RING), drawn(1, 3, RING))["contours"]
    contours[1]["by"] = "network, mended"
    result = client.post(f"{cine}/follow", json={"contours": contours}).json()["result"]
    folder = Path(client.post(f"{cine}/save", json={"result": result}).json()["folder"])
    body, beside = ((folder / f"CINESAX_300_masks.{end}").read_bytes() for end in ("nii.gz", "json"))

    def load(name, content, **query):
        answer = client.post(f"{cine}/mask", params={"name": name, "frame": 0, **query}, content=content)
        return answer.json()["contours"] if answer.status_code == 200 else answer.json()["detail"]

    def by(found):
        return {(one["slice"], one["frame"]): one.get("by") for one in found}

    assert by(load("renamed.nii.gz", body)) == {(0, cines.ed): None, (1, 3): "network, mended"}
    for path in folder.iterdir():
        path.unlink()
    assert len(load("a.nii.gz", body)) == cines.lumens[:, :, 0, 0].size  # nothing says what of it was drawn
    with_it = {"sidecar_bytes": len(beside)}
    assert by(load("a.nii.gz", beside + body, **with_it)) == {(0, cines.ed): None, (1, 3): "network, mended"}
    other = json.dumps({**json.loads(beside), "sha256": "0"}).encode()
    assert load("a.nii.gz", other + body, sidecar_bytes=len(other)).startswith("a.json is not of a.nii.gz as it is")
    assert "sidecar_bytes" in load("a.nii.gz", body, sidecar_bytes=2**21)

    first = {"lumen": cines.lumens[:, cines.ed] > 0}
    save_first(first, cines.stack, cines.ed, folder, "CINESAX_300")
    found = load("first.nii.gz", (folder / "CINESAX_300_first_contours.nii.gz").read_bytes())
    assert by(found) == dict.fromkeys([(0, cines.ed), (1, cines.ed)], "network, not looked at")


@pytest.mark.parametrize(
    "name", ["", "..", ".", "/", "a/..", "..\\", "a\0.nii", 300 * "a" + ".nii", "a.nii", "a.txt", "a"]
)
def test_wrong_masks_are_called_by_their_own_names(client, cine, name):
    refused = client.post(f"{cine}/mask", params={"name": name, "frame": 0}, content=b"none")
    assert refused.status_code == 422
    assert tempfile.gettempdir() not in refused.json()["detail"]
    expected = name if name[:2] in ("aa", "a.", "a") else f"name must be that of a file, got {name!r}"
    assert expected in refused.json()["detail"]


RING = circle(48, 56, 12)


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        (drawn(0, 10, RING), "frame must be 0 to 9, got 10"),
        (drawn(0, -1, RING), "frame must be 0 to 9, got -1"),
        (drawn(2, 0, RING), "slice must be 0 to 1, got 2"),
        (
            drawn(0, 0, RING, structure="atrium"),
            "contours, 0, structure: Input should be 'lumen', 'epicardium' or 'rv'",
        ),
        (drawn(0, 0), "contours, 0, rings: List should have at least 1 item"),
        (
            drawn(0, 3, [[5.1, 5.1], [5.4, 5.1], [5.4, 5.4]]),
            "slice 0, frame 3: the contour of the lumen encloses no pix",
        ),
        (drawn(1, 0, circle(48, 100, 12)), "slice 1, frame 0: the contour of the lumen leaves the image"),
        (drawn(1, 0, [[1, 1], [2, 2]]), "at least 3 items"),
        (drawn(1, 0, [[1, 1], [2, "x"], [3, 4]]), "contours, 0, rings, 0, 1, 1: Input should be"),
        (together(drawn(0, 0, RING), drawn(0, 0, RING)), "slice 0, frame 0: the contour of the lumen is there twice"),
        ({"contours": []}, "nothing is drawn on any slice"),
        ({**drawn(0, 0, RING), "es": 10}, "ES must be a frame of 0 to 9, got 10"),
        ({**drawn(0, 0, RING), "ed": 3, "es": 3}, "ED and ES are both frame 3"),
        ({**drawn(0, 0, RING), "left_out_es": [2]}, "a slice that is left out must be 0 to 1, got 2"),
        ({"ed": 0}, "contours: Field required"),
        ([], "Input should be a valid"),
    ],
)
def test_wrong_drawings_are_refused_in_words(client, cine, drawing, message):
    answer = client.post(f"{cine}/follow", json=drawing)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_only_what_was_found_can_be_named(client, cine):
    result = client.post(f"{cine}/follow", json=drawn(0, 0, RING)).json()["result"]
    missing = (
        "/api/cines/none",
        "/api/cines/..%2F..%2Fetc",
        f"{cine}/slices/2/frames",
        f"{cine}/slices/-1/frames",
        f"{cine}/slices/1/warped?result={result}",  # not drawn
        f"{cine}/slices/0/field?result={result + 1}",
        f"{client.get('/api/cines').json()[1]['id']}/slices/0/field?result={result}",
        "/../server.py",
        "/docs",
    )
    for path in missing:
        assert client.get(path).status_code == 404, path
    assert client.get(f"{cine}/slices/one/frames").status_code == 422


def test_other_sites_are_kept_out(client):
    assert client.get("/", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    assert client.get("/", headers={"Origin": "https://elsewhere.org"}).status_code == 403
    for malformed in ("http://[::1", "http://[", "null", "", "//", "http://127.0.0.1@elsewhere.org", "\xff"):
        assert client.get("/", headers={"Origin": malformed.encode("latin-1")}).status_code == 403, malformed
    for host in ("elsewhere.org", "[::1", "[", "127.0.0.1@elsewhere.org", "elsewhere.org:127.0.0.1"):
        assert client.get("/", headers={"Host": host}).status_code == 400, host
    assert client.get("/").headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in client.get("/").headers["Content-Security-Policy"]


def test_other_accounts_are_kept_out(cines, registrar, tmp_path):
    access = Access()
    app = make_app(cines.folder, registrar, tmp_path, access)

    def newcomer():
        return TestClient(app, "http://127.0.0.1:8765")

    for query in ("", "?token=", "?token=none", "?token=%C3%A9%FF", f"?token={access.token[:-1]}"):
        for path in ("/", "/viewer.js", "/api/cines", "/none"):
            refused = newcomer().get(path + query)
            assert refused.status_code == 403
            assert "with its token" in refused.json()["detail"]
    assert newcomer().post("/api/cines/none/save", json={"result": 1}).status_code == 403
    refused = newcomer().get("/", headers={"Accept": "text/html", "Cookie": "dirnet-127-0-0-1-8765=none"})
    assert (refused.status_code, refused.headers["Content-Type"]) == (403, "text/plain; charset=utf-8")

    for secret in (access.token, access.ticket):
        client = newcomer()
        cookie = client.get(f"/?token={secret}").headers["Set-Cookie"]
        assert cookie.startswith("dirnet-127-0-0-1-8765=")
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert client.get("/api/cines").status_code == 200
    assert client.get(f"/?token={access.ticket}").status_code == 200  # loaded again
    assert newcomer().get(f"/?token={access.ticket}").status_code == 403
    assert newcomer().get(f"/?token={access.token}").status_code == 200


def test_two_requests_at_once(client, cine, cines):
    drawings = [drawing_of(cines.lumens[:, frame], frame) for frame in (0, cines.ed)]
    alone = [client.post(f"{cine}/follow", json=drawing).json() for drawing in drawings]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda drawing: client.post(f"{cine}/follow", json=drawing).json(), drawings))
    for one, other in zip(alone, both, strict=True):
        assert one.pop("result") != other.pop("result")
        assert one == other


def test_results_are_had_again_when_memory_is_short(client, cine, monkeypatch):
    monkeypatch.setattr(results, "BYTES", 0)
    monkeypatch.setattr(results, "DRAWINGS", 3)
    drawings = [drawn(0, frame, RING) for frame in range(4)]
    numbers, fields = [], []
    for drawing in drawings:
        numbers.append(client.post(f"{cine}/follow", json=drawing).json()["result"])
        fields.append(client.get(f"{cine}/slices/0/field?result={numbers[-1]}").content)
    entries = client.app.state.viewer.results._entries.values()
    assert [entry.followed is not None for entry in entries] == [False, False, True]
    for number, content in zip(numbers[1:], fields[1:], strict=True):
        assert client.get(f"{cine}/slices/0/field?result={number}").content == content
    forgotten = client.get(f"{cine}/slices/0/field?result={numbers[0]}")
    assert (forgotten.status_code, forgotten.json()["detail"][:33]) == (404, "this result is no longer kept: pr")


def test_a_cine_that_has_changed_is_read_anew(cines, registrar, tmp_path):
    path = tmp_path / "beat.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0]), path)
    client = client_of(tmp_path, registrar, tmp_path / "out")
    cine = f"/api/cines/{client.get('/api/cines').json()[0]['id']}"
    result = client.post(f"{cine}/follow", json=drawn(0, 0, RING)).json()["result"]
    read = client.app.state.viewer.cines.read(cine.rsplit("/", 1)[1])
    client.get("/api/cines")  # a second tab
    assert client.app.state.viewer.cines.read(cine.rsplit("/", 1)[1]) is read
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0, 1:]), path)
    assert client.get(cine).json()["frames"] == len(cines.stack.images[0]) - 1
    assert client.get(f"{cine}/slices/0/field?result={result}").status_code == 404


def test_the_list_does_not_wait_for_a_cine(client, cine, monkeypatch):
    reading, go = threading.Event(), threading.Event()

    def read(path):
        reading.set()
        assert go.wait(10)
        return find_series(path)

    monkeypatch.setattr(viewer_cines, "find_series", read)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, cine)
        assert reading.wait(10)
        assert client.get("/api/cines").status_code == 200
        go.set()
        assert waiting.result().status_code == 200


def test_links_out_of_the_folder_are_not_followed(cines, registrar, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "served"
    shutil.copytree(cines.series, outside / "series")
    sitk.WriteImage(sitk.GetImageFromArray(cines.stack.images[0]), outside / "beat.nii.gz")
    shutil.copytree(cines.series, folder / "whole")
    first, *rest = sorted((folder / "whole").iterdir())
    (folder / "series").symlink_to(outside / "series")
    (folder / "out.nii.gz").symlink_to(outside / "beat.nii.gz")
    shutil.copytree(cines.series, folder / "mixed")
    (folder / "mixed" / first.name).unlink()
    (folder / "mixed" / first.name).symlink_to(outside / "series" / first.name)
    (folder / "within").mkdir()
    for file in (first, *rest):  # as git-annex has them
        (folder / "within" / file.name).symlink_to(Path("../whole") / file.name)
    client = client_of(folder, registrar, tmp_path / "out")
    ids = {item["name"]: item["id"] for item in client.get("/api/cines").json()}
    assert list(ids) == ["whole", "within"]
    assert client.get(f"/api/cines/{ids['within']}").status_code == 200
    rest[0].unlink()
    rest[0].symlink_to(outside / "series" / rest[0].name)  # once it was listed
    for name in ("whole", "within"):
        assert client.get(f"/api/cines/{ids[name]}").status_code == 404


def gzipped_zeros(head, megabytes):
    """A .nii.gz of a header and so many MiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head)] + [packer.compress(bytes(2**20)) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


def test_uploads_have_a_size(client, cine, cines, tmp_path, monkeypatch):
    (tmp_path / "uploads").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "uploads"))

    def send(name, body):
        tracemalloc.start()
        answer = client.post(f"{cine}/mask", params={"name": name, "frame": 0}, content=body)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return answer.status_code, answer.json()["detail"], peak

    most = 8 * cines.stack.images.size + 2**20
    parts = (bytes(2**20) for _ in range(30))
    status, detail, _ = send("a.nii", parts)
    assert (status, detail) == (413, f"a.nii: expected masks of the cine, at most {most} bytes")
    sitk.WriteImage(sitk.Image(2, 2, sitk.sitkUInt8), tmp_path / "a.nii")
    head = bytearray((tmp_path / "a.nii").read_bytes()[:352])
    status, detail, peak = send("a.nii.gz", gzipped_zeros(bytes(head), 200))
    assert (status, detail) == (422, f"a.nii.gz: unpacks to more than {most} bytes, expected masks of the cine")
    assert peak < 2 * most
    struct.pack_into("<3h", head, 40, 2, 30_000, 30_000)
    status, detail, peak = send("a.nii", bytes(head))
    assert (status, detail[:43]) == (422, "a.nii: its header says 900000000 pixels, th")
    assert peak < 2 * most
    status = client.post(f"{cine}/follow", content=(bytes(2**20) for _ in range(30))).status_code
    assert status == 413
    assert not list((tmp_path / "uploads").iterdir())


def test_a_bug_is_no_wrong_input(client, cine, monkeypatch):
    def raises(error):
        def read(_):
            raise error

        return read

    for error, status, detail in (
        (ValueError("shapes (2,) and (3,)"), 500, BUG),
        (KeyError("images"), 500, BUG),
        (InputError("a.dcm: no pixels"), 422, "a.dcm: no pixels"),
        (FileNotFoundError("cine 'a' does not exist"), 404, "cine 'a' does not exist"),
        (PermissionError(13, "Permission denied"), 422, "[Errno 13] Permission denied"),
    ):
        monkeypatch.setattr(viewer_cines, "find_series", raises(error))
        answer = client.get(cine)
        assert (answer.status_code, answer.json()["detail"]) == (status, detail)


def test_saving_overwrites_nothing_unasked(client, cine, tmp_path):
    result = client.post(f"{cine}/follow", json=drawn(0, 0, RING)).json()["result"]
    saved = client.post(f"{cine}/save", json={"result": result}).json()
    folder = tmp_path / "results" / "SCD_IMAGES_01" / "SCD0000101"
    assert saved["folder"] == str(folder)
    assert sorted(saved["files"]) == sorted(path.name for path in folder.iterdir())
    assert "CINESAX_300_numbers.json" in saved["files"]
    (folder / "CINESAX_300_numbers.json").write_text("mine")
    refused = client.post(f"{cine}/save", json={"result": result})
    assert (refused.status_code, refused.json()["detail"]) == (409, f"there are results of this cine in {folder}")
    assert (folder / "CINESAX_300_numbers.json").read_text() == "mine"
    assert client.post(f"{cine}/save", json={"result": result, "overwrite": True}).status_code == 200
    assert (folder / "CINESAX_300_numbers.json").read_text() != "mine"


def test_results_of_cines_of_one_name_do_not_meet(cines, tmp_path):
    folder = tmp_path / "b"
    for series in (folder, folder / "a", folder / "c"):
        shutil.copytree(cines.series, series, dirs_exist_ok=True)
    for name in ("a.nii", "A.nii.gz", "a.nii.nii", "b.nii", "d.nii", "c/a.nii", "c/d.nii"):
        (folder / name).write_bytes(b"none")
    found = Cines(folder, tmp_path / "results")
    places = {name: found.place(key) for key, name in found.scan().items()}
    whole = ("a", "a.nii", "A.nii.gz", "a.nii.nii", "b.nii", "c")
    expected = {**{name: name for name in whole}, "b": "b.folder", "d.nii": "d"}
    below = {f"c/{name}.nii": (Path("c"), name) for name in "ad"}
    assert places == {**{name: (Path(), place) for name, place in expected.items()}, **below}


def test_the_command_serves_until_it_is_stopped(cines, tmp_path):
    command = [sys.executable, "-m", "app.command_line", "view", cines.folder, "--port", "0", "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"viewer: (http://127\.0\.0\.1:\d+/)(\?token=[\w-]{43}) \(Ctrl\+C ends it\)\n", line)
        with urllib.request.urlopen(f"{found[1]}api/cines{found[2]}") as answer:
            assert len(json.load(answer)) == 3
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{found[1]}api/cines")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_the_command_says_what_is_wrong(cines, registrar, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="holds no cine"):
        make_app(tmp_path, registrar, tmp_path / "results", Access())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} cannot be used .*choose another by --port"):
            serve(cines.folder, registrar, tmp_path, port, browser=False)
    monkeypatch.delitem(sys.modules, "app.viewer.server")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    result = CliRunner().invoke(command_line.app, ["view", str(cines.folder), "--no-browser"])
    assert str(result.exception) == "the viewer needs fastapi: pip install 'monai-dirnet[viewer]'"
