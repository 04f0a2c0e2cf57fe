"""Where the heart is in a cine: it is what moves at the heart's own rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

__all__ = ["SIDE", "Region", "heart_region"]

SIDE = 160.0  # mm; both ventricles of a dilated heart fit in

# In mm: how much motion and brightness are smoothed, how far moving parts may lie apart and be one, and how far from
# the middle of the image the heart is expected, as a standard deviation.
SMOOTH, NEIGHBOURHOOD, JOINED, EXPECTED = 3.0, 12.0, 6.0, 90.0
MOVING = 0.5  # of what moves most
DARK = 0.15  # of the brightest: noise in air changes much, compared with its mean


class Region(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, images: np.ndarray) -> np.ndarray:
        """The part of images (..., H, W)."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


def heart_region(images: np.ndarray, spacing: Sequence[float]) -> Region:
    """A square of :data:`SIDE` mm around the heart, moved and cut so that it lies inside the image.

    The heart is the largest part near the middle of the image whose brightness changes most over the cycle, compared
    with what is around it: by the first harmonic, mean of the slices in the middle half of the stack. A cine in which
    nothing changes gives the middle of the image.

    Args:
        images: (S, T, H, W), at least one slice and two frames.
        spacing: (row mm, column mm).
    """
    slices, frames, height, width = images.shape
    mm = np.asarray(spacing, float)
    middle = images[slices // 4 : slices - slices // 4]
    angles = 2 * np.pi * np.arange(frames) / frames
    waves = (np.tensordot(turn(angles).astype(np.float32), middle, (0, 1)) for turn in (np.cos, np.sin))
    motion = ndimage.gaussian_filter(np.hypot(*waves), (0, *(SMOOTH / mm)))
    around = ndimage.gaussian_filter(middle.mean(1), (0, *(NEIGHBOURHOOD / mm)))
    around = around - min(float(around.min()), 0.0)
    change = (motion / np.maximum(around + DARK * around.max((1, 2), keepdims=True), 1e-6)).mean(0)
    centre = (np.array((height, width)) - 1) / 2
    if change.max() > 1e-6:
        rows, columns = np.indices((height, width))
        off = np.hypot((rows - centre[0]) * mm[0], (columns - centre[1]) * mm[1])
        centre = _middle_of_largest(change * np.exp(-0.5 * (off / EXPECTED) ** 2), mm)
    sides = np.minimum(np.ceil(SIDE / mm), (height, width)).astype(int)
    corner = np.clip(np.round(centre - (sides - 1) / 2), 0, (height, width) - sides).astype(int)
    return Region(*corner.tolist(), *sides.tolist())


def _middle_of_largest(change: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Of the part that changes most: (row, column) of the middle of the box around it, outliers left out."""
    moving = change > MOVING * np.percentile(change, 99.7)
    rows, columns = (np.arange(-reach, reach + 1) for reach in np.round(JOINED / mm).astype(int))
    joined = ndimage.binary_dilation(moving, np.ones((len(rows), len(columns)), bool))
    parts, count = ndimage.label(joined)
    weights = ndimage.sum(change * moving, parts, np.arange(1, count + 1))
    largest = np.argwhere(moving & (parts == 1 + int(np.argmax(weights))))
    return np.percentile(largest, (1, 99), axis=0).mean(0)
