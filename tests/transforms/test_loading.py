"""What is drawn on a record's frames, from every form that a drawing on a cine has."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dirnet.files.dicom import write_segmentation, write_structure_set
from tests.dicom import write_enhanced
from transforms.cine_files import read_cine_stack
from transforms.errors import InputError
from transforms.loading import LoadCined
from transforms.sources import read_records

FRAME, SIZE = 3, (48, 64)


@pytest.fixture(scope="module")
def record(phantom_dir):
    """A slice of DICOM files; nothing drawn on it."""
    return {**read_records(phantom_dir, "")[0], "lumen": {}, "epicardium": {}}


@pytest.fixture(scope="module")
def cine(record):
    """The whole cine of 2 slices, and which of them the record is."""
    stack = read_cine_stack(Path(record["frames"][0]).parent)
    return stack, [Path(files[0]).name for files in stack.files].index(Path(record["frames"][0]).name)


@pytest.fixture
def masks(cine):
    """On each slice and frame another place."""
    drawn = np.zeros(cine[0].images.shape, bool)
    for number, time in np.ndindex(drawn.shape[:2]):
        drawn[number, time, 5 + time : 15 + time, 10 + 20 * number : 22 + 20 * number] = True
    return drawn


def loaded(record, path, **changes):
    return LoadCined()({**record, "lumen": {FRAME: str(path)}, **changes})["lumen"][FRAME].numpy()


@pytest.mark.parametrize("labels", [None, {"lumen": 1}])
@pytest.mark.parametrize("placed", [True, False])
def test_of_a_drawing_with_time_the_frame_is_taken(record, cine, masks, tmp_path, labels, placed):
    stack, number = cine
    volumes = [sitk.GetImageFromArray(frame[None].astype(np.uint8)) for frame in masks[number]]
    for volume in volumes if placed else ():
        volume.CopyInformation(stack.grids[number])
    sitk.WriteImage(sitk.JoinSeries(volumes), tmp_path / "drawn.nii.gz")
    changes = {} if labels is None else {"labels": labels}
    np.testing.assert_array_equal(loaded(record, tmp_path / "drawn.nii.gz", **changes), masks[number, FRAME])


def test_a_drawing_without_slice_axis_has_time_as_its_third(record, cine, masks, tmp_path):
    _, number = cine
    image = sitk.GetImageFromArray(masks[number].astype(np.uint8))  # (x, y, time)
    image.SetSpacing((1, 1, 0.03))
    sitk.WriteImage(image, tmp_path / "drawn.nii.gz")
    np.testing.assert_array_equal(loaded(record, tmp_path / "drawn.nii.gz"), masks[number, FRAME])


@pytest.mark.parametrize("write", [write_segmentation, write_structure_set])
def test_a_dicom_drawing_lies_on_its_slice_and_frame(record, cine, masks, tmp_path, write):
    stack, number = cine
    masks[1 - number] = False
    write(tmp_path / "drawn.dcm", masks, stack.files)
    np.testing.assert_array_equal(loaded(record, tmp_path / "drawn.dcm"), masks[number, FRAME])
    write(tmp_path / "elsewhere.dcm", masks[::-1], stack.files)
    assert not loaded(record, tmp_path / "elsewhere.dcm").any()


@pytest.mark.parametrize("write", [write_segmentation, write_structure_set])
def test_of_a_whole_study_s_drawing_the_record_s_slice_is_taken(record, cine, masks, tmp_path, write):
    stack, number = cine
    write(tmp_path / "drawn.dcm", masks, stack.files)
    np.testing.assert_array_equal(loaded(record, tmp_path / "drawn.dcm"), masks[number, FRAME])


@pytest.mark.parametrize("write", [write_segmentation, write_structure_set])
def test_a_dicom_drawing_on_one_file_of_all_frames(record, masks, tmp_path, write):
    pixels = np.random.default_rng(0).integers(255, size=(1, 5, 48, 64), dtype=np.uint8)
    path = write_enhanced(tmp_path / "cine.dcm", pixels, [(0, time) for time in (3, 0, 4, 2, 1)])
    stack = read_cine_stack(path)
    write(tmp_path / "drawn.dcm", masks[:1, :5], stack.files, stack.frame_numbers)
    one_file = {**record, "frames": [str(path)]}
    np.testing.assert_array_equal(loaded(one_file, tmp_path / "drawn.dcm"), masks[0, FRAME])


def test_an_empty_drawing_is_no_structure(record, tmp_path):
    sitk.WriteImage(sitk.Image(SIZE[::-1], sitk.sitkUInt8), tmp_path / "empty.png")
    sitk.WriteImage(sitk.Image((*SIZE[::-1], 1), sitk.sitkUInt8), tmp_path / "empty.nii.gz")
    for name in ("empty.png", "empty.nii.gz"):
        assert loaded(record, tmp_path / name).shape == SIZE
        assert not loaded(record, tmp_path / name).any()


def test_a_drawing_that_is_a_folder_is_refused(record, tmp_path):
    with pytest.raises(FileNotFoundError, match="is a folder; expected a file"):
        loaded(record, tmp_path)


def test_another_number_of_times_is_refused(record, masks, tmp_path):
    volumes = [sitk.GetImageFromArray(frame[None].astype(np.uint8)) for frame in masks[0, :7]]
    sitk.WriteImage(sitk.JoinSeries(volumes), tmp_path / "drawn.nii.gz")
    with pytest.raises(InputError, match=r"drawn\.nii\.gz: drawn on 7 frames; the cine has 20"):
        loaded(record, tmp_path / "drawn.nii.gz")
