"""Images at displaced places.

A displacement field has shape (B, dims, H, W[, D]), components in array order, is in pixels and pulls back:
``warped(x) = image(x + ddf(x))``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..speed.cpu import CACHED_FIELD_PIXELS, eager_on_cpu, images_per_part

__all__ = ["kept_identity", "sample", "sample_grid", "warp"]

MODES = {"bilinear": 0, "nearest": 1}  # torch's numbers
BORDER = 1


def warp(image: Tensor, ddf: Tensor, mode: str = "bilinear") -> Tensor:
    """Resample ``image`` (B, C, H, W[, D]) at ``x + ddf(x)`` for a DDF (B, dims, H, W[, D]), with border padding.

    The values of MONAI's ``Warp(padding_mode="border")`` at a fraction of its time, and with no cache that keeps a
    grid for every image size. The result is float32, or float64 where the image is. A batch on a CPU has first
    derivatives alone.

    Args:
        image: of any type; coarser ones than float32 cannot hold the coordinates.
        ddf: in pixels of the fixed grid, components in array order (row, column[, depth]), pull-back.
        mode: ``"bilinear"`` or ``"nearest"``.

    Raises:
        ValueError: when the two differ in batch or spatial size, or there is no such mode.
    """
    if image.shape[0] != ddf.shape[0] or image.shape[2:] != ddf.shape[2:] or ddf.shape[1] != ddf.dim() - 2:
        raise ValueError(f"image {list(image.shape)} and displacement field {list(ddf.shape)} do not fit")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {tuple(MODES)}, got {mode!r}")
    kind = torch.promote_types(image.dtype, torch.float32)
    image, ddf = image.to(kind), ddf.to(kind)
    if _may_sample_in_parts(image) and len(image) > 1:
        return _WarpInParts.apply(image, ddf, mode)
    # each component by itself, in memory too: the sampler's own order, components last, takes twice the time to fill
    places = [
        torch.add(axis, component, alpha=2.0 / n)
        for axis, component, n in zip(_identity(ddf), ddf.unbind(1), ddf.shape[2:], strict=True)
    ]
    return sample_grid(image, torch.stack(places[::-1], 1).movedim(1, -1), mode)


def sample(image: Tensor, places: Tensor) -> Tensor:
    """Values of ``image`` (B, C, H, W[, D]) at places (B, N, dims) in pixels, in array order: (B, C, N), linearly,
    with border padding; :func:`warp` at some points. Float32, or float64 where the image is."""
    size = torch.tensor(image.shape[2:], device=places.device)
    kind = torch.promote_types(image.dtype, torch.float32)
    grid = ((2 * places.to(kind) + 1) / size - 1).flip(-1)
    grid = grid.unflatten(1, (-1, *[1] * (image.dim() - 3)))
    return sample_grid(image.to(kind), grid).flatten(2)


def sample_grid(image: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    """torch's ``grid_sample`` with border padding: places (B, H, W[, D], dims) in its normalised coordinates."""
    # torch shares out images alone to threads: a lone one as several, each with a strip of the rows wanted of it
    strips = torch.get_num_threads() if _may_sample_in_parts(image) and len(image) == 1 else 1
    if strips == 1 or grid.shape[1] % strips:
        return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
    image = image.expand(strips, *image.shape[1:])
    grid = grid[0].unflatten(0, (strips, -1))
    found = F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
    return found.movedim(0, 1).flatten(1, 2).unsqueeze(0)


@functools.lru_cache(4)
def kept_identity(size: tuple[int, ...], device: torch.device) -> Tensor:
    """The sampler's coordinates of each pixel, in its order of components, last axis first: (1, dims, *size)."""
    with torch.inference_mode(False):  # autograd could not use one made in it
        axes = _identity(torch.zeros(1, len(size), *size, dtype=torch.float32, device=device))
        return torch.stack([axis.expand(size) for axis in axes[::-1]]).unsqueeze(0)


def _may_sample_in_parts(image: Tensor) -> bool:
    """Whether it may be sampled in the ways that are for a CPU, and for images without a gradient of their own."""
    return eager_on_cpu(image) and not (image.requires_grad and torch.is_grad_enabled())


def _identity(ddf: Tensor) -> list[Tensor]:
    """Normalised coordinates of the pixels along each axis, for align_corners=False, shaped to broadcast."""
    size = ddf.shape[2:]
    axes = [torch.arange(1 - n, n, 2, device=ddf.device, dtype=ddf.dtype) / n for n in size]
    return [axis.view([-1] + [1] * (len(size) - number - 1)) for number, axis in enumerate(axes)]


class _WarpInParts(torch.autograd.Function):
    """:func:`warp` on a CPU, a few images at a time, so that all that is made on the way stays in its cache: half the
    time. No gradient with respect to the image."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, ddf: Tensor, mode: str) -> Tensor:
        ctx.save_for_backward(image, ddf)
        ctx.mode = mode
        sampler = torch.grid_sampler_2d if ddf.shape[1] == 2 else torch.grid_sampler_3d
        warped = image.new_empty(image.shape)
        for here, part, grid in _cache_sized_parts(image, ddf):
            warped[here] = sampler(part, grid, MODES[mode], BORDER, False)
        return warped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        image, ddf = ctx.saved_tensors
        aten = torch.ops.aten
        sampler = aten.grid_sampler_2d_backward if ddf.shape[1] == 2 else aten.grid_sampler_3d_backward
        result = torch.empty_like(ddf, memory_format=torch.contiguous_format)
        for here, part, grid in _cache_sized_parts(image, ddf):
            _, found = sampler(gradient[here], part, grid, MODES[ctx.mode], BORDER, False, [False, True])
            for axis, n in enumerate(ddf.shape[2:]):
                torch.mul(found[..., -1 - axis], 2.0 / n, out=result[here, axis])
        return None, result, None


def _cache_sized_parts(image: Tensor, ddf: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Which images, these images, and the sampler's coordinates for them."""
    axes = _identity(ddf)
    step = max(
        images_per_part(ddf, CACHED_FIELD_PIXELS), torch.get_num_threads()
    )  # the sampler shares out images alone to threads
    room = torch.empty_like(ddf[:step], memory_format=torch.contiguous_format)
    for start in range(0, len(ddf), step):
        here = slice(start, start + step)
        field = ddf[here]
        grid = room[: len(field)]
        for number, (axis, n) in enumerate(zip(axes, ddf.shape[2:], strict=True)):
            torch.add(axis, field[:, number], alpha=2.0 / n, out=grid[:, -1 - number])
        # a copy is read in order, and then is in the cache; the sampler, which jumps about, would wait for each line
        yield here, image[here].clone(), grid.movedim(1, -1)
