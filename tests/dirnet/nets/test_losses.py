import pytest
import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss
from torch import nn

from dirnet.nets.losses import FoldingLoss, RegistrationLoss
from dirnet.nets.similarities import NCCLoss
from tests.pairs import noise, some_pairs


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
