import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.interpolate import BSpline, RBFInterpolator
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck

from dirnet.fields.resampling import warp
from dirnet.nets.splines import BSplineTransformer, ThinPlateSplineTransformer, _kept_matrix, bspline

# name: (control points an axis, spacing an axis, image size, cropped)
GRIDS = {
    "2-D, even spacing": ((4, 6), (8, 8), (32, 48)),
    "2-D, odd spacing": ((5, 3), (7, 7), (35, 21)),
    "2-D, unequal spacing, cropped": ((4, 5), (5, 12), (17, 59)),
    "2-D, a pixel apart": ((9, 12), (1, 2), (9, 23)),
    "3-D, unequal spacing, cropped": ((3, 4, 2), (4, 3, 5), (11, 12, 7)),
}
every_grid = pytest.mark.parametrize(("counts", "spacing", "size"), GRIDS.values(), ids=GRIDS.keys())
every_order = pytest.mark.parametrize("order", [1, 2, 3])
both_boundaries = pytest.mark.parametrize("boundary", ["zero", "replicate"])
both_transformers = pytest.mark.parametrize("transformer", [BSplineTransformer, ThinPlateSplineTransformer])


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def some_control_points(counts, batch=2, seed=0):
    """Displacements of up to 5 px, unlike in every component."""
    return 10 * noise(batch, len(counts), *counts, seed=seed) - 5


def smooth_image(batch, channels, *size):
    """In [0, 1], wavelengths of 20 px and more."""
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in size], indexing="ij")
    phase = torch.arange(batch * channels).reshape(batch, channels, *[1] * len(size))
    return 0.5 + 0.5 * torch.stack([torch.sin((0.3 - 0.07 * k) * x + k + phase) for k, x in enumerate(axes)]).mean(0)


def positions(counts, spacing):
    """Pixel coordinates of the control points, (dims, K_1, ...), as the module's docstring has them."""
    return np.stack(
        np.meshgrid(*[s * np.arange(k) + (s - 1) / 2 for k, s in zip(counts, spacing, strict=True)], indexing="ij")
    )


def itk_field(control_points, spacing, order, boundary, size):
    """DDF of SimpleITK's B-spline with the same coefficients, three more around them as the boundary says."""
    mode = "constant" if boundary == "zero" else "edge"
    coefficients = []
    for component in reversed(control_points.double().numpy()):  # ITK's x is our last axis
        image = sitk.GetImageFromArray(np.pad(component, 3, mode))
        image.SetSpacing([float(s) for s in reversed(spacing)])
        image.SetOrigin([(s - 1) / 2 - 3 * s for s in reversed(spacing)])
        coefficients.append(image)
    transform = sitk.BSplineTransform(coefficients, order)
    field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, size[::-1])
    return np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1]


@every_order
def test_basis_function_is_scipys(order):
    knots = np.arange(order + 2) - (order + 1) / 2
    x = np.linspace(-3, 3, 241)
    expected = np.nan_to_num(BSpline.basis_element(knots, extrapolate=False)(x))
    np.testing.assert_allclose(bspline(torch.from_numpy(x), order), expected, atol=1e-12)


@every_grid
@every_order
@both_boundaries
def test_bspline_is_simpleitks(counts, spacing, size, order, boundary):
    control_points = some_control_points(counts)
    layer = BSplineTransformer(spacing, order, boundary, len(counts))
    for points, field in zip(control_points, layer(control_points, list(size)), strict=True):
        np.testing.assert_allclose(field, itk_field(points, spacing, order, boundary, size), atol=1e-5)


@every_grid
@every_order
def test_equal_points_repeated_outward_give_a_constant_field(counts, spacing, size, order):
    values = torch.tensor([3.0, -2.0, 0.5][: len(counts)]).reshape(1, -1, *[1] * len(counts))
    layer = BSplineTransformer(spacing, order, "replicate", len(counts))
    field = layer(values.expand(1, -1, *counts), list(size))
    torch.testing.assert_close(field, values.expand_as(field), atol=1e-5, rtol=0)
    field = layer(values)  # a single point, repeated on all sides
    torch.testing.assert_close(field, values.expand_as(field), atol=1e-5, rtol=0)


def test_lone_coefficient_peaks_at_its_pixel_and_is_nowhere_negative():
    control_points = torch.zeros(1, 2, 5, 7)
    control_points[0, 1, 2, 4] = 1.0
    field = BSplineTransformer(5)(control_points)
    assert not field[0, 0].any()
    bump = field[0, 1]
    assert bump[2 * 5 + 2, 4 * 5 + 2] == bump.max()
    assert bump.max().item() == pytest.approx((2 / 3) ** 2, abs=1e-6)
    assert bump.min() == 0.0
    torch.testing.assert_close(bump[:, 22 - 8 : 22], bump[:, 23 : 23 + 8].flip(1))


def test_nothing_outside_halves_the_field_at_the_edge():
    profile = BSplineTransformer(16)(torch.ones(1, 2, 16, 16))[0, 0, 128]
    assert 0.5 < profile[0] < 0.55
    torch.testing.assert_close(profile[24:-24], torch.ones(256 - 48))
    torch.testing.assert_close(profile, profile.flip(0))


@both_transformers
def test_size_crops_at_the_end(transformer):
    layer = transformer((6, 4))
    control_points = some_control_points((3, 5))
    full = layer(control_points)
    assert full.shape == (2, 2, 18, 20)
    torch.testing.assert_close(layer(control_points, [13, 20]), full[:, :, :13], atol=1e-6, rtol=0)
    torch.testing.assert_close(layer(control_points, [18, 1]), full[..., :1], atol=1e-6, rtol=0)


@both_transformers
@pytest.mark.parametrize("dims", [2, 3])
def test_gradient_of_transformers(transformer, dims):
    # the fields are float32, but linear in the points: differences over a step of 1 are exact
    control_points = some_control_points((2, 3, 2)[:dims], batch=1).double().requires_grad_()
    assert gradcheck(transformer((3, 2, 4)[:dims], spatial_dims=dims), control_points, eps=1.0, atol=1e-4)


@pytest.mark.parametrize(("counts", "spacing"), [((4, 6), (5, 5)), ((3, 4, 3), (4, 4, 4)), ((5, 3), (3, 8))])
def test_thin_plate_passes_through_its_points_and_is_scipys(counts, spacing):
    size = [k * s for k, s in zip(counts, spacing, strict=True)]
    control_points = some_control_points(counts, batch=1)
    field = ThinPlateSplineTransformer(spacing, len(counts))(control_points)[0].numpy()
    values = control_points[0].flatten(1).T.numpy()
    where = positions(counts, spacing).reshape(len(counts), -1).T
    kernel = "thin_plate_spline" if len(counts) == 2 else "linear"  # r^2 log r, and r up to its sign
    scipys = RBFInterpolator(where, values, kernel=kernel, degree=1)(np.indices(size).reshape(len(counts), -1).T)
    np.testing.assert_allclose(field, scipys.T.reshape(field.shape), atol=1e-4)
    if all(s % 2 for s in spacing):
        centres = field[(slice(None), *[slice(s // 2, None, s) for s in spacing])]
        np.testing.assert_allclose(centres, control_points[0], atol=1e-5)


@pytest.mark.parametrize(("counts", "spacing"), [((4, 6), (8, 8)), ((3, 4, 2), (4, 3, 5))])
def test_thin_plate_reproduces_affine_fields_to_the_border(counts, spacing):
    dims = len(counts)
    linear = np.array([[0.2, -0.1, 0.05], [0.15, 0.3, -0.2], [-0.1, 0.05, 0.1]])[:dims, :dims]

    def affine(x):
        return np.tensordot(linear, x, 1) + np.reshape([1.0, -2.0, 3.0][:dims], (-1, *[1] * dims))

    control_points = torch.from_numpy(affine(positions(counts, spacing)))[None]
    field = ThinPlateSplineTransformer(spacing, dims)(control_points)[0]
    np.testing.assert_allclose(field, affine(np.indices(field.shape[1:])), atol=1e-4)


def test_thin_plate_keeps_no_matrix_of_another_size():
    layer = ThinPlateSplineTransformer(4)
    # as many points, or pixels, laid out otherwise
    sizes = [((3, 5), [12, 20]), ((5, 3), [20, 12]), ((5, 3), [12, 12]), ((3, 5), [12, 12]), ((3, 5), [10, 12])]
    for counts, size in [*sizes, ((5, 5), [12, 10]), ((3, 5), None)]:
        control_points = some_control_points(counts)
        for _ in range(2):
            fresh = ThinPlateSplineTransformer(4)(control_points, size)
            torch.testing.assert_close(layer(control_points, size), fresh, atol=0, rtol=0)


def test_thin_plate_in_threads_of_several_sizes():
    """Each thread's field is its own size's, though all share what the layer keeps."""
    layer = ThinPlateSplineTransformer(4)
    cases = [(some_control_points(counts), size) for counts, size in (((3, 5), [12, 20]), ((5, 3), [20, 12]))]
    expected = [ThinPlateSplineTransformer(4)(*case) for case in cases]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda number: layer(*cases[number % 2]), range(600)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(field, expected[number % 2]) for number, field in enumerate(found))


def test_thin_plate_trains_after_inference_mode_and_a_change_of_type():
    layer = ThinPlateSplineTransformer(4)
    control_points = some_control_points((3, 5)).requires_grad_()
    with torch.inference_mode():
        before = layer(control_points.detach()).clone()
    layer.double()
    field = layer(control_points)
    field.sum().backward()
    torch.testing.assert_close(field, before.clone())
    assert control_points.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(256, 256), (33, 47), (15, 10, 21)])
def test_zero_field_is_the_identity(size):
    dims = len(size)
    control_points = torch.zeros(1, dims, *[-(-n // 8) for n in size])
    for transformer in (BSplineTransformer, ThinPlateSplineTransformer):
        if size != (256, 256) or transformer is BSplineTransformer:
            assert not transformer(8, spatial_dims=dims)(control_points, list(size)).any()


def test_equal_points_shift_the_image():
    image = noise(1, 1, 64, 128)
    shift = torch.tensor([3.0, -2.0]).reshape(1, 2, 1, 1)
    expected = image[:, :, torch.arange(3, 67).clamp(max=63)][..., torch.arange(-2, 126).clamp(min=0)]
    warped = warp(image, BSplineTransformer(16, boundary="replicate")(shift.expand(1, 2, 4, 8)))
    torch.testing.assert_close(warped, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", [BSplineTransformer(5), ThinPlateSplineTransformer(5)], ids=str)
def test_float32_under_autocast(layer):
    control_points = some_control_points((4, 4))
    expected = layer(control_points)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(control_points), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@both_transformers
def test_transformers_script(transformer, dims):
    layer = transformer(5, spatial_dims=dims)
    scripted = torch.jit.script(layer)
    for counts in [(3, 4, 2)[:dims], (4, 3, 3)[:dims]]:
        control_points, size = some_control_points(counts), [5 * k - 3 for k in counts]
        for argument in (size, None):
            torch.testing.assert_close(
                scripted(control_points, argument), layer(control_points, argument), atol=1e-6, rtol=0
            )


def test_splines_have_gradients_after_inference_mode():
    layer, control_points = BSplineTransformer(9), some_control_points((4, 4))[:1]
    _kept_matrix.cache_clear()
    with torch.inference_mode():
        expected = layer(control_points).clone()
    found = layer(control_points.requires_grad_())
    found.sum().backward()
    assert torch.equal(found, expected)
    assert control_points.grad.abs().sum() > 0


def test_fields_of_no_values_leave_no_matrix_behind():
    _kept_matrix.cache_clear()
    with FakeTensorMode():
        assert BSplineTransformer(9)(torch.zeros(1, 2, 4, 4)).shape == (1, 2, 36, 36)
    assert type(BSplineTransformer(9)(torch.zeros(1, 2, 4, 4))) is torch.Tensor


def test_splines_are_vmapped():
    control_points, spline = some_control_points((4, 4)), BSplineTransformer(9)
    found = torch.vmap(lambda points: spline(points[None])[0])(control_points)
    torch.testing.assert_close(found, spline(control_points))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: BSplineTransformer(4)(torch.zeros(1, 3, 5, 6)), r"\(B, 2, .*\[1, 3, 5, 6\]"),
        (lambda: BSplineTransformer(4)(torch.zeros(1, 3, 5, 6, 7)), r"2-D.*\[1, 3, 5, 6, 7\]"),
        (lambda: BSplineTransformer(4)(torch.zeros(1, 2, 5, 6), [20, 25]), "6 control points 4 px .* 24 px.* 25"),
        (lambda: BSplineTransformer(4)(torch.zeros(1, 2, 5, 6), [20]), r"2 sizes, got \[20\]"),
        (lambda: ThinPlateSplineTransformer(4)(torch.zeros(1, 2, 5, 6), [21, 24]), "5 control points .* 20 px.* 21"),
        (lambda: ThinPlateSplineTransformer(4)(torch.zeros(1, 2, 1, 6)), r"two control points.*\[1, 6\]"),
        (lambda: BSplineTransformer(4)(torch.zeros(1, 2, 5, 6), [20, 24, 4]), r"2 sizes, got \[20, 24, 4\]"),
        (lambda: BSplineTransformer(4, order=4), "1, 2 or 3, got 4"),
        (lambda: BSplineTransformer(4, boundary="border"), r"'zero', 'replicate'.*'border'"),
        (lambda: BSplineTransformer((4, 4, 4)), r"positive integer or 2 of them, got \(4, 4, 4\)"),
        (lambda: ThinPlateSplineTransformer(0), "positive integer.* got 0"),
        (lambda: BSplineTransformer(4, spatial_dims=1), "2 or 3, got 1"),
    ],
)
def test_errors_name_what_came_and_what_was_expected(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
