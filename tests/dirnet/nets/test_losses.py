import numpy as np
import pytest
import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss
from torch import nn

from dirnet.nets.losses import FoldingLoss, NCCLoss, RegistrationLoss, ncc


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def some_pairs(*size):
    """Three pairs of one, high and no likeness, of very unequal contrast."""
    target = noise(3, 1, *size)
    likeness = torch.tensor([1.0, 0.7, 0.0]).reshape(3, *[1] * (len(size) + 1))
    image = likeness * target + (1 - likeness) * noise(3, 1, *size, seed=1)
    return image * torch.tensor([0.1, 1.0, 30.0]).reshape(likeness.shape), target


@pytest.mark.parametrize("size", [(20, 30), (9, 8, 7)])
def test_ncc_of_each_image_is_numpys(size):
    image, target = some_pairs(*size)
    expected = [np.corrcoef(a.double().ravel(), b.double().ravel())[0, 1] for a, b in zip(image, target, strict=True)]
    assert expected[0] == pytest.approx(1)
    assert abs(expected[2]) < 0.2
    np.testing.assert_allclose(ncc(image, target), expected, atol=1e-5)
    assert NCCLoss()(image, target).item() == pytest.approx(-np.mean(expected), abs=1e-5)


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (3, -2), (0.05, 0.5), (1000, 4000), (1, 100)])
def test_ncc_does_not_see_a_linear_change_of_intensity(gain, offset):
    image, target = some_pairs(64, 64)[0][1:2], some_pairs(64, 64)[1][1:2]
    torch.testing.assert_close(ncc(gain * image + offset, target), ncc(image, target), atol=1e-4, rtol=0)
    torch.testing.assert_close(ncc(-gain * image + offset, target), -ncc(image, target), atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [0.0, 1.0, 0.3])
def test_ncc_of_constant_images_is_zero_with_a_finite_gradient(level):
    flat, other = torch.full((2, 1, 16, 16), level), noise(2, 1, 16, 16)
    other[1] = level  # both flat
    for swap in (False, True):
        flat_, other_ = flat.clone().requires_grad_(), other.clone().requires_grad_()
        score = ncc(*((other_, flat_) if swap else (flat_, other_)))
        torch.testing.assert_close(score, torch.zeros(2), atol=1e-3, rtol=0)
        score.sum().backward()
        for gradient in (flat_.grad, other_.grad):
            assert gradient.isfinite().all()
            assert gradient.abs().max() < 10


def test_gradient_climbs():
    target = noise(1, 1, 16, 16)
    image = (target + 0.5 * noise(1, 1, 16, 16, seed=1)).requires_grad_()
    loss = NCCLoss()(image, target)
    (gradient,) = torch.autograd.grad(loss, image)
    assert NCCLoss()(image - gradient / gradient.norm(), target) < loss - 0.01


def test_ncc_is_float32_under_autocast():
    image, target = some_pairs(32, 32)
    image = (image + 50).requires_grad_()  # what bfloat16, with steps of 0.25 here, could not tell apart
    expected = ncc(image, target)
    with torch.autocast("cpu", torch.bfloat16):
        score = ncc(image, target)
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, expected, atol=1e-6, rtol=0)
    score.sum().backward()
    assert image.grad.isfinite().all()

    half = target.bfloat16()
    torch.testing.assert_close(ncc(half, half), torch.ones(3), atol=1e-5, rtol=0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\[2, 1, 8, 8\].*\[2, 1, 8, 9\]"):
        NCCLoss()(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9))
    with pytest.raises(ValueError, match=r"\[2, 1, 8, 8\].*\[1, 1, 8, 8\]"):
        ncc(torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 8))


def test_loss_is_the_papers_by_default():
    warped, fixed = some_pairs(16, 16)
    assert RegistrationLoss()({"warped": warped}, fixed) == NCCLoss()(warped, fixed)  # no field is needed


@pytest.mark.parametrize("regularization", [BendingEnergyLoss(), DiffusionLoss()], ids=["bending", "diffusion"])
@pytest.mark.parametrize("size", [(16, 18), (8, 9, 10)])
def test_regularization_is_added_with_its_weight(regularization, size):
    warped, fixed = some_pairs(*size)
    field = noise(3, len(size), *size).requires_grad_()
    loss = RegistrationLoss(regularization=regularization, weight=0.25)({"warped": warped, "ddf": field}, fixed)
    expected = NCCLoss()(warped, fixed) + 0.25 * regularization(field)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert field.grad.any()


def test_similarity_can_be_another_and_gets_warped_before_fixed():
    class Difference(nn.Module):
        def forward(self, warped, fixed):
            return (warped - fixed).mean()

    loss = RegistrationLoss(Difference())({"warped": torch.full((1, 1, 4, 4), 5.0)}, torch.full((1, 1, 4, 4), 2.0))
    assert loss == 3.0


def stretched(factor):
    """A field whose Jacobian determinant is ``factor`` everywhere."""
    ddf = torch.zeros(1, 2, 8, 9)
    ddf[0, 0] = (factor - 1) * torch.arange(8.0)[:, None]
    return ddf


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (3.0, 0.0), (0.25, 0.0), (0.0, 0.2), (-0.5, 0.7)])
def test_folding_loss_is_what_the_determinant_lacks_to_the_margin(factor, expected):
    assert FoldingLoss(margin=0.2)(stretched(factor)).item() == pytest.approx(expected, abs=1e-6)


def test_folding_loss_unfolds():
    ddf = torch.zeros(1, 2, 12, 12)
    ddf[0, 0, 6] = -3.0
    ddf.requires_grad_()
    loss = FoldingLoss()(ddf)
    assert loss > 0
    (gradient,) = torch.autograd.grad(loss, ddf)
    assert FoldingLoss()(ddf - gradient / gradient.norm()) < loss
