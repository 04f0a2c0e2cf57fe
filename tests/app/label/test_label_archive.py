"""The MONAI Label app on a DICOM archive: a real Orthanc, by DICOMweb."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dirnet.cine.saving import write_masks
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_drawn, read_masks, read_structures

requests = pytest.importorskip("requests")
MONAILabelClient = pytest.importorskip("monailabel.client", reason="MONAI Label is not installed").MONAILabelClient

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
FRAME = 3


@pytest.fixture(scope="module")
def archive(cines, tmp_path_factory):
    """Orthanc with one cine series; its address."""
    program = shutil.which("Orthanc") or shutil.which("orthanc")
    if program is None or not PLUGIN.is_file():
        pytest.skip("no Orthanc with its DICOMweb plugin on this machine (Debian: apt install orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [str(PLUGIN)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                if requests.get(f"{url}/system", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.25)
        for file in cines.series.iterdir():
            assert requests.post(f"{url}/instances", data=file.read_bytes()).ok
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def server(archive, start_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = {"MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "cache")}
    with start_server(f"{archive}/dicom-web", folder, **settings) as server:
        yield server


def test_a_propagated_label_goes_back_as_segmentation(archive, server, cines, tmp_path):
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    stack = read_cine_stack(cines.series)
    header = pydicom.dcmread(stack.files[0][0])
    series = str(header.SeriesInstanceUID)
    assert client.next_sample("first", {})["id"] == series
    mask = np.zeros(stack.images.shape, bool)
    mask[:, FRAME, 20:40, 30:50] = True
    write_masks(tmp_path / "drawn.nii.gz", mask, stack)

    result, numbers = client.infer("propagate", series, {}, label_in=str(tmp_path / "drawn.nii.gz"))
    masks = read_masks(result, stack)
    assert np.array_equal(masks[:, FRAME], mask[:, FRAME])
    assert masks.any((0, 2, 3)).all()
    assert numbers["numbers"]["end_diastolic_volume_ml"] > 0
    client.save_label(series, result)

    found = requests.get(f"{archive}/dicom-web/series", params={"Modality": "SEG"}).json()
    assert len(found) == 1
    assert found[0]["0020000D"]["Value"] == [str(header.StudyInstanceUID)]
    identifier = requests.post(
        f"{archive}/tools/find", json={"Level": "Instance", "Query": {"Modality": "SEG"}}
    ).json()[0]
    stored = tmp_path / "segmentation.dcm"
    stored.write_bytes(requests.get(f"{archive}/instances/{identifier}/file").content)
    for frame in (0, FRAME, 7):
        assert np.array_equal(read_drawn(stored, stack, frame), masks[:, frame])
    assert pydicom.dcmread(stored).PatientID == cines.patient["PatientID"]
    assert client.next_sample("first", {}) == {}  # the only series is labelled now


def test_the_segmentation_can_be_had_without_saving_it(server, cines, tmp_path):
    stack = read_cine_stack(cines.series)
    series = str(pydicom.dcmread(stack.files[0][0]).SeriesInstanceUID)
    mask = np.zeros(stack.images.shape, bool)
    mask[:, FRAME, 20:40, 30:50] = True
    write_masks(tmp_path / "drawn.nii.gz", mask, stack)
    answer = requests.post(
        f"{server.url}/infer/propagate",
        params={"image": series, "output": "dicom_seg"},
        files={"label": ("drawn.nii.gz", (tmp_path / "drawn.nii.gz").read_bytes())},
    )
    assert answer.headers["content-type"] == "application/dicom"
    (tmp_path / "segmentation.dcm").write_bytes(answer.content)
    assert np.array_equal(read_drawn(tmp_path / "segmentation.dcm", stack, FRAME), mask[:, FRAME])


def test_structures_go_back_as_segments(archive, server, cines, tmp_path):
    def stored():
        query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
        return set(requests.post(f"{archive}/tools/find", json=query).json())

    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    stack = read_cine_stack(cines.series)
    series = str(pydicom.dcmread(stack.files[0][0]).SeriesInstanceUID)
    drawn = {name: np.zeros(stack.images.shape, bool) for name in ("lumen", "epicardium", "rv")}
    drawn["lumen"][:, FRAME, 20:40, 30:50] = drawn["epicardium"][:, FRAME, 14:46, 24:56] = True
    drawn["rv"][:, FRAME, 20:40, 4:20] = True
    write_masks(tmp_path / "drawn.nii.gz", drawn, stack)
    before = stored()
    result, _ = client.infer("propagate", series, {}, label_in=str(tmp_path / "drawn.nii.gz"))
    client.save_label(series, result)
    (new,) = stored() - before
    path = tmp_path / "segmentation.dcm"
    path.write_bytes(requests.get(f"{archive}/instances/{new}/file").content)
    found = read_structures(path, stack)
    expected = read_structures(result, stack, "mnms")
    assert list(found) == ["lumen", "epicardium", "rv"]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert all(np.array_equal(found[name][:, FRAME], drawn[name][:, FRAME]) for name in drawn)


@pytest.mark.parametrize("image", ["../../etc", "/etc", "1.2.3", "1.2.3/../..", ""])
def test_only_series_of_the_archive_are_found(server, image):
    for route in ("infer/propagate", "infer/register"):
        answer = requests.post(f"{server.url}/{route}", params={"image": image})
        assert answer.status_code in (404, 422), answer.text
    answer = requests.get(f"{server.url}/datastore/image", params={"image": image})
    assert answer.status_code in (404, 422), answer.text


def test_a_drawing_on_one_frame_stays_out_of_the_archive(archive, server, cines, tmp_path):
    def segmentations():
        return len(requests.get(f"{archive}/dicom-web/series", params={"Modality": "SEG"}).json())

    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    stack = read_cine_stack(cines.series)
    series = str(pydicom.dcmread(stack.files[0][0]).SeriesInstanceUID)
    mask = np.zeros(stack.images.shape, bool)
    mask[:, FRAME, 20:40, 30:50] = True
    write_masks(tmp_path / "drawn.nii.gz", mask, stack)
    before = segmentations()
    client.save_label(series, str(tmp_path / "drawn.nii.gz"))
    drawn = sitk.ReadImage(str(tmp_path / "drawn.nii.gz"))
    sitk.WriteImage(drawn[..., FRAME], tmp_path / "volume.nii.gz")  # of no time
    client.save_label(series, str(tmp_path / "volume.nii.gz"))
    assert segmentations() == before
    mask[:, 5] = mask[:, FRAME]
    write_masks(tmp_path / "two.nii.gz", mask, stack)
    client.save_label(series, str(tmp_path / "two.nii.gz"))
    assert segmentations() == before
    image, _ = client.infer("propagate", series, {"frame": FRAME})
    assert np.array_equal(read_masks(image, stack)[:, FRAME], mask[:, FRAME])
    sitk.WriteImage(sitk.Image([80, 64, 2], sitk.sitkUInt8), tmp_path / "empty.nii.gz")
    files = {"label": ("label.nii.gz", (tmp_path / "empty.nii.gz").read_bytes())}
    answer = requests.put(f"{server.url}/datastore/label", params={"image": series}, files=files)
    assert answer.status_code == 422, answer.text
    log = server.log.read_text()
    assert not [value for value in cines.patient.values() if value in log]
    assert "Traceback" not in log
