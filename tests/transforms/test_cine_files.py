from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from transforms.cine_files import read_cine_stack
from transforms.drawings import read_drawing, read_drawn, read_masks
from transforms.phantom import Phantom, write_scd
from transforms.sources import read_records


@pytest.fixture(scope="module")
def folder(phantom_dir):
    """The DICOM files of one phantom: 2 slices of 20 frames."""
    return Path(read_records(phantom_dir, "")[0]["frames"][0]).parent


@pytest.fixture(scope="module")
def cine(folder):
    return read_cine_stack(folder)


def write_nifti(path, array, like):
    """(S, H, W) on the slices of a cine."""
    volume = sitk.GetImageFromArray(array)
    volume.SetOrigin(like.grids[0].GetOrigin())
    volume.SetDirection(like.grids[0].GetDirection())
    volume.SetSpacing(like.grids[0].GetSpacing())
    sitk.WriteImage(volume, path)
    return path


def test_a_series_in_order_of_place_and_time(folder, cine):
    assert cine.images.shape == (2, 20, 48, 64)
    headers = [[pydicom.dcmread(path) for path in frames] for frames in cine.files]
    for slice_, frames in enumerate(headers):
        first = 20 * (1 - slice_) + 1  # the phantom's files begin at the base, the stack at the apex
        assert [int(frame.InstanceNumber) for frame in frames] == list(range(first, first + 20))
        assert np.array_equal(cine.images[slice_, 7], frames[7].pixel_array)
        point = cine.grids[slice_].TransformIndexToPhysicalPoint((0, 0, 0))
        assert point == pytest.approx(list(frames[0].ImagePositionPatient))
    step = np.subtract(headers[1][0].ImagePositionPatient, headers[0][0].ImagePositionPatient)
    assert cine.distance == pytest.approx(np.linalg.norm(step), abs=0.01)
    assert cine.spacing == tuple(headers[0][0].PixelSpacing)


@pytest.mark.parametrize("lacking", ["absent", "empty"])
def test_a_series_with_some_trigger_times_is_in_order_of_number(phantom_dir, tmp_path, lacking):
    files = [Path(path) for path in read_records(phantom_dir, "")[0]["frames"]][:5]
    for number, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        if number == 3:
            dataset.TriggerTime = ""
        if number == 3 and lacking == "absent":
            del dataset.TriggerTime
        dataset.save_as(tmp_path / path.name)
    cine = read_cine_stack(tmp_path)
    assert [path.name for path in cine.files[0]] == [path.name for path in files]
    assert cine.times is None


def test_nifti_of_slices_and_of_one_slice(tmp_path):
    array = np.random.default_rng(0).random((5, 3, 12, 20), np.float32)  # time, slice, y, x
    image = sitk.JoinSeries([sitk.GetImageFromArray(volume) for volume in array])
    image.SetSpacing((1.5, 1.2, 9, 40))
    sitk.WriteImage(image, tmp_path / "cine.nii.gz")
    cine = read_cine_stack(tmp_path / "cine.nii.gz")
    assert np.array_equal(cine.images, array.transpose(1, 0, 2, 3))
    assert (cine.spacing, cine.distance) == (pytest.approx((1.2, 1.5)), pytest.approx(9))
    sitk.WriteImage(sitk.GetImageFromArray(array[:, 0]), tmp_path / "slice.nii.gz")
    assert cine.positions.tolist() == [0, 9, 18]
    slice_ = read_cine_stack(tmp_path / "slice.nii.gz")
    assert slice_.positions is None
    assert np.array_equal(slice_.images[0], array[:, 0])
    assert slice_.distance is None


def test_what_is_drawn_is_found_by_its_place(cine, tmp_path):
    drawn = np.zeros((2, 48, 64), np.uint8)
    drawn[0, 10:20, 30:50] = 3
    drawn[1, 12:18, 33:40] = 3
    path = write_nifti(tmp_path / "drawn.nii.gz", drawn, cine)
    assert np.array_equal(read_drawn(path, cine, 0), drawn > 0)
    one = write_nifti(tmp_path / "one.nii.gz", drawn[:1], cine)
    assert np.array_equal(read_drawn(one, cine, 0), np.stack([drawn[0] > 0, np.zeros((48, 64), bool)]))
    image = sitk.ReadImage(str(path))
    flipped = sitk.Flip(image, (True, False, True))  # other order of pixels and slices, same place
    sitk.WriteImage(flipped, tmp_path / "flipped.nii.gz")
    assert np.array_equal(read_drawn(tmp_path / "flipped.nii.gz", cine, 0), drawn > 0)


def test_a_mask_over_time_gives_its_frame(tmp_path):
    cine_file, mask_file = tmp_path / "cine.nii.gz", tmp_path / "mask.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).random((6, 12, 20), np.float32)), cine_file)
    masks = np.zeros((6, 12, 20), np.uint8)
    masks[4, 3:6, 8:12] = 1
    sitk.WriteImage(sitk.GetImageFromArray(masks), mask_file)
    cine = read_cine_stack(cine_file)
    assert np.array_equal(read_drawn(mask_file, cine, 4)[0], masks[4] > 0)
    assert np.array_equal(read_masks(mask_file, cine)[0], masks > 0)
    assert read_drawing(mask_file, cine)[1] == 4
    with pytest.raises(ValueError, match=r"mask\.nii\.gz: drawn on frame 4 of the cine, not on frame 3"):
        read_drawn(mask_file, cine, 3)
    with pytest.raises(ValueError, match="frame must be 0 to 5, got 6"):
        read_drawn(mask_file, cine, 6)
    sitk.WriteImage(sitk.GetImageFromArray(masks[4]), mask_file)
    assert read_masks(mask_file, cine).shape == (1, 1, 12, 20)
    with pytest.raises(ValueError, match="does not say on which frame"):
        read_drawing(mask_file, cine)
    masks[2] = masks[4]
    sitk.WriteImage(sitk.GetImageFromArray(masks), mask_file)
    with pytest.raises(ValueError, match="drawn on frames 2, 4; name the one to start from"):
        read_drawing(mask_file, cine)


def test_a_contour_on_a_cine_of_one_slice(phantom_dir, folder, tmp_path):
    record = read_records(phantom_dir, "")[0]
    for path in record["frames"]:
        shutil.copy(path, tmp_path)
    cine = read_cine_stack(tmp_path)
    mask = read_drawn(record["lumen"][record["ed"]], cine, record["ed"])[0]
    truth = Phantom(0, (48, 64), slices=2).lumen(0, record["ed"]) > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    with pytest.raises(ValueError, match="a cine of 2 slices takes a NIfTI file"):
        read_drawn(record["lumen"][record["ed"]], read_cine_stack(folder), record["ed"])


def test_what_is_no_cine_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="'nowhere' does not exist"):
        read_cine_stack("nowhere")
    with pytest.raises(FileNotFoundError, match="holds no DICOM file"):
        read_cine_stack(tmp_path)
    shutil.copytree(folder, tmp_path / "series")
    files = sorted((tmp_path / "series").iterdir())
    files[3].unlink()
    with pytest.raises(ValueError, match="expected slices of equally many frames, two or more; found 1 of 19, 1 of 20"):
        read_cine_stack(tmp_path / "series")
    other = pydicom.dcmread(files[0])
    other.SeriesInstanceUID = "1.2.3"
    other.save_as(tmp_path / "series" / "other.dcm")
    with pytest.raises(ValueError, match=r"none of its 2 series is a cine: .*one image at each place"):
        read_cine_stack(tmp_path / "series")
    (tmp_path / "damaged.nii.gz").write_bytes(b"\x1f\x8b" + bytes(50))
    with pytest.raises(ValueError, match=r"damaged\.nii\.gz: cannot be read as NIfTI"):
        read_cine_stack(tmp_path / "damaged.nii.gz")


def edited(folder, target, edit):
    """A copy of a series with each file's data set edited."""
    target.mkdir()
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(target / path.name)
    return target


def test_a_series_whose_slices_do_not_lie_as_a_stack(tmp_path, caplog):
    folder = write_scd(tmp_path / "phantom", patients=3, size=(32, 32), phases=2, slices=4)
    series = next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))
    assert read_cine_stack(series).images.shape[:2] == (4, 2)
    normal = np.cross(
        *np.reshape(pydicom.dcmread(next(series.iterdir())).ImageOrientationPatient, (2, 3)).astype(float)
    )
    rounding = np.random.default_rng(0)

    def jitter(dataset):
        position = np.array(dataset.ImagePositionPatient, float) + rounding.uniform(-0.01, 0.01) * normal
        dataset.ImagePositionPatient = [f"{value:.5f}" for value in position]

    assert read_cine_stack(edited(series, tmp_path / "jitter", jitter)).images.shape[:2] == (4, 2)

    def shift(dataset):
        aside = (int(dataset.InstanceNumber) - 1) // 2 * 3.0
        row = np.array(dataset.ImageOrientationPatient[:3], float)
        position = np.array(dataset.ImagePositionPatient, float) + aside * row
        dataset.ImagePositionPatient = [f"{value:.5f}" for value in position]

    with pytest.raises(ValueError, match=r"3\.00 mm aside"):
        read_cine_stack(edited(series, tmp_path / "shifted", shift))

    def resize(dataset):
        if int(dataset.InstanceNumber) > 4:
            dataset.PixelSpacing = [0.7, 0.7]

    with pytest.raises(ValueError, match="PixelSpacing differs from that of"):
        read_cine_stack(edited(series, tmp_path / "resized", resize))
    assert read_cine_stack(edited(series, tmp_path / "timeless", lambda d: d.__delattr__("TriggerTime"))).times is None

    def same_time(dataset):
        dataset.TriggerTime = 7

    same = read_cine_stack(edited(series, tmp_path / "same", same_time))  # says nothing of time
    assert [path.name for path in same.files[-1]] == [path.name for path in sorted(series.iterdir())[:2]]
    assert same.times is None
    for path in sorted(series.iterdir())[2:4]:
        path.unlink()
    assert read_cine_stack(series).positions == pytest.approx([0, 10, 30], abs=0.01)
    assert "(1 missing, most probably)" in caplog.text


def test_what_is_drawn_elsewhere_is_not_passed_over(cine, tmp_path):
    drawn = np.ones((2, 48, 64), np.uint8)
    path = write_nifti(tmp_path / "drawn.nii.gz", drawn, cine)
    image = sitk.ReadImage(str(path))
    image.SetOrigin(image.TransformIndexToPhysicalPoint((0, 0, 1)))
    sitk.WriteImage(image, path)
    with pytest.raises(ValueError, match="drawn on 2 slices, of which only 1 lie where"):
        read_drawn(path, cine, 0)
