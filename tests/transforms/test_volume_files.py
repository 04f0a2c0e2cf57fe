"""Volumes from files: their orientation, their place, and what is refused; one volume on another's grid."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from transforms.volume_files import moved_onto, read_label, read_volume, resampled, scaled

SHAPE = (4, 6, 5)  # slice, row, column
SPACING = (1.0, 2.0, 3.0)  # x, y, z


def volume(array, spacing=SPACING, origin=(10.0, -20.0, 5.0)):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


@pytest.fixture
def counted():
    return volume(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("stored", ["LPS", "RAS", "SPL"])
def test_every_orientation_is_read_as_one(tmp_path, counted, stored, name):
    sitk.WriteImage(sitk.DICOMOrient(counted, stored), tmp_path / name)
    found = read_volume(tmp_path / name)
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(counted))
    assert found.GetSpacing() == pytest.approx(SPACING)
    assert found.GetOrigin() == pytest.approx(counted.GetOrigin())
    assert found.GetDirection() == pytest.approx(np.eye(3).ravel())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 4, 6, 5), r"expected one volume \(x, y, z\), found 3 times of one"),
        ((1, 6, 5), r"expected a volume of 2 voxels or more along each of 3 axes, found size \(5, 6, 1\)"),
        ((6, 5), r"expected a volume of 2 voxels or more along each of 3 axes, found size \(5, 6\)"),
    ],
)
def test_what_is_no_single_volume(tmp_path, shape, message):
    nib.save(nib.Nifti1Image(np.zeros(shape[::-1], np.float32), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=rf"a\.nii: {message}"):
        read_volume(tmp_path / "a.nii")


def test_other_files_and_values(tmp_path, counted):
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match=r"a\.png: expected a volume as NIfTI"):
        read_volume(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"b\.nii' does not exist"):
        read_volume(tmp_path / "b.nii")
    counted[1, 2, 3] = np.nan
    sitk.WriteImage(counted, tmp_path / "c.mha")
    with pytest.raises(ValueError, match=r"c\.mha: holds values that are not finite"):
        read_volume(tmp_path / "c.mha")


def test_labels_of_another_place_size_or_kind(tmp_path, counted):
    label = volume(np.zeros(SHAPE, np.float32))
    label[1, 2, 3] = 7
    sitk.WriteImage(label, tmp_path / "right.nii.gz")
    found = read_label(tmp_path / "right.nii.gz", counted)
    assert found.GetPixelID() == sitk.sitkUInt16
    assert sitk.GetArrayFromImage(found)[3, 2, 1] == sitk.GetArrayFromImage(found).sum() == 7
    wrong = {
        "place": (volume(np.zeros(SHAPE, np.uint8), origin=(10.0, -19.0, 5.0)), r"found their corners 1\.00 mm apart"),
        "size": (label[1:], r"size \(5, 6, 4\) \(x, y, z\), found \(4, 6, 4\)"),
        "half": (label * 0.5, r"expected labels, whole numbers from 0; found 3\.5"),
        "negative": (label * -1, r"expected labels, whole numbers from 0; found -7"),
    }
    for name, (image, message) in wrong.items():
        sitk.WriteImage(image, tmp_path / f"{name}.nrrd")
        with pytest.raises(ValueError, match=rf"{name}\.nrrd: .*{message}"):
            read_label(tmp_path / f"{name}.nrrd", counted)


def test_scaled_between_percentiles():
    values = np.linspace(0, 1000, 1001, dtype=np.float32).reshape(7, 11, 13)
    found = sitk.GetArrayFromImage(scaled(volume(values)))
    assert found == pytest.approx(((values - 10) / 980).clip(0, 1), abs=1e-6)


# --- on another grid ---


def test_at_its_place():
    """The value of each voxel is its x in mm: it stays, wherever the grid lies, and 10 is the lowest beyond."""
    x = np.broadcast_to(10 + np.arange(5, dtype=np.float32), SHAPE)
    moving = volume(x.copy())
    fixed = volume(np.zeros((2, 3, 8), np.uint8), spacing=(0.5, 2.0, 4.0), origin=(11.25, -18.0, 6.0))
    found = moved_onto(moving, fixed)
    assert (found.GetOrigin(), found.GetSpacing()) == (fixed.GetOrigin(), fixed.GetSpacing())
    expected = 11.25 + 0.5 * np.arange(8)
    expected[expected > 14.5] = 10  # half a voxel beyond the last centre
    assert sitk.GetArrayFromImage(found) == pytest.approx(np.broadcast_to(expected.clip(10, 14), (2, 3, 8)))


def test_by_its_centre():
    inner = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    moving = volume(np.pad(inner, 1), origin=(500.0, 0.0, 0.0))
    fixed = volume(np.zeros(inner.shape, np.uint8), origin=(-90.0, 3.0, 4.0))
    found = moved_onto(moving, fixed, "centers", labels=True)
    assert found.GetPixelID() == sitk.sitkUInt8
    assert np.array_equal(sitk.GetArrayFromImage(found), inner)
    assert found.GetOrigin() == pytest.approx((501.0, 2.0, 3.0))  # where it truly lies
    assert not sitk.GetArrayFromImage(moved_onto(moving, fixed, labels=True)).any()
    with pytest.raises(ValueError, match="align: expected one of place, centers, got 'center'"):
        moved_onto(moving, fixed, "center")


def test_voxels_of_another_size_keep_the_extent():
    """The field is linear in mm, so that linear interpolation is exact."""
    image = volume(np.zeros(SHAPE, np.float32))
    z, y, x = np.indices(SHAPE)
    image = volume((3 * z + 10 * y + 100 * x).astype(np.float32))
    found = resampled(image, (2.0, 1.0, 1.0))
    assert found.GetSize() == (5, 12, 6)
    assert found.GetSpacing() == (1.0, 1.0, 2.0)
    assert found.GetOrigin() == pytest.approx((10.0, -20.5, 4.5))
    assert sitk.GetArrayFromImage(found)[2, 5, 3] == pytest.approx(3.5 + 22.5 + 300)
    assert resampled(image, None) is image
    with pytest.raises(ValueError, match="pixdim: expected three voxel sizes in mm"):
        resampled(image, (1.0, 0.0, 1.0))


def test_labels_that_their_file_scales(tmp_path, counted):
    """As the Decathlon's hippocampus_003 does: its 0 comes out as -3e-8."""
    header = nib.Nifti1Header()
    header.set_slope_inter(2 / 255, -2.8e-8)
    values = np.zeros(SHAPE[::-1], np.uint8)
    values[0, 0, 0], values[4, 5, 3] = 128, 255
    label = nib.Nifti1Image(values, np.diag([-1.0, -2.0, 3.0, 1.0]), header)
    label.affine[:3, 3] = (-10, 20, 5)
    label.set_sform(label.affine, 1)
    label.header["scl_slope"], label.header["scl_inter"] = 2 / 255, -2.8e-8
    nib.save(label, tmp_path / "a.nii")
    found = sitk.GetArrayFromImage(read_label(tmp_path / "a.nii", counted))
    assert found[3, 5, 4] == 2
    assert found[0, 0, 0] == 1
    assert found.sum() == 3
