from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from dirnet.fields.resampling import warp
from dirnet.files.itk import bspline_transform, displacement_transform, write_transform
from dirnet.nets.splines import BSplineTransformer

TILT = Rotation.from_euler("xyz", [25, -40, 70], degrees=True).as_matrix()
TURN = TILT @ Rotation.from_euler("xyz", [3, 2, -5], degrees=True).as_matrix()
# name: (size x, y[, z]), fixed (spacing, origin, direction), moving likewise or None for the same
GEOMETRIES = {
    "2-D": ((37, 29), ((0.7, 1.9), (-30.5, 12.25), np.eye(2)), None),
    "2-D flipped": ((37, 29), ((0.7, 1.9), (-30.5, 12.25), np.diag([1, -1])), None),
    "2-D turned, moving elsewhere": (
        (37, 29),
        ((0.7, 1.9), (-30.5, 12.25), np.array([[0.8, -0.6], [0.6, 0.8]])),
        ((0.9, 1.5), (41.0, -7.0), np.diag([-1, 1])),
    ),
    "slice, oblique": ((37, 29, 1), ((0.7, 1.9, 8.0), (-130.5, 112.25, 41.0), TILT), None),
    "slice, oblique, moving elsewhere": (
        (37, 29, 1),
        ((0.7, 1.9, 8.0), (-130.5, 112.25, 41.0), TILT),
        ((1.1, 1.4, 6.0), (-120.5, 102.5, 55.0), TURN),
    ),
    "volume, moving elsewhere": (
        (17, 13, 11),
        ((0.7, 1.9, 3.1), (-30.5, 12.25, 9.0), TILT),
        ((1.1, 1.4, 2.9), (-10.0, 2.5, 19.0), TURN @ np.diag([1, 1, -1])),
    ),
}
every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
every_spline = pytest.mark.parametrize(
    ("order", "boundary"), [(3, "zero"), (3, "replicate"), (2, "zero"), (2, "replicate"), (1, "zero")]
)


def images(geometry):
    """Fixed and moving smooth images with values from 0 to 1, and what to pass as ``moving``."""
    size, fixed, moving = geometry
    array = gaussian_filter(np.random.default_rng(0).random(size[::-1]), [1.5 * (n > 1) for n in size[::-1]])
    array = ((array - array.min()) / np.ptp(array)).astype(np.float32)
    out = []
    for spacing, origin, direction in (fixed, moving or fixed):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(np.ravel(direction).astype(float))
        out.append(image)
    return (*out, None if moving is None else out[1])


def spline_of(geometry, order=3, boundary="zero"):
    """Control points unlike in every component, one spacing odd and one even, and the field that they give."""
    shape = [n for n in geometry[0][::-1] if n > 1]
    spacing = [5, 8, 4][: len(shape)]
    counts = [-(-n // s) for n, s in zip(shape, spacing, strict=True)]
    points = torch.randn(1, len(shape), *counts, generator=torch.Generator().manual_seed(1))
    points = points * torch.tensor([1.0, 2.0, 3.0])[: len(shape)].view(1, -1, *[1] * len(shape)) + 0.4
    field = BSplineTransformer(spacing, order, boundary, spatial_dims=len(shape))(points, shape)
    return points[0], spacing, field[0]


def read_back(tmp_path, transform, suffix=".tfm"):
    write_transform(tmp_path / f"transform{suffix}", transform)
    return sitk.ReadTransform(str(tmp_path / f"transform{suffix}"))


def assert_resamples_as_warp(transform, fixed, moving, ddf):
    itk = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear)).reshape(ddf.shape[1:])
    array = sitk.GetArrayFromImage(moving).reshape(1, 1, *ddf.shape[1:])
    ours = warp(torch.from_numpy(array), ddf[None])[0, 0].numpy()
    target = np.indices(ddf.shape[1:]) + ddf.numpy()
    last = np.reshape(ddf.shape[1:], (-1, *[1] * (ddf.ndim - 1))) - 1
    inside = ((target >= 0.01) & (target <= last - 0.01)).all(0)  # beyond, SimpleITK fills in 0
    assert inside.mean() > 0.4
    assert np.abs(ours - array[0, 0])[inside].max() > 0.1
    np.testing.assert_allclose(itk[inside], ours[inside], atol=1e-4)


def assert_points_go_where_the_ddf_says(transform, fixed, moving, ddf, atol):
    """At every corner and some pixels between, through ITK's own index and point arithmetic."""
    size = fixed.GetSize()
    corners = np.stack(np.meshgrid(*[[0, n - 1] for n in size], indexing="ij"), -1).reshape(-1, len(size))
    for pixel in [*corners.tolist(), [min(3, n - 1) for n in size], [n // 2 for n in size]]:
        row_first = pixel[: len(ddf)][::-1]
        step = np.zeros(len(pixel))
        step[: len(ddf)] = ddf[(slice(None), *row_first)].numpy()[::-1]
        target = moving.TransformContinuousIndexToPhysicalPoint(np.add(pixel, step))
        start = fixed.TransformIndexToPhysicalPoint(pixel)
        np.testing.assert_allclose(transform.TransformPoint(start), target, atol=atol)


@every_geometry
@every_spline
def test_a_spline_read_from_its_file_equals_the_layer(tmp_path, geometry, order, boundary):
    fixed, moving, moving_or_none = images(geometry)
    points, spacing, ddf = spline_of(geometry, order, boundary)
    transform = read_back(tmp_path, bspline_transform(points, spacing, fixed, moving_or_none, order, boundary))
    assert_points_go_where_the_ddf_says(transform, fixed, moving, ddf, atol=1e-4)
    assert_resamples_as_warp(transform, fixed, moving, ddf)


@every_geometry
def test_a_field_read_from_its_file_equals_the_warp(tmp_path, geometry):
    fixed, moving, moving_or_none = images(geometry)
    ddf = spline_of(geometry)[2]
    transform = read_back(tmp_path, displacement_transform(ddf, fixed, moving_or_none), ".h5")
    assert_points_go_where_the_ddf_says(transform, fixed, moving, ddf, atol=1e-4)
    assert_resamples_as_warp(transform, fixed, moving, ddf)


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5"])
@pytest.mark.parametrize("name", ["2-D flipped", "slice, oblique, moving elsewhere"])
def test_every_kind_of_file_holds_every_transform(tmp_path, suffix, name):
    fixed, moving, moving_or_none = images(GEOMETRIES[name])
    points, spacing, ddf = spline_of(GEOMETRIES[name])
    for transform in (
        bspline_transform(points, spacing, fixed, moving_or_none),
        displacement_transform(ddf, fixed, moving_or_none),
    ):
        assert_points_go_where_the_ddf_says(read_back(tmp_path, transform, suffix), fixed, moving, ddf, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [f"transform{suffix}"]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_lone_control_point_fades_to_nothing_beyond_the_image(order):
    """The paper's spline has no control point outside: its field goes on beyond the image, down to 0."""
    fixed = sitk.Image([8, 8], sitk.sitkFloat32)
    points = np.zeros((2, 2, 2))
    points[1, 0, 0] = 1.0  # along the row, at pixel (1.5, 1.5)
    transform = bspline_transform(points, 4, fixed, order=order)
    steps = [transform.TransformPoint((x, 1.5))[0] - x for x in np.arange(-8, 2, 0.25)]
    assert max(np.abs(np.diff(steps))) < 0.08  # no jump
    assert steps[0] == 0
    assert max(steps) == pytest.approx({1: 1.0, 2: 0.75**2, 3: (2 / 3) ** 2}[order])


def test_a_slice_is_moved_alike_through_its_thickness_and_within_its_plane():
    fixed, *_ = images(GEOMETRIES["slice, oblique"])
    points, spacing, _ = spline_of(GEOMETRIES["slice, oblique"])
    transform = bspline_transform(points, spacing, fixed)
    assert isinstance(transform, sitk.BSplineTransform)
    steps = []
    for z in (-0.49, 0.0, 0.49):
        start = fixed.TransformContinuousIndexToPhysicalPoint((11.3, 7.8, z))
        steps.append(np.subtract(transform.TransformPoint(start), start))
    np.testing.assert_allclose(steps, [steps[0]] * 3, atol=1e-9)
    assert abs(steps[0] @ TILT[:, 2]) < 1e-9
    assert np.linalg.norm(steps[0]) > 0.1


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_caller_keeps_what_it_passed(convert):
    fixed, _, moving = images(GEOMETRIES["2-D turned, moving elsewhere"])
    points, spacing, _ = spline_of(GEOMETRIES["2-D turned, moving elsewhere"])
    points = convert(points.tolist())
    before = np.asarray(points).copy()
    bspline_transform(points, spacing, fixed, moving)
    np.testing.assert_array_equal(np.asarray(points), before)


def test_bad_input_names_what_was_found(tmp_path):
    fixed = sitk.Image([20, 10], sitk.sitkFloat32)
    points = np.zeros((2, 3, 5))
    with pytest.raises(ValueError, match=r"\(2, \.\.\.\) with 3 axes, got \(1, 2, 3, 5\)"):
        bspline_transform(points[None], 4, fixed)
    with pytest.raises(ValueError, match=r"reach over \[12, 15\] px, not over an image of \[10, 20\]"):
        bspline_transform(points, (4, 3), fixed)
    with pytest.raises(ValueError, match="2 of them, got"):
        bspline_transform(points, (4, 4, 4), fixed)
    with pytest.raises(ValueError, match="order must be 1, 2 or 3"):
        bspline_transform(points, 4, fixed, order=4)
    with pytest.raises(ValueError, match="boundary one of"):
        bspline_transform(points, 4, fixed, boundary="border")
    with pytest.raises(ValueError, match="differ in dimensions"):
        bspline_transform(points, 4, fixed, sitk.Image([20, 10, 1], sitk.sitkFloat32))
    transform = bspline_transform(points, 4, fixed)
    for name in ("spline.mat", "spline.TFM", "spline"):
        with pytest.raises(ValueError, match=rf"\.tfm, \.txt, \.h5, got .*{name}"):
            write_transform(tmp_path / name, transform)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "spline.tfm"
    path.write_text("old")

    def full_disk(transform, name):
        Path(name).write_text("half")
        raise RuntimeError("no space")

    monkeypatch.setattr(sitk, "WriteTransform", full_disk)
    with pytest.raises(RuntimeError, match="no space"):
        write_transform(path, sitk.Transform(2, sitk.sitkIdentity))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
