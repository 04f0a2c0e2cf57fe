"""The layers of DIRNet are MONAI's, without MONAI."""

from __future__ import annotations

import pytest
import torch
from monai.networks.blocks import Convolution as MonaiConvolution

from dirnet.nets.layers import Convolution


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize(("kernel_size", "stride"), [(3, 1), (1, 1), (2, 2)])
def test_a_convolution_is_monais(spatial_dims, kernel_size, stride):
    torch.manual_seed(0)
    own = Convolution(spatial_dims, 2, 5, kernel_size, stride)
    torch.manual_seed(0)
    padding = 0 if stride > 1 else None
    options = {"bias": False, "adn_ordering": "NA", "norm": "batch", "act": "elu", "padding": padding}
    monais = MonaiConvolution(spatial_dims, 2, 5, kernel_size=kernel_size, strides=stride, **options)
    states = own.state_dict(), monais.state_dict()
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])  # drawn alike
    image = torch.rand(2, 2, *[12] * spatial_dims)
    torch.testing.assert_close(own(image), monais(image), rtol=0, atol=1e-6)
