"""Layers of the networks that see several resolutions, in 2-D and 3-D."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["Layer", "average_pooling", "cells", "check_dims", "convolution", "layers", "sample_at"]


def check_dims(spatial_dims: int) -> int:
    """The number of axes itself.

    Raises:
        InputError: when it is not 2 or 3.
    """
    if spatial_dims not in (2, 3) or isinstance(spatial_dims, bool):
        raise InputError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}")
    return spatial_dims


def convolution(
    spatial_dims: int, inputs: int, outputs: int, kernel_size: int, bias: bool = True
) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the size."""
    kind = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    return kind(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)


def average_pooling(spatial_dims: int) -> nn.Module:
    """Means over two pixels an axis."""
    return nn.AvgPool2d(2) if spatial_dims == 2 else nn.AvgPool3d(2)


class Layer(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 3, spatial_dims: int = 2) -> None:
        super().__init__()
        self.conv = convolution(spatial_dims, inputs, outputs, kernel_size, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs) if spatial_dims == 2 else nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def layers(spatial_dims: int, *channels: int) -> nn.Sequential:
    """3x3 layers in a row, from one number of channels to the next."""
    steps = itertools.pairwise(channels)
    return nn.Sequential(*(Layer(inputs, outputs, 3, spatial_dims) for inputs, outputs in steps))


def cells(image: Tensor) -> Tensor:
    """Cells of two pixels an axis as channels: (B, C, H, W[, D]), even sizes, to (B, C * 4, H / 2, W / 2) or (B, C * 8,
    H / 2, W / 2, D / 2)."""
    if image.dim() == 4:
        return F.pixel_unshuffle(image, 2)
    batch, channels, rows, columns, depth = image.shape
    split = image.reshape(batch, channels, rows // 2, 2, columns // 2, 2, depth // 2, 2)
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * 8, rows // 2, columns // 2, depth // 2)


def sample_at(image: Tensor, displacement: Tensor) -> Tensor:
    """:func:`dirnet.fields.resampling.warp` in a form that scripts: ``image(x + displacement(x))``.

    Args:
        image: (B, C, H, W[, D]) float32.
        displacement: (B, dims, H, W[, D]) float32, in steps of this grid, components in array order, pull-back.
    """
    dims = image.dim() - 2
    places: list[Tensor] = []
    for axis in range(dims - 1, -1, -1):  # the sampler's order is the last axis first
        size = image.shape[2 + axis]
        along = (torch.arange(size, device=image.device, dtype=torch.float32) * 2 + 1) / size - 1
        along = along.reshape([size] + [1] * (dims - 1 - axis))
        places.append(along + displacement[:, axis] * (2.0 / size))
    return F.grid_sample(image, torch.stack(places, -1), mode="bilinear", padding_mode="border", align_corners=False)
