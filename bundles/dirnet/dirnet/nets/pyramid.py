"""A registration network of several resolutions: a pair of images to velocities, and these to a smooth field."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import InputError
from ..fields.displacement import Displacement
from .blocks import Layer, average_pooling, cells, check_dims, convolution, layers, sample_at
from .definition import DefinedNetwork
from .splines import BSplineTransformer

__all__ = ["PyramidDIRNet", "integrate"]


class PyramidRegressor(nn.Module):
    """Pair (B, 2, H, W[, D]) to velocities (B, dims, H / spacing, W / spacing[, D / spacing]) in pixels.

    The pair enters at half its resolution, each cell of two pixels an axis as channels, and is pooled to a quarter, an
    eighth and a sixteenth; on the way back each level adds what the one of its resolution saw (lateral connections).

    Args:
        channels: kernels at a half, a quarter, an eighth and a sixteenth of the resolution.
        spatial_dims: 2 or 3.
        spacing: of the velocities in pixels, 4 or 2.
    """

    def __init__(self, channels: list[int], spatial_dims: int = 2, spacing: int = 4) -> None:
        super().__init__()
        dims = spatial_dims
        half, quarter, eighth, sixteenth = channels
        self.pool = average_pooling(dims)
        self.at_half = Layer(2 * 2**dims, half, 3, dims)
        self.at_quarter = layers(dims, half, quarter, quarter)
        self.at_eighth = layers(dims, quarter, eighth, eighth)
        self.at_sixteenth = layers(dims, eighth, sixteenth, sixteenth, sixteenth)
        self.to_eighth = convolution(dims, sixteenth, eighth, 1)
        self.merge_eighth = layers(dims, eighth, eighth, eighth)
        self.to_quarter = convolution(dims, eighth, quarter, 1)
        self.merge_quarter = layers(dims, quarter, quarter, quarter)
        finest = spacing == 2
        self.to_half = convolution(dims, quarter, half, 1) if finest else None
        self.merge_half = layers(dims, half, half, half) if finest else None
        self.output = velocity_layer(half if finest else quarter, dims)

    @torch.jit.export
    def features(self, pair: Tensor) -> Tensor:
        """What the velocities are made of, (B, channels, H / spacing, W / spacing[, D / spacing])."""
        half = self.at_half(cells(pair))
        quarter = self.at_quarter(self.pool(half))
        eighth = self.at_eighth(self.pool(quarter))
        sixteenth = self.at_sixteenth(self.pool(eighth))
        merged = self.merge_eighth(eighth + enlarged(self.to_eighth(sixteenth), eighth))
        merged = self.merge_quarter(quarter + enlarged(self.to_quarter(merged), quarter))
        if self.to_half is not None and self.merge_half is not None:
            merged = self.merge_half(half + enlarged(self.to_half(merged), half))
        return merged

    def forward(self, pair: Tensor) -> Tensor:
        return self.output(self.features(pair))


class Refiner(nn.Module):
    """What remains to be moved once the first stage has moved the moving image: velocities as
    :class:`PyramidRegressor`'s, from the warped pair's cells and the first stage's features, at a quarter."""

    def __init__(self, half: int, quarter: int, spatial_dims: int = 2) -> None:
        super().__init__()
        self.pool = average_pooling(spatial_dims)
        self.at_half = Layer(2 * 2**spatial_dims, half, 3, spatial_dims)
        self.at_quarter = Layer(half, quarter, 3, spatial_dims)
        self.merge = layers(spatial_dims, quarter, quarter, quarter)
        self.output = velocity_layer(quarter, spatial_dims)

    def forward(self, cells: Tensor, features: Tensor) -> Tensor:
        return self.output(self.merge(self.at_quarter(self.pool(self.at_half(cells))) + features))


def velocity_layer(inputs: int, spatial_dims: int) -> nn.Conv2d | nn.Conv3d:
    """Features to velocities, none at first: training starts at the identity."""
    layer = convolution(spatial_dims, inputs, spatial_dims, 1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def enlarged(features: Tensor, like: Tensor) -> Tensor:
    """Features at the resolution of others, each value repeated."""
    return F.interpolate(features, size=like.shape[2:], mode="nearest")


def integrate(velocity: Tensor, squarings: int) -> Tensor:
    """The displacement after unit time of a stationary velocity field, by scaling and squaring (Arsigny et al., "A
    log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006).

    Args:
        velocity: (B, dims, H, W[, D]), components in array order, in steps of its own grid; linear between its points,
            and beyond its border as at the border.
        squarings: ``2 ** squarings`` parts of the way are composed; 0 takes the velocity for the displacement.

    Returns:
        displacement of the same shape and unit, pull-back, float32. That of ``-velocity`` is its inverse.
    """
    displacement = velocity.float() / 2.0**squarings
    for _ in range(squarings):
        displacement = displacement + sample_at(displacement, displacement)
    return displacement


class PyramidDIRNet(DefinedNetwork):
    """A registration network that sees several resolutions, and moves by velocities.

    A U-shaped stack of 3x3 convolutions (Ronneberger et al., MICCAI 2015) turns the pair into a velocity every 4
    pixels, or every 2. Its integral over unit time gives the control points of a cubic B-spline, as in DIRNet. With two
    stages a second, smaller stack looks at the pair again, moved by what the first has found, and the two are composed.

    Args:
        channels: kernels at a half, a quarter, an eighth and a sixteenth of the image's resolution.
        squarings: of :func:`integrate`; 0 takes the velocities for displacements.
        boundary: of the B-spline, ``"zero"`` or ``"replicate"``, see
            :class:`~dirnet.nets.splines.BSplineTransformer`.
        stages: 1 or 2.
        spatial_dims: 2 or 3.
        spacing: of the control points in pixels, 4, or 2 with one stage.
        symmetric: whether the velocities are half the difference of those of the pair and of the pair exchanged, so
            that the two fields undo each other (Avants et al., "Symmetric diffeomorphic image registration with
            cross-correlation", Medical Image Analysis 2008); with one stage. It takes twice the time.

    Input: pair (B, 2, H, W[, D]), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; any size: it is padded with
    zeros at the end of each axis to a multiple of 16, in 3-D of 8 and 16 at least, and the field is cropped back.
    Output: DDF (B, dims, H, W[, D]) in pixels, components in array order, float32, pull-back:
    ``warped(x) = moving(x + ddf(x))``. Pixels count as square, whatever their spacing.

    Example::

        >>> PyramidDIRNet()(torch.rand(1, 2, 200, 256)).shape
        torch.Size([1, 2, 200, 256])
    """

    def __init__(
        self,
        channels: list[int] | tuple[int, ...] = (32, 48, 64, 96),
        squarings: int = 4,
        boundary: str = "zero",
        stages: int = 1,
        spatial_dims: int = 2,
        spacing: int = 4,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != 4:
            raise InputError(f"channels must be four numbers, of four resolutions, got {channels!r}")
        if spacing not in (2, 4):
            raise InputError(f"spacing must be 2 or 4 pixels, got {spacing!r}")
        if stages == 2 and (spacing == 2 or symmetric):
            raise InputError("a second stage takes control points every 4 pixels, and is not symmetric")
        self.spatial_dims = check_dims(spatial_dims)
        self.spacing = spacing
        # a volume's sides are short, and padding takes their cube
        self.multiple = 16 if spatial_dims == 2 else 8
        self.squarings = squarings
        self.stages = stages
        self.symmetric = symmetric
        self.definition = {
            "channels": list(channels),
            "squarings": squarings,
            "boundary": boundary,
            "stages": stages,
            "spatial_dims": spatial_dims,
            "spacing": spacing,
            "symmetric": symmetric,
        }
        self.regressor = PyramidRegressor(list(channels), spatial_dims, spacing)
        self.refiner = Refiner(channels[0], channels[1], spatial_dims) if stages == 2 else None
        self.transformer = BSplineTransformer(self.spacing, 3, boundary, spatial_dims)

    def padded(self, pair: Tensor) -> Tensor:
        """A pair as its layers take it, see the class.

        Raises:
            ValueError: when the pair's channels or dimensions are others.
        """
        if pair.dim() != self.spatial_dims + 2 or pair.shape[1] != 2:
            raise ValueError(
                f"a PyramidDIRNet takes (B, 2, H, W{', D' if self.spatial_dims == 3 else ''}) (channel 0 moving, "
                f"channel 1 fixed), got {list(pair.shape)}"
            )
        padding: list[int] = []
        for axis in range(pair.dim() - 1, 1, -1):
            padding += [0, max(-pair.shape[axis] % self.multiple, 16 - pair.shape[axis])]
        return F.pad(pair, padding)

    @torch.jit.export
    def integrated(self, velocity: Tensor) -> Tensor:
        """Velocities to control points; the negative velocities give the inverse's."""
        return integrate(velocity / self.spacing, self.squarings) * self.spacing

    def warped_cells(self, pair: Tensor, points: Tensor) -> Tensor:
        """The pair's cells as channels, at half its resolution, those of the moving image moved by control points."""
        both = cells(pair.float())
        moving = both.shape[1] // 2
        mode = "bilinear" if self.spatial_dims == 2 else "trilinear"
        field = F.interpolate(points, scale_factor=2.0, mode=mode, align_corners=False) / 2.0
        return torch.cat([sample_at(both[:, :moving].contiguous(), field), both[:, moving:]], 1)

    @torch.jit.export
    def control_points(self, pair: Tensor) -> Tensor:
        """Pair (B, 2, H, W[, D]) to control points (B, dims, K_1, ...), float32, in pixels, one every ``spacing``.

        Raises:
            ValueError: as :meth:`padded`.
        """
        pair = self.padded(pair)
        if self.symmetric:  # one pass for both
            both = self.regressor(torch.cat([pair, pair.flip(1)])).float()
            return self.integrated((both[: len(pair)] - both[len(pair) :]) / 2)
        return self.points_of(pair, self.regressor.features(pair))

    def points_of(self, pair: Tensor, features: Tensor) -> Tensor:
        """Control points from a padded pair and its features."""
        points = self.integrated(self.regressor.output(features).float())
        if self.refiner is not None:
            seen = self.warped_cells(pair, points)
            second = self.integrated(self.refiner(seen, features).float())
            points = second + sample_at(points, second / self.spacing)
        return points

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W[, D]) to their displacement: field and spline, float32.

        Raises:
            ValueError: as :meth:`padded`.
        """
        return self.transformer.displacement(self.control_points(pair), list(pair.shape[2:]))

    def forward(self, pair: Tensor) -> Tensor:
        return self.transformer(self.control_points(pair), list(pair.shape[2:]))

    def fold_normalization(self) -> PyramidDIRNet:
        """A copy for inference whose convolutions have taken in their batch normalisation: the same field, sooner.

        Its weights are those of no checkpoint: it loads none, and is not to be saved.
        """
        folded = copy.deepcopy(self).eval()
        for layer in folded.modules():
            if isinstance(layer, Layer):
                norm: Any = layer.norm
                layer.conv = fuse_conv_bn_eval(layer.conv, norm)
                layer.norm = nn.Identity()
        return folded
