"""A segmentation head beside a registration network, for training alone: its features then know the anatomy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fields.displacement import AffinePart, Displacement, grid
from .blocks import convolution
from .cascade import Cascade
from .pyramid import PyramidDIRNet

__all__ = ["WithSegmentation", "WithStructures"]

CONTOURS = 4  # moving and fixed lumen, moving and fixed epicardium


class WithSegmentation(nn.Module):
    """A network with a head that segments both images from its features; the network's own weights hold no head.

    Args:
        network: a :class:`~dirnet.nets.pyramid.PyramidDIRNet`, which is trained in place.
    """

    def __init__(self, network: PyramidDIRNet) -> None:
        super().__init__()
        _refuse_symmetric(network)
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


class WithStructures(nn.Module):
    """A network of volumes with a head that segments both images from the features of its deformable stage; the
    network's own weights hold no head.

    Args:
        network: a :class:`~dirnet.nets.cascade.Cascade` of one :class:`~dirnet.nets.pyramid.PyramidDIRNet`, with an
            affine stage or without; it is trained in place.
        structures: their number.

    Raises:
        InputError: when the network is another.
    """

    def __init__(self, network: Cascade, structures: int) -> None:
        super().__init__()
        stages = list(getattr(network, "stages", []))
        if len(stages) != 1 or not isinstance(stages[0], PyramidDIRNet):
            raise InputError("a head for structures takes a Cascade whose one stage is a PyramidDIRNet")
        _refuse_symmetric(stages[0])
        self.network = network
        self.spatial_dims = network.spatial_dims
        output = stages[0].regressor.output
        output.register_forward_pre_hook(self._keep)
        self.head = convolution(self.spatial_dims, output.in_channels, 2 * (structures + 1), 1)
        self._features: Tensor | None = None

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (self._features,) = inputs

    def displacement(self, pair: Tensor) -> Displacement:
        """As the network's, with ``segmentation`` among what it says besides: logits of background and structures, of
        the moving image as the stage sees it and then of the fixed one, (B, 2 * (structures + 1), ...); and ``seen``,
        the DDF by which that moving image was warped."""
        found = self.network.displacement(pair)
        features, self._features = self._features, None
        assert features is not None
        places = grid(found.ddf)
        seen = torch.zeros_like(found.ddf)
        for part in found.parts:
            if isinstance(part, AffinePart):
                seen = part.at(places)
        return Displacement(found.ddf, found.parts, {"segmentation": self.head(features), "seen": seen})


def _refuse_symmetric(network: PyramidDIRNet) -> None:
    if network.symmetric:
        raise InputError("a symmetric network has features of the pair and of the exchanged pair, and takes no head")
