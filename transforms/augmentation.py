"""Random windows and contrasts for training pairs: one place for both images, a scanner of its own for each pair."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.networks.layers import gaussian_1d, separable_filtering
from torch import Tensor

__all__ = ["blur", "random_contrast", "random_windows", "take_windows"]


def random_windows(
    centres: Tensor,
    size: int,
    image_size: tuple[int, int],
    generator: torch.Generator,
    reach: float = 22.0,
    pixel: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Where square windows lie in their images: turned, mirrored, zoomed, sheared and bent, near their centres.

    Three in ten are turned by right angles alone and not zoomed, so that untouched images are seen too.

    Args:
        centres: (B, 2) in pixels, (row, column), about which they lie.
        size: of the window's sides, in its own pixels.
        image_size: (rows, columns) of the images.
        generator: of the draws.
        reach: how far a window's middle may lie from the centre, along each axis, in pixels of the window.
        pixel: (B, 2), sizes of the window's pixels, before it is zoomed, in those of the image, (row, column); by
            default 1.

    Returns:
        places (B, size, size, 2) as :func:`torch.nn.functional.grid_sample` takes them (x, y, in −1 to 1); and by how
        much each window is zoomed, (B,): pixels of the image a pixel of the window, in those of ``pixel``.
    """
    count = len(centres)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    plain = uniform(0, 1) < 0.3
    angle = uniform(0, 2 * math.pi)
    angle = torch.where(plain, (angle / (math.pi / 2)).round() * (math.pi / 2), angle)
    zoom = torch.where(plain, 1.0, torch.exp(uniform(-0.22, 0.38)))
    shear = torch.where(plain, 1.0, torch.exp(uniform(-0.12, 0.12)))
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    matrix = torch.stack(
        [
            torch.stack([angle.cos() * shear, -angle.sin() * mirror / shear], -1),
            torch.stack([angle.sin() * shear, angle.cos() * mirror / shear], -1),
        ],
        1,
    ) * zoom.view(-1, 1, 1)
    pixel = torch.ones(count, 2) if pixel is None else pixel
    middle = centres + uniform(-reach, reach, 2) * pixel
    offsets = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    lattice = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1).view(1, -1, 2)
    places = (lattice @ matrix.mT).view(count, size, size, 2) * pixel[:, None, None] + middle[:, None, None]
    bend = torch.randn(count, 2, 6, 6, generator=generator) * (uniform(0, 3, 1, 1, 1) * ~plain.view(-1, 1, 1, 1))
    bend = F.interpolate(bend, size=(size, size), mode="bicubic", align_corners=True).movedim(1, -1)
    places = places + bend * pixel[:, None, None]
    normalised = (2 * places + 1) / torch.tensor(image_size, dtype=torch.float32) - 1
    return normalised.flip(-1), zoom


def take_windows(images: Tensor, places: Tensor) -> Tensor:
    """Images (B, C, H, W) at the places of :func:`random_windows`, linearly, 0 beyond their borders."""
    return F.grid_sample(images, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def random_contrast(pairs: Tensor, inside: Tensor, generator: torch.Generator) -> Tensor:
    """Pairs or single images as other scanners would show them: gamma, brightness, a smooth coil field, blur, noise.

    The two images of a pair differ a little in gamma and gain, as frames of a cine do where blood flows in.

    Args:
        pairs: (B, 2, S, S), or of single images (B, 1, S, S), in [0, 1].
        inside: (B, 1, S, S), 1 in the image and 0 beyond its border.
        generator: of the draws.

    Returns:
        as ``pairs``, in [0, 1]; a fourth of them are as they were.
    """
    count, images, *size = pairs.shape

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.rand(count, channels, 1, 1, generator=generator) * (high - low) + low

    gamma = torch.exp(uniform(-0.5, 0.5) + uniform(-0.08, 0.08, images))
    gain = torch.exp(uniform(-0.25, 0.25) + uniform(-0.06, 0.06, images))
    coarse = torch.randn(count, 1, 3, 3, generator=generator) * 0.2
    coil = torch.exp(F.interpolate(coarse, size=size, mode="bicubic", align_corners=True))
    changed = pairs.clamp(0, 1) ** gamma * gain * coil + uniform(-0.12, 0.06) * inside
    blurred = uniform(0, 0.8) * (uniform(0, 1) < 0.35)
    changed = changed * (1 - blurred) + blur(changed) * blurred
    noise = torch.randn(pairs.shape, generator=generator) * uniform(0, 0.06)
    return torch.where(uniform(0, 1) < 0.75, (changed + noise).clamp(0, 1), pairs)


def blur(images: Tensor, sigma: float = 2.0) -> Tensor:
    """Images (B, C, H, W[, D]) smoothed by a Gaussian of ``sigma`` pixels, cut off at two; the border repeats."""
    kernel = gaussian_1d(torch.tensor(sigma), truncated=2, approx="sampled", normalize=True)
    return separable_filtering(images, [kernel] * (images.dim() - 2), mode="replicate")
