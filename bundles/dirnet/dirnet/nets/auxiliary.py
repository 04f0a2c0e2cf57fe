"""A segmentation head beside a registration network, for training alone: its features then know the anatomy."""

from __future__ import annotations

from torch import Tensor, nn

from ..fields.displacement import Displacement
from .pyramid import PyramidDIRNet

__all__ = ["WithSegmentation"]

CONTOURS = 4  # moving and fixed lumen, moving and fixed epicardium


class WithSegmentation(nn.Module):
    """A network with a head that segments both images from its features; the network's own weights hold no head.

    Args:
        network: a :class:`~dirnet.nets.pyramid.PyramidDIRNet`, which is trained in place.
    """

    def __init__(self, network: PyramidDIRNet) -> None:
        super().__init__()
        self.network = network
        self.spatial_dims = network.spatial_dims
        self.head = nn.Conv2d(network.regressor.output.in_channels, CONTOURS, 1)

    def displacement(self, pair: Tensor) -> Displacement:
        """As the network's, with ``segmentation``, logits (B, 4, h, w), among what it says besides."""
        padded = self.network.padded(pair)
        features = self.network.regressor.features(padded)
        points = self.network.points_of(padded, features)
        displacement = self.network.transformer.displacement(points, list(pair.shape[2:]))
        return Displacement(displacement.ddf, displacement.parts, {"segmentation": self.head(features)})
