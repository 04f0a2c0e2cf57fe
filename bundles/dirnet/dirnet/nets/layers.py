"""The layers of :class:`~dirnet.nets.networks.DIRNet`."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

__all__ = ["Convolution"]


class Convolution(nn.Sequential):
    """Convolution, batch normalisation, ELU.

    ``monai.networks.blocks.Convolution`` under the same names (``conv``, ``adn.N``, ``adn.A``), so that checkpoints fit
    both. It is not imported: ``import monai`` loads all of MONAI, 4 s of CPU, more than ``dirnet register`` takes.

    Args:
        spatial_dims: 2 or 3.
        inputs, outputs: channels.
        kernel_size: with a stride of 1 it is odd, and the size of the image is kept.
        stride: above 1 there is no padding.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1) -> None:
        convolution = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        normalization = nn.BatchNorm2d if spatial_dims == 2 else nn.BatchNorm3d
        padding = (kernel_size - 1) // 2 if stride == 1 else 0
        # no bias: batch normalisation has its own
        conv = convolution(inputs, outputs, kernel_size, stride, padding, bias=False)
        adn = nn.Sequential(OrderedDict(N=normalization(outputs), A=nn.ELU(inplace=True)))
        super().__init__(OrderedDict(conv=conv, adn=adn))
