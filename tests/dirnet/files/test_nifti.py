from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.networks.blocks import Warp
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dirnet.fields.jacobian import folded_percent, jacobian_determinant
from dirnet.files.itk import ddf_from_image, displacement_image
from dirnet.files.nifti import read_displacement, write_displacement, write_image
from transforms.nifti_files import read_nifti

TILT = Rotation.from_euler("xyz", [25, -40, 70], degrees=True).as_matrix()
TURN = TILT @ Rotation.from_euler("xyz", [3, 2, -5], degrees=True).as_matrix()
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]])  # its upper 2x2 part is singular
# name: (size x, y[, z]), fixed (spacing, origin, direction), moving likewise or None for the same
GEOMETRIES = {
    "2-D": ((23, 17), ((0.7, 1.9), (-30.5, 12.25), np.eye(2)), None),
    "2-D flipped": ((23, 17), ((0.7, 1.9), (-30.5, 12.25), np.diag([1, -1])), None),
    "2-D turned, moving elsewhere": (
        (23, 17),
        ((0.7, 1.9), (-30.5, 12.25), np.array([[0.8, -0.6], [0.6, 0.8]])),
        ((0.9, 1.5), (41.0, -7.0), np.diag([-1, 1])),
    ),
    "slice, sagittal": ((23, 17, 1), ((0.7, 1.9, 8.0), (-130.5, 112.25, 41.0), SAGITTAL), None),
    "slice, oblique": ((23, 17, 1), ((0.7, 1.9, 8.0), (-130.5, 112.25, 41.0), TILT), None),
    "slice, oblique, moving elsewhere": (
        (23, 17, 1),
        ((0.7, 1.9, 8.0), (-130.5, 112.25, 41.0), TILT),
        ((1.1, 1.4, 6.0), (-120.5, 102.5, 55.0), TURN),
    ),
    "volume": ((13, 11, 7), ((0.7, 1.9, 3.1), (-30.5, 12.25, 9.0), TILT @ np.diag([1, 1, -1])), None),
    "volume, moving elsewhere": (
        (13, 11, 7),
        ((0.7, 1.9, 3.1), (-30.5, 12.25, 9.0), TILT),
        ((1.1, 1.4, 2.9), (-10.0, 2.5, 19.0), TURN),
    ),
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def images(geometry):
    """Fixed and moving noise images, and what to pass as ``moving``: None where the geometries agree."""
    size, fixed, moving = geometry
    rng = np.random.default_rng(0)
    out = []
    for spacing, origin, direction in (fixed, moving or fixed):
        image = sitk.GetImageFromArray(rng.random(size[::-1], np.float32))
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(np.ravel(direction).astype(float))
        out.append(image)
    return (*out, None if moving is None else out[1])


def smooth_ddf(image):
    """A field of some pixels, unlike in every component, (dims, H, W) with dims 2 for a slice."""
    shape = [n for n in image.GetSize()[::-1] if n > 1]
    noise = np.random.default_rng(1).normal(size=(len(shape), *shape))
    field = gaussian_filter(noise, 2.5, axes=range(1, len(shape) + 1))
    scale = np.reshape([1.0, 2.5, 4.0][: len(shape)], (-1, *[1] * len(shape)))
    return (field / field.std() * scale + 0.3).astype(np.float32)


def torch_warp(moving, ddf):
    array = sitk.GetArrayFromImage(moving).reshape(1, 1, *ddf.shape[1:])
    return Warp(mode="bilinear", padding_mode="border")(torch.from_numpy(array), torch.from_numpy(ddf)[None])[0, 0]


def lands_inside(ddf):
    target = np.indices(ddf.shape[1:]) + ddf
    last = np.reshape(ddf.shape[1:], (-1, *[1] * (ddf.ndim - 1))) - 1
    return ((target >= 0.01) & (target <= last - 0.01)).all(0)


@every_geometry
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_file_applied_by_simpleitk_equals_the_torch_warp(tmp_path, geometry, suffix):
    fixed, moving, moving_or_none = images(geometry)
    ddf = smooth_ddf(fixed)
    path = tmp_path / f"ddf{suffix}"
    write_displacement(path, ddf, fixed, moving_or_none)

    transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    itk = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear)).reshape(ddf.shape[1:])

    inside = lands_inside(ddf)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(itk[inside], torch_warp(moving, ddf).numpy()[inside], atol=2e-4)


@every_geometry
def test_points_go_where_the_ddf_says(geometry):
    """Through ITK's own index and point arithmetic, without resampling."""
    fixed, moving, moving_or_none = images(geometry)
    ddf = smooth_ddf(fixed)
    field = displacement_image(ddf, fixed, moving_or_none)
    assert field.GetPixelID() == sitk.sitkVectorFloat64
    for pixel in [(0, 0, 0), (5, 3, 2), (10, 8, 6)]:
        pixel = tuple(min(p, n - 1) for p, n in zip(pixel, fixed.GetSize(), strict=False))  # x, y[, z]
        row_first = pixel[: len(ddf)][::-1]
        step = np.zeros(len(pixel))
        step[: len(ddf)] = ddf[(slice(None), *row_first)][::-1]
        target = moving.TransformContinuousIndexToPhysicalPoint(np.add(pixel, step))
        start = fixed.TransformIndexToPhysicalPoint(pixel)
        np.testing.assert_allclose(np.add(start, field[pixel]), target, atol=1e-9)


@every_geometry
def test_round_trip(tmp_path, geometry):
    fixed, _, moving_or_none = images(geometry)
    ddf = smooth_ddf(fixed)
    back = ddf_from_image(displacement_image(ddf, fixed, moving_or_none), moving_or_none)
    assert back.shape == ddf.shape
    np.testing.assert_allclose(back, ddf, atol=1e-10)

    write_displacement(tmp_path / "ddf.nii.gz", ddf, fixed, moving_or_none)
    back = read_displacement(tmp_path / "ddf.nii.gz", moving_or_none)
    assert back.shape == ddf.shape
    np.testing.assert_allclose(back, ddf, atol=1e-4)


def test_one_pixel_along_a_row_by_hand():
    fixed = sitk.Image([4, 3], sitk.sitkFloat32)
    fixed.SetSpacing((0.5, 2.0))
    fixed.SetDirection((0.0, -1.0, 1.0, 0.0))  # columns run along +y, rows along -x
    ddf = np.zeros((2, 3, 4))
    ddf[1, 2, 3] = 1.0  # at row 2, column 3: one column on
    field = displacement_image(ddf, fixed)
    assert field[3, 2] == (0.0, 0.5)
    assert sitk.GetArrayFromImage(field).any(-1).sum() == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_what_nibabel_sees(tmp_path, dims):
    size, spacing = (5, 4, 3)[:dims], (0.5, 2.0, 3.0)[:dims]
    fixed = sitk.Image(size, sitk.sitkFloat32)
    fixed.SetSpacing(spacing)
    write_displacement(tmp_path / "ddf.nii", np.ones((dims, *size[::-1])), fixed)
    seen = nib.load(tmp_path / "ddf.nii")
    assert seen.shape == (*size, *[1] * (4 - dims), dims)
    assert seen.get_data_dtype() == np.float32
    assert seen.header["intent_code"] == 1007
    assert seen.header["descrip"].item() == b"displacement in mm, LPS"
    np.testing.assert_array_equal(seen.dataobj[0, 0, 0, 0], spacing)  # LPS, while the affine is RAS:
    np.testing.assert_array_equal(np.diag(seen.affine)[:2], np.negative(spacing[:2]))


def test_a_ras_field_of_another_program_is_read(tmp_path):
    """Intent 1006: ITK turns RAS vectors to LPS on reading, so the DDF is right all the same."""
    vectors = np.tile(np.float32([-1.0, 4.0, 9.0]), (5, 4, 3, 1, 1))
    image = nib.Nifti1Image(vectors, np.diag([-1.0, -2.0, 3.0, 1.0]))
    image.header.set_intent(1006)
    nib.save(image, tmp_path / "ras.nii")
    ddf = read_displacement(tmp_path / "ras.nii")
    np.testing.assert_allclose(ddf, np.reshape([3.0, -2.0, 1.0], (3, 1, 1, 1)) * np.ones((3, 3, 4, 5)))


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_caller_keeps_what_it_passed(convert):
    fixed, _, moving = images(GEOMETRIES["2-D turned, moving elsewhere"])
    ddf = convert(smooth_ddf(fixed).astype(np.float64))
    before = np.asarray(ddf).copy()
    image = displacement_image(ddf, fixed, moving)
    ddf_from_image(image, moving)
    np.testing.assert_array_equal(np.asarray(ddf), before)
    if convert is torch.tensor:
        same = displacement_image(ddf.requires_grad_(), fixed, moving)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(same), sitk.GetArrayFromImage(image))


def test_bad_input_names_what_was_found_and_leaves_no_file(tmp_path):
    fixed = sitk.Image([5, 4], sitk.sitkFloat32)
    good, turned = np.zeros((2, 4, 5)), np.zeros((2, 5, 4))
    with pytest.raises(ValueError, match=r"\(2, 4, 5\).*\(5, 4\), got \(2, 5, 4\)"):
        write_displacement(tmp_path / "ddf.nii", turned, fixed)
    with pytest.raises(ValueError, match=r"\.nii.*ddf\.mha"):
        write_displacement(tmp_path / "ddf.mha", good, fixed)
    with pytest.raises(ValueError, match="differ in dimensions"):
        write_displacement(tmp_path / "ddf.nii", good, fixed, sitk.Image([5, 4, 1], sitk.sitkFloat32))
    volume = sitk.Image([5, 4, 3], sitk.sitkFloat32)
    volume.SetDirection(TILT.ravel())
    with pytest.raises(ValueError, match="not orthonormal"):
        write_displacement(tmp_path / "ddf.nii", good, volume[:, :, 1])
    assert not list(tmp_path.iterdir())
    write_displacement(tmp_path / "ddf.nii", good, volume[:, :, 1:2])  # as the error advises

    sitk.WriteImage(sitk.Image([5, 4], sitk.sitkVectorFloat32, 3), str(tmp_path / "rgb.nii"))
    with pytest.raises(ValueError, match=r"rgb\.nii.*3 components in a 2-D image"):
        read_displacement(tmp_path / "rgb.nii")

    fixed, _, moving = images(GEOMETRIES["slice, oblique, moving elsewhere"])
    write_displacement(tmp_path / "slice.nii", smooth_ddf(fixed), fixed, moving)
    with pytest.raises(ValueError, match=r"slice\.nii.*leaves its slice"):
        read_displacement(tmp_path / "slice.nii")


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    fixed = sitk.Image([5, 4], sitk.sitkFloat32)
    path = tmp_path / "ddf.nii"
    path.write_text("old")

    def full_disk(image, name):
        Path(name).write_text("half")
        raise RuntimeError("no space")

    monkeypatch.setattr(sitk, "WriteImage", full_disk)
    with pytest.raises(RuntimeError, match="no space"):
        write_displacement(path, np.zeros((2, 4, 5)), fixed)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(7, 5), (6, 4, 5)])
def test_determinant_of_a_linear_field_is_exact(shape):
    dims = len(shape)
    matrix = torch.tensor(np.random.default_rng(dims).normal(size=(dims, dims)))
    grid = torch.stack(torch.meshgrid(*[torch.arange(n).double() for n in shape], indexing="ij"))
    ddf = torch.stack([torch.zeros_like(grid), torch.einsum("ij,j...->i...", matrix, grid)])
    det = jacobian_determinant(ddf)
    assert det.shape == (2, 1, *[n - 1 for n in shape])
    torch.testing.assert_close(det[0], torch.ones_like(det[0]))
    torch.testing.assert_close(det[1], torch.full_like(det[1], torch.linalg.det(torch.eye(dims) + matrix).item()))
    assert jacobian_determinant(ddf.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("shape", [(9, 6), (9, 6, 5)])
@pytest.mark.parametrize("step", [-1.0, -1.5, float("nan")])
def test_folds_are_counted_exactly(shape, step):
    """One row pulled back by a pixel or more: central differences would see 1 - 1.5 / 2 > 0, no fold."""
    ddf = torch.zeros(3, len(shape), *shape)
    ddf[1, 0, 4:] = step  # everything from row 4 on moves as one: only rows 3 to 4 fold
    ddf[2, 0, 4:] = -0.99
    expected = 100 / 8 if step == step else 100 * 5 / 8
    torch.testing.assert_close(folded_percent(ddf), torch.tensor([0.0, expected, 0.0]))


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 8, 8), (1, 2, 1, 8)])
def test_what_is_not_a_batch_of_fields(shape):
    with pytest.raises(ValueError, match="expected a DDF"):
        folded_percent(torch.zeros(shape))


def test_an_image_without_a_place_is_the_same_file_whenever_it_is_written(tmp_path, monkeypatch):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    contents = []
    for second in (1_000_000_000, 2_000_000_000):
        monkeypatch.setattr("time.time", lambda second=second: second)
        write_image(tmp_path / "a.nii.gz", image, placed=False)
        contents.append((tmp_path / "a.nii.gz").read_bytes())
    assert contents[0] == contents[1]
    assert not read_nifti(tmp_path / "a.nii.gz").placed
