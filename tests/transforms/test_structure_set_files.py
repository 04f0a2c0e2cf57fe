from pathlib import Path

import numpy as np
import pydicom
import pytest

from dirnet.files.dicom import write_segmentation
from tests.dicom import mr_image, write_enhanced, write_structure_set_by_hand
from tests.transforms.test_segmentation_files import edited, forget_sources
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_drawing, read_drawn, read_structures
from transforms.errors import InputError
from transforms.sources import read_records


@pytest.fixture(scope="module")
def cine(phantom_dir):
    """2 slices of 20 frames of 48x64 pixels."""
    return read_cine_stack(Path(read_records(phantom_dir, "")[0]["frames"][0]).parent)


@pytest.fixture(scope="module")
def frame_of_reference(cine):
    return str(pydicom.dcmread(cine.files[0][0]).get("FrameOfReferenceUID") or "")


ANGLES = np.linspace(0, 2 * np.pi, 60, endpoint=False)


def at_place(cine, number, ring, off=0.0):
    """Pixels (x, y) of a slice in mm, moved along its normal by a part of the slice distance."""
    return [cine.grids[number].TransformContinuousIndexToPhysicalPoint((float(x), float(y), off)) for x, y in ring]


def circle(x, y, radius):
    return np.stack([x + radius * np.cos(ANGLES), y + radius * np.sin(ANGLES)], 1)


def disc(x, y, radius):
    row, column = np.indices((48, 64))
    return np.hypot(row - y, column - x) < radius


def contour(cine, number, ring, frame=None, off=0.0, kind="CLOSED_PLANAR"):
    return kind, at_place(cine, number, ring, off), None if frame is None else cine.files[number][frame]


def nearly(mask, expected):
    """All pixels but those whose centre lies on the circle, or between it and its polygon."""
    return (mask != expected).sum() <= 4


def test_a_contour_lies_on_the_image_that_it_refers_to(tmp_path, cine):
    path = write_structure_set_by_hand(
        tmp_path / "rt.dcm",
        {"LV": [contour(cine, 0, circle(30.2, 20.7, 9.5), 7), contour(cine, 1, circle(33.3, 24.1, 6.2), 7)]},
        "another, which does not matter",
    )
    drawn, frame = read_drawing(path, cine)
    assert frame == 7
    assert nearly(drawn[0], disc(30.2, 20.7, 9.5))
    assert nearly(drawn[1], disc(33.3, 24.1, 6.2))


def test_the_pixels_whose_centre_lies_inside(tmp_path, cine):
    square = [(9.6, 4.6), (14.4, 4.6), (14.4, 8.4), (9.6, 8.4)]
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", {"LV": [contour(cine, 1, square, 3)]})
    expected = np.zeros((48, 64), bool)
    expected[5:9, 10:15] = True
    assert np.array_equal(read_drawn(path, cine, 3)[1], expected)


@pytest.mark.parametrize("off", [0, 0.05, -0.4])
def test_one_that_refers_to_none_lies_on_the_slice_of_its_plane(tmp_path, caplog, cine, frame_of_reference, off):
    ring = circle(30, 20, 8.3)
    regions = {"LV": [contour(cine, 1, ring, off=off)]}
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", regions, frame_of_reference)
    drawn = read_drawn(path, cine, 4)
    assert nearly(drawn[1], disc(30, 20, 8.3))
    assert not drawn[0].any()
    assert ("mm off the cine's slices" in caplog.text) == (off == -0.4)
    with pytest.raises(InputError, match=r"rt\.dcm: does not say on which frame"):
        read_drawing(path, cine)


def test_of_planes_closer_than_the_slices_the_nearest_is_taken(tmp_path, cine, frame_of_reference):
    step = cine.positions[1] / cine.grids[0].GetSpacing()[2] / 5
    regions = {"LV": [contour(cine, 0, circle(30, 20, 5.4 + n), off=step * n) for n in range(6)]}
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", regions, frame_of_reference)
    drawn = read_drawn(path, cine, 0)
    assert nearly(drawn[0], disc(30, 20, 5.4))
    assert nearly(drawn[1], disc(30, 20, 10.4))


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes(tmp_path, caplog, cine, kind):
    ring = disc(30.2, 20.3, 9.2) & ~disc(31, 21, 4.3)
    outer, inner = circle(30.2, 20.3, 9.2), circle(31, 21, 4.3)
    nested = [contour(cine, 0, part, 2, kind=kind) for part in (outer, inner)]
    path = write_structure_set_by_hand(tmp_path / "nested.dcm", {"wall": nested})
    assert nearly(read_drawn(path, cine, 2)[0], ring)
    assert ("ROI 1 (wall): a contour within another is taken as a hole" in caplog.text) == (kind == "CLOSED_PLANAR")
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    path = write_structure_set_by_hand(tmp_path / "keyhole.dcm", {"wall": [contour(cine, 0, keyhole, 2)]})
    assert nearly(read_drawn(path, cine, 2)[0], ring)


def test_which_roi_is_the_lumen(tmp_path, cine):
    lumen, wall = circle(30, 20, 6), circle(30, 20, 9.3)
    regions = {
        "LV blood": [contour(cine, 0, lumen, 2)],
        "LV epi": [contour(cine, 0, wall, 2)],
        "isocentre": [contour(cine, 0, [(30, 20)], kind="POINT")],
    }
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", regions)
    with pytest.raises(InputError, match=r"rt\.dcm: ROI 3 \(isocentre\): expected contours CLOSED_PLANAR, found POINT"):
        read_structures(path, cine)
    found = read_structures(path, cine, "lumen=1,epicardium=2")
    assert list(found) == ["lumen", "epicardium"]
    assert nearly(found["epicardium"][0, 2], disc(30, 20, 9.3))
    del regions["isocentre"]
    write_structure_set_by_hand(path, {**regions, "empty": []})
    with pytest.raises(InputError, match=r"0 and 1 \(LV blood\), 2 \(LV epi\): which is the lumen\? --labels lumen="):
        read_structures(path, cine)
    with pytest.raises(InputError, match=r"nothing has the lumen's value, 4"):
        read_structures(path, cine, "lumen=4,epicardium=1")
    with pytest.raises(
        InputError, match=r"has no ROI of the labels \(7\); it holds 1 \(LV blood\), 2 \(LV epi\), 3 \("
    ):
        read_structures(path, cine, "lumen=7")


def test_two_drawings_in_one_are_refused(tmp_path, caplog, cine, frame_of_reference):
    ring, across, within = circle(30, 20, 8), circle(36, 20, 8), circle(30, 20, 5)
    for other in (ring, across):
        path = write_structure_set_by_hand(
            tmp_path / "rt.dcm", {"LV": [contour(cine, 0, part, 2) for part in (ring, other)]}
        )
        with pytest.raises(InputError, match=r"rt\.dcm: ROI 1 \(LV\), slice 0: two contours cross"):
            read_structures(path, cine)
    crossing = [contour(cine, 0, part, 2, kind="CLOSEDPLANAR_XOR") for part in (ring, across)]
    write_structure_set_by_hand(path, {"LV": crossing})  # which says what it means
    assert nearly(read_drawn(path, cine, 2)[0], disc(30, 20, 8) ^ disc(36, 20, 8))
    regions = {"LV": [contour(cine, 0, part) for part in (ring, within)]}
    read_structures(write_structure_set_by_hand(path, regions, frame_of_reference), cine)
    assert "a contour within another is taken as a hole" in caplog.text
    regions = {"LV": [contour(cine, 0, ring, 2), contour(cine, 1, ring)]}
    write_structure_set_by_hand(path, regions, frame_of_reference)
    with pytest.raises(InputError, match=r"1 contours refer .* and 1 on its slices to none: of which"):
        read_structures(path, cine)


@pytest.mark.parametrize("frame", [None, 2], ids=["by place", "by image"])
def test_a_contour_that_lies_elsewhere(tmp_path, caplog, cine, frame_of_reference, frame):
    path = tmp_path / "rt.dcm"

    def read(*contours):
        return read_structures(write_structure_set_by_hand(path, {"LV": contours}, frame_of_reference), cine)

    ring = circle(30, 20, 8)
    with pytest.raises(InputError, match=r"rt\.dcm: nothing is drawn where the cine's slices lie"):
        read(contour(cine, 0, ring, frame, off=-3))
    with pytest.raises(InputError, match=r"ROI 1 \(LV\) has 2 contours, of which only 1 lie where"):
        read(contour(cine, 0, ring, frame), contour(cine, 0, ring, frame, off=-3))
    with pytest.raises(InputError, match=r"rt\.dcm: 50\.\d % of what is drawn, \d+ of \d+ mm², lie outside the cine's"):
        read(contour(cine, 0, circle(30, -0.5, 8), frame))
    with pytest.raises(InputError, match=r"slice 0: contour outside the image: x from 991 to 1009, y from"):
        read(contour(cine, 0, circle(1000, 900, 9), frame))
    assert not caplog.text
    masks = read(contour(cine, 0, circle(30, 6.6, 8.1), frame))["lumen"]
    assert "of what is drawn" in caplog.text
    assert nearly(masks[0].max(0), disc(30, 6.6, 8.1))


def test_another_frame_of_reference(tmp_path, cine, frame_of_reference):
    regions = {"LV": [contour(cine, 0, circle(30, 20, 8))]}
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", regions, "1.2.9")
    with pytest.raises(InputError, match=r"to none of the cine's images, and its frame of reference is 1\.2\.9, "):
        read_structures(path, cine)


def test_on_an_enhanced_image_by_the_frame_it_names(tmp_path):
    pixels = np.random.default_rng(0).integers(255, size=(2, 4, 48, 64), dtype=np.uint8)
    cine = read_cine_stack(
        write_enhanced(tmp_path / "cine.dcm", pixels, [(s, t) for t in (2, 0, 3, 1) for s in (1, 0)])
    )
    path = write_structure_set_by_hand(tmp_path / "rt.dcm", {"LV": [contour(cine, 1, circle(30, 20, 8), 2)]})
    with pytest.raises(InputError, match="does not say on which frame of the cine it was drawn"):
        read_drawing(path, cine)
    dataset = pydicom.dcmread(path)
    image = dataset.ROIContourSequence[0].ContourSequence[0].ContourImageSequence[0]
    image.ReferencedFrameNumber = cine.frame_numbers[1][2]
    dataset.save_as(path)
    assert read_drawing(path, cine)[1] == 2


def test_what_is_damaged_is_refused(tmp_path, cine):
    rings = [contour(cine, number, circle(30, 20, 8), time) for number in range(2) for time in range(20)]
    whole = write_structure_set_by_hand(tmp_path / "whole.dcm", {"LV": rings})
    content, path = whole.read_bytes(), tmp_path / "rt.dcm"
    between = [at for at in range(len(content)) if content.startswith(b"\xfe\xff\x00\xe0", at)]  # where items begin
    for size in [len(content) * tenth // 10 for tenth in range(10)] + between[:-1]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"^[^\n]*rt\.dcm[^\n]*$"):
            read_structures(path, cine)

    def damage(**values):
        dataset = pydicom.dcmread(whole)
        for keyword, value in values.items():
            setattr(dataset.ROIContourSequence[0].ContourSequence[3], keyword, value)
        dataset.save_as(path)
        return path

    for values, message in [
        ({"NumberOfContourPoints": 61}, "expected a contour of 61 points (x, y, z), found 180 numbers"),
        ({"NumberOfContourPoints": 2, "ContourData": [1, 2, 3, 4, 5, 6]}, "expected a contour of 3 points"),
        ({"ContourData": ["1e9"] * 180}, "points are not in mm from -100000 to 100000"),
        ({"ContourGeometricType": "OPEN_PLANAR"}, "expected contours CLOSED_PLANAR, found OPEN_PLANAR"),
    ]:
        with pytest.raises(InputError) as caught:
            read_structures(damage(**values), cine)
        assert str(caught.value).startswith(f"{path}: ROI 1 (LV): ")
        assert message in str(caught.value)


@pytest.mark.parametrize("thickness", [3, 8, 30])
def test_one_without_time_lies_on_one_slice_however_thick_its_header_says_slices_are(tmp_path, thickness):
    for number in range(3):
        for time in range(2):
            image = mr_image(np.full((48, 64), 9 + time, np.uint8), TriggerTime=25 * time, SliceThickness=thickness)
            image.ImagePositionPatient = [-48, -48, 8 * number]
            image.save_as(tmp_path / f"{number}{time}.dcm")
    cine = read_cine_stack(tmp_path)
    assert cine.distance == 8
    ring, off = circle(30, 20, 8.3), 3 / cine.grids[1].GetSpacing()[2]
    path = write_structure_set_by_hand(tmp_path / "rt", {"LV": [contour(cine, 1, ring, off=off)]}, "1.2.3.5")
    drawn = read_drawn(path, cine, 0)
    assert nearly(drawn[1], disc(30, 20, 8.3))
    assert not drawn[[0, 2]].any()
    masks = np.zeros(cine.images.shape, bool)
    masks[1, 0] = disc(30, 20, 8.3)
    write_segmentation(tmp_path / "seg", masks, cine.files)
    drawn = read_drawn(edited(tmp_path / "seg", forget_sources), cine, 1)
    assert np.array_equal(drawn, masks[:, 0])
