from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dirnet.files.dicom import write_structure_set
from tests.dicom import edit, validator_errors, write_enhanced
from transforms.cine_files import read_cine_stack
from transforms.contours import enclosed, keyholes, outline
from transforms.drawings import read_masks, read_structures
from transforms.sources import read_records
from transforms.structures import TITLES


@pytest.fixture(scope="module")
def cine(phantom_dir):
    """2 slices of 20 frames."""
    return read_cine_stack(Path(read_records(phantom_dir, "")[0]["frames"][0]).parent)


def beating(cine):
    """A disc on each frame, on the second slice with a hole, closed on one frame."""
    row, column = np.indices(cine.images.shape[2:])
    distance = np.hypot(row - 20.3, column - 30.6)
    masks = np.stack([[distance < 9 + 4 * np.cos(time / 3) for time in range(cine.images.shape[1])]] * 2)
    masks[1] &= distance > 3
    masks[0, 3] = False
    return masks


def test_contours_are_those_of_the_viewer_on_their_images(tmp_path, caplog, cine):
    masks, path = beating(cine), tmp_path / "rtstruct.dcm"
    write_structure_set(path, masks, cine.files)
    assert validator_errors(path) == []
    assert np.array_equal(read_masks(path, cine), masks)
    assert "hole" not in caplog.text

    found = pydicom.dcmread(path)
    headers = {}
    for (number, files), time in product(enumerate(cine.files), range(20)):
        headers[pydicom.dcmread(files[time]).SOPInstanceUID] = number, time
    [drawn] = found.ROIContourSequence
    seen = {}
    for item in drawn.ContourSequence:
        number, time = headers[item.ContourImageSequence[0].ReferencedSOPInstanceUID]
        points = np.reshape(item.ContourData, (-1, 3)).astype(float).tolist()
        assert item.NumberOfContourPoints == len(points)
        index = np.array([cine.grids[number].TransformPhysicalPointToContinuousIndex(point) for point in points])
        assert np.abs(index[:, 2]).max() < 1e-3
        ring = keyholes(outline(masks[number, time]))[len(seen.setdefault((number, time), []))]
        seen[number, time].append(ring)
        filled = enclosed([index[:, :2]], masks.shape[2:])  # by any reader, one contour at a time
        assert np.array_equal(filled, masks[number, time])
        assert np.abs(index[:, :2] - ring).max() < 1e-3
    assert len(drawn.ContourSequence) == 19 + 20
    assert len(seen) == 39

    source = pydicom.dcmread(cine.files[0][0])
    [frame] = found.ReferencedFrameOfReferenceSequence
    [series] = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence} == set(headers) - {
        uid for uid, place in headers.items() if place == (0, 3)
    }
    assert found.StructureSetROISequence[0].ReferencedFrameOfReferenceUID == frame.FrameOfReferenceUID
    assert (found.PatientID, found.StudyInstanceUID, found.FrameOfReferenceUID) == (
        source.PatientID,
        source.StudyInstanceUID,
        frame.FrameOfReferenceUID,
    )


def test_three_structures_are_an_roi_each(tmp_path, cine):
    masks, path = beating(cine), tmp_path / "rtstruct.dcm"
    row, column = np.indices(cine.images.shape[2:])
    wall = np.broadcast_to(np.hypot(row - 20.3, column - 30.6) < 16, masks.shape)
    structures = {"lumen": masks, "epicardium": wall, "rv": np.roll(masks, 20, 3)}
    write_structure_set(path, structures, cine.files)
    assert validator_errors(path) == []
    found = pydicom.dcmread(path)
    assert [roi.ROIName for roi in found.StructureSetROISequence] == [TITLES[name] for name in structures]
    numbers = [roi.ROINumber for roi in found.StructureSetROISequence]
    assert [item.ReferencedROINumber for item in found.ROIContourSequence] == numbers == [1, 2, 3]
    assert [item.ReferencedROINumber for item in found.RTROIObservationsSequence] == numbers
    assert [len(item.ContourSequence) for item in found.ROIContourSequence] == [39, 40, 39]
    again = read_structures(path, cine)
    assert {name: np.array_equal(again[name], structures[name]) for name in again} == dict.fromkeys(structures, True)
    alone = read_structures(path, cine, "lumen=3")["lumen"]  # by number
    assert np.array_equal(alone, structures["rv"])


@pytest.mark.parametrize("forget", [(), ("ContourImageSequence",)], ids=["by images", "by place"])
def test_our_own_is_read_by_place_too(tmp_path, cine, forget):
    masks, path = beating(cine), tmp_path / "rtstruct.dcm"
    masks[:, 1:] = False
    write_structure_set(path, masks, cine.files)
    dataset = pydicom.dcmread(path)
    for item in dataset.ROIContourSequence[0].ContourSequence:
        for name in forget:
            delattr(item, name)
    dataset.save_as(path)
    assert np.array_equal(read_masks(path, cine)[:, 0], masks[:, 0])


def test_frames_of_an_enhanced_image(tmp_path):
    pixels = np.random.default_rng(0).integers(255, size=(2, 5, 48, 64), dtype=np.uint8)
    order = [(s, t) for s, t in product((3, 4, 0, 1, 2), range(2))]
    cine = read_cine_stack(write_enhanced(tmp_path / "cine.dcm", pixels, [(s, t) for t, s in order]))
    masks = beating(cine)
    path = tmp_path / "rtstruct.dcm"
    write_structure_set(path, masks, cine.files, cine.frame_numbers)
    assert validator_errors(path) == []
    assert np.array_equal(read_masks(path, cine), masks)


def test_bad_input_leaves_no_file(tmp_path, cine):
    path = tmp_path / "rtstruct.dcm"
    masks = beating(cine)[:1, :1]
    with pytest.raises(ValueError, match="expected something drawn on one frame at least"):
        write_structure_set(path, masks & False, [cine.files[0][:1]])
    other = edit(cine.files[0][1], tmp_path / "other.dcm", PatientID="another")
    with pytest.raises(ValueError, match=r"other\.dcm: another PatientID"):
        write_structure_set(path, beating(cine)[:1, :2], [[cine.files[0][0], other]])
    assert not path.exists()
