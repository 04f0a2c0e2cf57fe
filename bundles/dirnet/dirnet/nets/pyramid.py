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
from .definition import DefinedNetwork
from .splines import BSplineTransformer

__all__ = ["PyramidDIRNet", "integrate"]


class Layer(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class PyramidRegressor(nn.Module):
    """Pair (B, 2, H, W), sides multiples of 16, to velocities (B, 2, H / 4, W / 4) in pixels.

    The pair enters at half its resolution, each 2x2 cell of pixels as channels, and is pooled to a quarter, an eighth
    and a sixteenth; on the way back each level adds what the one of its resolution saw (lateral connections).
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = channels
        self.cells = nn.PixelUnshuffle(2)
        self.pool = nn.AvgPool2d(2)
        self.at_half = Layer(8, half)
        self.at_quarter = nn.Sequential(Layer(half, quarter), Layer(quarter, quarter))
        self.at_eighth = nn.Sequential(Layer(quarter, eighth), Layer(eighth, eighth))
        self.at_sixteenth = nn.Sequential(
            Layer(eighth, sixteenth), Layer(sixteenth, sixteenth), Layer(sixteenth, sixteenth)
        )
        self.to_eighth = nn.Conv2d(sixteenth, eighth, 1)
        self.merge_eighth = nn.Sequential(Layer(eighth, eighth), Layer(eighth, eighth))
        self.to_quarter = nn.Conv2d(eighth, quarter, 1)
        self.merge_quarter = nn.Sequential(Layer(quarter, quarter), Layer(quarter, quarter))
        self.output = nn.Conv2d(quarter, 2, 1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    @torch.jit.export
    def features(self, pair: Tensor) -> Tensor:
        """What the velocities are made of, (B, channels, H / 4, W / 4)."""
        half = self.at_half(self.cells(pair))
        quarter = self.at_quarter(self.pool(half))
        eighth = self.at_eighth(self.pool(quarter))
        sixteenth = self.at_sixteenth(self.pool(eighth))
        up = F.interpolate(self.to_eighth(sixteenth), scale_factor=2.0, mode="nearest")
        merged = self.merge_eighth(eighth + up)
        up = F.interpolate(self.to_quarter(merged), scale_factor=2.0, mode="nearest")
        return self.merge_quarter(quarter + up)

    def forward(self, pair: Tensor) -> Tensor:
        return self.output(self.features(pair))


class Refiner(nn.Module):
    """What remains to be moved once the first stage has moved the moving image: velocities as
    :class:`PyramidRegressor`'s, from the warped pair's cells (B, 8, H / 2, W / 2) and the first stage's features."""

    def __init__(self, half: int, quarter: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.at_half = Layer(8, half)
        self.at_quarter = Layer(half, quarter)
        self.merge = nn.Sequential(Layer(quarter, quarter), Layer(quarter, quarter))
        self.output = nn.Conv2d(quarter, 2, 1)
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    def forward(self, cells: Tensor, features: Tensor) -> Tensor:
        return self.output(self.merge(self.at_quarter(self.pool(self.at_half(cells))) + features))


def sample_at(image: Tensor, displacement: Tensor) -> Tensor:
    """:func:`dirnet.fields.resampling.warp` in a form that scripts: ``image(x + displacement(x))``.

    Args:
        image: (B, C, H, W) float32.
        displacement: (B, 2, H, W) float32, in steps of this grid, components in array order, pull-back.
    """
    height, width = image.shape[2], image.shape[3]
    rows = (torch.arange(height, device=image.device, dtype=torch.float32) * 2 + 1) / height - 1
    columns = (torch.arange(width, device=image.device, dtype=torch.float32) * 2 + 1) / width - 1
    places = [columns + displacement[:, 1] * (2.0 / width), rows[:, None] + displacement[:, 0] * (2.0 / height)]
    grid = torch.stack(places, -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def integrate(velocity: Tensor, squarings: int) -> Tensor:
    """The displacement after unit time of a stationary velocity field, by scaling and squaring (Arsigny et al., "A
    log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006).

    Args:
        velocity: (B, 2, H, W), components in array order, in steps of its own grid; linear between its points, and
            beyond its border as at the border.
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
    pixels. Its integral over unit time gives the control points of a cubic B-spline, as in DIRNet. With two stages a
    second, smaller stack looks at the pair again, moved by what the first has found, and the two are composed.

    Args:
        channels: kernels at a half, a quarter, an eighth and a sixteenth of the image's resolution.
        squarings: of :func:`integrate`; 0 takes the velocities for displacements.
        boundary: of the B-spline, ``"zero"`` or ``"replicate"``, see
            :class:`~dirnet.nets.splines.BSplineTransformer`.
        stages: 1 or 2.

    Input: pair (B, 2, H, W), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; any size: it is padded with
    zeros at the end of each axis to a multiple of 16, and the field is cropped back.
    Output: DDF (B, 2, H, W) in pixels, (row, column), float32, pull-back: ``warped(x) = moving(x + ddf(x))``.

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
    ) -> None:
        super().__init__()
        if len(channels) != 4:
            raise InputError(f"channels must be four numbers, of four resolutions, got {channels!r}")
        self.spatial_dims = 2
        self.spacing = 4
        self.multiple = 16
        self.squarings = squarings
        self.stages = stages
        self.definition = {
            "channels": list(channels),
            "squarings": squarings,
            "boundary": boundary,
            "stages": stages,
        }
        self.regressor = PyramidRegressor(list(channels))
        self.refiner = Refiner(channels[0], channels[1]) if stages == 2 else None
        self.transformer = BSplineTransformer(self.spacing, 3, boundary, 2)

    def padded(self, pair: Tensor) -> Tensor:
        """A pair as its layers take it, see the class.

        Raises:
            ValueError: when the pair's channels or dimensions are others.
        """
        if pair.dim() != 4 or pair.shape[1] != 2:
            raise ValueError(
                f"a PyramidDIRNet takes (B, 2, H, W) (channel 0 moving, channel 1 fixed), got {list(pair.shape)}"
            )
        height, width = pair.shape[2], pair.shape[3]
        return F.pad(pair, [0, -width % self.multiple, 0, -height % self.multiple])

    @torch.jit.export
    def integrated(self, velocity: Tensor) -> Tensor:
        """Velocities to control points; the negative velocities give the inverse's."""
        return integrate(velocity / self.spacing, self.squarings) * self.spacing

    def warped_cells(self, pair: Tensor, points: Tensor) -> Tensor:
        """The pair's 2x2 cells as channels, (B, 8, H / 2, W / 2), those of the moving image moved by control points."""
        cells = F.pixel_unshuffle(pair.float(), 2)
        field = F.interpolate(points, scale_factor=2.0, mode="bilinear", align_corners=False) / 2.0
        return torch.cat([sample_at(cells[:, :4].contiguous(), field), cells[:, 4:]], 1)

    @torch.jit.export
    def control_points(self, pair: Tensor) -> Tensor:
        """Pair (B, 2, H, W) to control points (B, 2, K_1, K_2), float32, in pixels, one every 4 pixels.

        Raises:
            ValueError: as :meth:`padded`.
        """
        pair = self.padded(pair)
        return self.points_of(pair, self.regressor.features(pair))

    def points_of(self, pair: Tensor, features: Tensor) -> Tensor:
        """Control points from a padded pair and its features."""
        points = self.integrated(self.regressor.output(features).float())
        if self.refiner is not None:
            cells = self.warped_cells(pair, points)
            second = self.integrated(self.refiner(cells, features).float())
            points = second + sample_at(points, second / self.spacing)
        return points

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W) to their displacement: field and spline, float32.

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
