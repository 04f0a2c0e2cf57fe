"""Which part of an image is registered: a window around what is drawn on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["beyond", "bounds", "window_around"]

LEAST_SIDE = 128  # pixels; that of the windows which the shipped networks were trained on
MARGIN = 32  # pixels around what is drawn: walls move by less than 20, and the network sees what lies beside them
STEP = 16  # pixels, the coarsest cells that a network pools an image into
FADE = 32  # pixels beyond a window in which its field falls to zero: no fold comes of less than 20 pixels


def window_around(drawn: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of an image (H, W) bool around what is drawn on it, with a margin.

    The window starts on the network's coarsest cells, which keeps the field in it near that of the whole image. It ends
    at the image's border; all of a small image is its window.

    Raises:
        ValueError: when nothing is drawn.
    """
    rows, columns = (_around(*found, size) for found, size in zip(bounds(drawn), drawn.shape, strict=True))
    return rows, columns


def bounds(drawn: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last row, and the first and the last column, of what is drawn on an image (H, W) bool.

    Raises:
        ValueError: when nothing is drawn.
    """
    if not drawn.any():
        raise ValueError("expected an image that is drawn on, found an empty one")
    along = [np.flatnonzero(drawn.any(axis)) for axis in (1, 0)]
    return [(int(where[0]), int(where[-1])) for where in along]


def beyond(ddf: Tensor, window: tuple[slice, slice], size: Sequence[int]) -> Tensor:
    """The field of a window (B, 2, h, w) on the whole image, (B, 2, H, W), in the same unit and convention.

    Beyond the window its outermost values fall to zero, smoothly within :data:`FADE` pixels.
    """
    sides = [(part.start, n - part.stop) for part, n in zip(window, size, strict=True)]
    whole = F.pad(ddf, [*sides[1], *sides[0]], mode="replicate")
    down, right = (_fading(part, n).to(ddf.device, ddf.dtype) for part, n in zip(window, size, strict=True))
    return whole * (down[:, None] * right)


def _around(first: int, last: int, size: int) -> slice:
    """Along an axis of ``size`` pixels."""
    start = max(0, min(first - MARGIN, (first + last + 1 - LEAST_SIDE) // 2, size - LEAST_SIDE)) // STEP * STEP
    side = max(LEAST_SIDE, -(-(last + 1 + MARGIN - start) // STEP) * STEP)
    return slice(start, min(size, start + side))


def _fading(window: slice, size: int) -> Tensor:
    """1 in the window, and from there to 0 as half a cosine, (size,)."""
    places = torch.arange(size)
    distance = torch.maximum(window.start - places, places - (window.stop - 1)).clamp(0, FADE)
    return (1 + (math.pi / FADE * distance).cos()) / 2
