"""How unevenly a field stretches, against scalings whose determinant is known."""

import math

import pytest
import torch

from dirnet.fields.jacobian import log_jacobian_sd


@pytest.mark.parametrize("dims", [2, 3])
def test_even_scaling_has_none(dims):
    places = torch.stack(torch.meshgrid(*[torch.arange(6.0)] * dims, indexing="ij"))[None]
    assert log_jacobian_sd(torch.cat([0 * places, 0.5 * places])).tolist() == pytest.approx([0, 0], abs=1e-5)


def test_halves_of_which_one_is_stretched():
    """Along the rows: 4 steps of 1 and 4 of 2 pixels, and the logarithms 0 and ln 2."""
    ddf = torch.zeros(1, 2, 9, 5)
    ddf[0, 0, 4:] = torch.arange(5.0)[:, None]
    assert log_jacobian_sd(ddf).item() == pytest.approx(math.log(2) / 2 * math.sqrt(32 / 31))


def test_what_folds_has_no_logarithm():
    ddf = torch.zeros(1, 2, 9, 5)
    ddf[0, 0, 4] = 3  # a step of 4, then one of -2
    expected = torch.tensor([0.0] * 24 + [math.log(4)] * 4).std()
    assert log_jacobian_sd(ddf).item() == pytest.approx(expected.item())
    folded = -2 * torch.arange(9.0).view(1, 1, 9, 1).expand(1, 1, 9, 5)
    assert log_jacobian_sd(torch.cat([folded, 0 * folded], 1)).isnan()
