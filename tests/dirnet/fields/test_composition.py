import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dirnet.fields.composition import compose, invert
from dirnet.fields.resampling import sample, warp
from transforms.phantom import Phantom

SIZES = [(48, 64), (24, 20, 28)]


def smooth_ddf(size, pixels, seed=0, batch=2):
    """Fields of up to ``pixels`` that vanish at the border, (B, dims, *size) float32."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(batch, len(size), *size)), 7, axes=range(2, len(size) + 2))
    for axis, n in enumerate(size, 2):
        field *= np.sin(np.pi * np.arange(n) / (n - 1)).reshape(-1, *[1] * (len(size) + 1 - axis))
    return torch.from_numpy(field / np.abs(field).max() * pixels).float()


def translation(shift, size):
    return torch.tensor(shift, dtype=torch.float32).reshape(1, -1, *[1] * len(size)).expand(1, len(size), *size)


@pytest.mark.parametrize("size", SIZES, ids=["2-D", "3-D"])
def test_zero_is_neutral(size):
    ddf = smooth_ddf(size, 3)
    zero = torch.zeros_like(ddf)
    torch.testing.assert_close(compose(ddf, zero), ddf, atol=1e-5, rtol=0)
    torch.testing.assert_close(compose(zero, ddf), ddf, atol=0, rtol=0)
    assert not invert(zero).any()


@pytest.mark.parametrize(("size", "one", "other"), [(SIZES[0], (2, -3), (-1, 5)), (SIZES[1], (2, -3, 1), (0, 4, -2))])
def test_translations_add_in_either_order_and_invert_to_their_negative(size, one, other):
    one, other = translation(one, size), translation(other, size)
    torch.testing.assert_close(compose(one, other), one + other, atol=1e-5, rtol=0)
    torch.testing.assert_close(compose(other, one), one + other, atol=1e-5, rtol=0)
    torch.testing.assert_close(invert(one), -one, atol=1e-5, rtol=0)


def test_order_of_composition_by_hand():
    """x + u2(x) first, then u1 there: with u2 one column on, u1 is read one column on."""
    first, second = torch.zeros(1, 2, 4, 6), translation((0, 1), (4, 6))
    first[0, 0, 2, 3] = 0.5
    both = compose(first, second)
    assert both[0, 0, 2, 2] == pytest.approx(0.5)
    assert both[0, 0].abs().sum().item() == pytest.approx(0.5, abs=1e-5)
    assert (both[0, 1] == 1).all()


@pytest.mark.parametrize("size", SIZES, ids=["2-D", "3-D"])
def test_composition_warps_as_the_two_in_turn(size):
    """An image that is linear is resampled without loss, so once and twice are the same in the interior."""
    first, second = smooth_ddf(size, 2, seed=1), smooth_ddf(size, 2, seed=2)
    ramp = sum(k * axis for k, axis in zip((1, -2, 3), np.indices(size), strict=False))
    image = torch.from_numpy(ramp / 50).float().expand(2, 1, *size)
    once, twice = warp(image, compose(first, second)), warp(warp(image, first), second)
    inside = (..., *[slice(5, -5)] * len(size))
    assert (image - once)[inside].abs().max() > 0.05
    torch.testing.assert_close(once[inside], twice[inside], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES, ids=["2-D", "3-D"])
def test_inverse_undoes_the_field_in_either_order(size):
    ddf = smooth_ddf(size, min(size) / 20)  # as much again and the second order would miss by its interpolation
    inverse = invert(ddf)
    inside = (..., *[slice(4, -4)] * len(size))
    for both in (compose(ddf, inverse), compose(inverse, ddf)):
        assert both.shape == ddf.shape
        assert both[inside].norm(dim=1).max() < 0.05
    torch.testing.assert_close(invert(inverse)[inside], ddf[inside], atol=0.05, rtol=0)


@pytest.mark.parametrize("growth", [-0.8, 0.9, 2.0])
def test_uniform_scaling_inverts_where_the_plain_iteration_does_not_converge(growth):
    """u(x) = growth x about the middle inverts to −growth / (1 + growth) x; plainly for |growth| < 1 alone."""
    size = (41, 61)
    place = torch.from_numpy(np.indices(size) - np.reshape(size, (2, 1, 1)) // 2).float()[None]
    # only where the way back stays in the image
    inside = ((place * (1 / (1 + growth))).abs() < torch.tensor(size).view(1, 2, 1, 1) / 2 - 1).all(1)
    error = (invert(growth * place) + growth / (1 + growth) * place).norm(dim=1)
    assert error[inside].max() < 0.02


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_inverse_of_a_heartbeat_is_the_phantoms_own(seed):
    phantom = Phantom(seed, size=(96, 112), slices=1)
    there = phantom.displacement(0, phantom.ed, phantom.es)
    back = phantom.displacement(0, phantom.es, phantom.ed)
    inverse = invert(torch.from_numpy(there)[None])
    error = np.hypot(*(inverse[0].numpy() - back))
    assert error[8:-8, 8:-8].max() < 0.15  # at the middle of the lumen, where the phantom contracts most sharply
    assert error[phantom.epicardium(0, phantom.ed) & ~phantom.lumen(0, phantom.ed)].max() < 0.03
    assert compose(torch.from_numpy(there)[None], inverse)[..., 8:-8, 8:-8].norm(dim=1).max() < 0.05


def test_type_gradient_and_batch():
    ddf = smooth_ddf((16, 20), 1).double().requires_grad_()
    compose(ddf, ddf).sum().backward()
    assert ddf.grad.isfinite().all()
    inverse = invert(ddf)
    assert inverse.dtype == torch.float64
    assert not inverse.requires_grad
    assert invert(ddf.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(inverse[1:], invert(ddf[1:]), atol=2e-3, rtol=0)


def test_at_some_places_alone():
    ddf = smooth_ddf((16, 20), 2)
    places = torch.tensor([[3, 4], [10, 17], [15, 0]])
    expected = invert(ddf)[..., places[:, 0], places[:, 1]]
    torch.testing.assert_close(invert(ddf, places), expected, atol=2e-3, rtol=0)
    between = torch.tensor([[7.5, 9.25]])
    there = between[None] + invert(ddf, between).mT
    torch.testing.assert_close(there + sample(ddf, there).mT, between.expand(len(ddf), 1, 2), atol=2e-3, rtol=0)


def test_fold_gives_the_best_found():
    ddf = torch.zeros(1, 2, 20, 20)
    ddf[:, 1, :, 8] = 6  # this column jumps over its neighbours
    inverse = invert(ddf)
    assert inverse.isfinite().all()
    assert compose(ddf, inverse)[..., :6].norm(dim=1).max() < 0.05  # elsewhere nothing is spoilt


def test_what_is_no_field_is_refused():
    field = torch.zeros(2, 2, 8, 9)
    with pytest.raises(ValueError, match=r"first \[2, 2, 8, 9\], second \[1, 2, 8, 9\]"):
        compose(field, field[:1])
    for wrong in (field[:, :1], field[0], torch.zeros(1, 2, 4, 4, 4)):
        with pytest.raises(ValueError, match="expected a DDF"):
            compose(wrong, wrong)
        with pytest.raises(ValueError, match="expected a DDF"):
            invert(wrong)
    with pytest.raises(ValueError, match="not finite"):
        invert(torch.full((1, 2, 4, 4), torch.nan))
