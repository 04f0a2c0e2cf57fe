"""3D Slicer's segmentations: what is written, and what Slicer writes, with layers and as a sequence."""

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from dirnet.cine.follow import follow
from dirnet.cine.saving import LABELS, save
from dirnet.errors import InputError
from dirnet.files.segments import write_segments
from dirnet.registrar import Registrar
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_keyframes, read_structures
from transforms.structures import TITLES


@pytest.fixture(scope="module")
def cine(phantom_dir):
    """2 slices of 20 frames of 48x64 pixels."""
    return read_cine_stack(next(phantom_dir.glob("SCD_IMAGES_01/SCD0000101/*")))


@pytest.fixture(scope="module")
def followed(cine):
    row, column = np.indices(cine.images.shape[2:])
    distance = np.hypot(row - 22, column - 30)
    drawn = {name: np.zeros(cine.images.shape, bool) for name in ("lumen", "epicardium", "rv")}
    drawn["lumen"][:, 0], drawn["epicardium"][:, 0] = distance < 7, distance < 11
    drawn["rv"][:, 0] = np.hypot(row - 22, column - 50) < 6
    return follow(Registrar.load(), cine, drawn)


def test_a_followed_cine_as_slicer_s_segmentations(followed, cine, tmp_path):
    written = save(followed, tmp_path, "heart", formats=["slicer"])
    assert [path.name for path in written] == ["heart_ed.seg.nrrd", "heart_es.seg.nrrd"]
    for path, frame in zip(written, (followed.function.ed, followed.function.es), strict=True):
        read = read_keyframes([path], cine, [frame])  # its names say what the segments are
        for structure, masks in followed.structures.items():
            np.testing.assert_array_equal(read[structure][:, frame], masks[:, frame])


def test_the_header_is_what_slicer_asks_for(followed, cine, tmp_path):
    path, _ = save(followed, tmp_path, "heart", formats=["slicer"])
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == (64, 48, 2)
    assert image.GetOrigin() == pytest.approx(cine.grids[0].GetOrigin())
    assert image.GetDirection() == pytest.approx(cine.grids[0].GetDirection())
    assert image.GetSpacing() == pytest.approx((*cine.grids[0].GetSpacing()[:2], cine.distance))
    for number, structure in enumerate(("lumen", "myocardium", "rv")):
        field = {
            part: image.GetMetaData(f"Segment{number}_{part}") for part in ("Name", "LabelValue", "Extent", "Tags")
        }
        assert field["Name"] == TITLES[structure]
        assert int(field["LabelValue"]) == LABELS[structure]
        assert field["Extent"] == "0 63 0 47 0 1"
        assert field["Tags"].startswith("TerminologyEntry:Segmentation category and type - DICOM master list~SCT^9172")
        assert image.GetMetaData(f"Segment{number}_Color") == ("1 0 0", "0 0.627451 0", "0 0 1")[number]
    assert image.GetMetaData("Segmentation_ContainedRepresentationNames") == "Binary labelmap|"
    head = path.read_bytes().partition(b"\n\n")[0].decode()
    assert "space: left-posterior-superior" in head
    assert "kinds: domain domain domain" in head


def test_what_cannot_be_one_volume_is_refused(cine, tmp_path):
    grid = sitk.Image([64, 48, 2], sitk.sitkUInt8)
    with pytest.raises(InputError, match=r"expected a path that ends in \.seg\.nrrd"):
        write_segments(tmp_path / "a.nrrd", np.zeros((2, 48, 64), np.uint8), LABELS, grid)
    with pytest.raises(InputError, match=r"of a grid \(64, 48, 2\) \(x, y, slice\), got \(3, 48, 64\)"):
        write_segments(tmp_path / "a.seg.nrrd", np.zeros((3, 48, 64), np.uint8), LABELS, grid)
    assert not list(tmp_path.iterdir())


# --- as Slicer writes them ---


def nrrd(path, array, cine, fields, kinds="list domain domain domain"):
    """An array (S, H, W, N), or (N, S, H, W) of a list that comes last, at the cine's place."""
    grid = cine.grids[0]
    steps = (np.reshape(grid.GetDirection(), (3, 3)) * (*grid.GetSpacing()[:2], cine.distance)).T
    axes = ["({},{},{})".format(*step) for step in steps.tolist()]
    axes.insert(kinds.split().index("list"), "none")
    head = ["NRRD0005", "type: uchar", "dimension: 4", "space: left-posterior-superior"]
    head += [f"sizes: {' '.join(map(str, array.shape[::-1]))}", f"space directions: {' '.join(axes)}"]
    head += [f"kinds: {kinds}", "encoding: gzip", "space origin: ({},{},{})".format(*grid.GetOrigin())]
    content = "\n".join([*head, *(f"{key}:={value}" for key, value in fields.items()), "", ""])
    path.write_bytes(content.encode() + gzip.compress(np.ascontiguousarray(array, np.uint8).tobytes()))
    return path


@pytest.fixture
def discs(cine):
    """Lumen and all inside the epicardium on both slices, which overlap."""
    row, column = np.indices(cine.images.shape[2:])
    inner, outer = (np.stack([np.hypot(row - 22, column - 30 - n) < r for n in range(2)]) for r in (6, 10))
    return inner, outer


SEGMENTS = {
    "Segment0_Name": "LV endo",
    "Segment0_LabelValue": 1,
    "Segment0_Layer": 0,
    "Segment1_Name": "LV epi",
    "Segment1_LabelValue": 1,
    "Segment1_Layer": 1,
}


def test_segments_that_overlap_are_read_by_their_layers(cine, discs, tmp_path):
    layers = np.stack(discs, -1)
    found = read_structures(nrrd(tmp_path / "a.seg.nrrd", layers, cine, SEGMENTS), cine)
    np.testing.assert_array_equal(found["lumen"][:, 0], discs[0])
    np.testing.assert_array_equal(found["epicardium"][:, 0], discs[1])
    path = nrrd(tmp_path / "b.seg.nrrd", layers, cine, {**SEGMENTS, "Segment0_Name": "a", "Segment1_Name": "b"})
    with pytest.raises(InputError, match=r"found 0 and 1 \(a\), 2 \(b\): which is the lumen"):
        read_structures(path, cine)
    np.testing.assert_array_equal(read_structures(path, cine, "lumen=2")["lumen"][:, 0], discs[1])
    path = nrrd(tmp_path / "c.seg.nrrd", layers, cine, {**SEGMENTS, "Segment1_Layer": 2})
    with pytest.raises(InputError, match=r"c\.seg\.nrrd: expected .* in 2 layers; found 2 segments, in layers up to 2"):
        read_structures(path, cine)
    with pytest.raises(InputError, match=r"d\.nrrd: expected one label a pixel, found 2 layers that it does not desc"):
        read_structures(nrrd(tmp_path / "d.nrrd", layers, cine, {}), cine)


@pytest.mark.parametrize("kinds", ["list domain domain domain", "domain domain domain list"])
def test_a_sequence_of_label_maps_is_read_by_time(cine, discs, tmp_path, kinds):
    times = np.zeros(cine.images.shape, np.uint8)
    times[:, 7], times[:, 12] = discs
    at = 0 if kinds.startswith("list") else 3
    array = np.moveaxis(times, 1, 3 if at == 0 else 0)
    fields = {f"axis {at} index type": "numeric", f"axis {at} index values": " ".join(map(str, range(20)))}
    found = read_structures(nrrd(tmp_path / "a.seq.nrrd", array, cine, fields, kinds), cine)["lumen"]
    np.testing.assert_array_equal(found, times > 0)
