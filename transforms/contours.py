"""Closed contours and the masks that they enclose.

A contour is a list of rings (N, 2) of (x, y) in pixels, whole numbers being pixel centres. A ring within another is a
hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from contourpy import contour_generator
from matplotlib.path import Path as Polygon
from numpy.typing import ArrayLike

__all__ = ["enclosed", "outline"]


def enclosed(rings: Iterable[ArrayLike], size: Sequence[int]) -> np.ndarray:
    """The pixels whose centre lies inside: bool (H, W)."""
    mask = np.zeros(size, bool)
    for ring in rings:
        points = np.asarray(ring, float)
        (left, top), (right, bottom) = np.clip([points.min(0), points.max(0) + 1], 0, (size[1], size[0])).astype(int)
        row, column = np.mgrid[top:bottom, left:right]  # those that may be inside: there are many rings in a cine
        inside = Polygon(points).contains_points(np.stack([column.ravel(), row.ravel()], 1))
        mask[top:bottom, left:right] ^= inside.reshape(row.shape)
    return mask


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """A smooth contour that encloses the pixels of a mask (H, W), those and no other; without pixels no ring."""
    lines = contour_generator(z=np.pad(mask.astype(float), 1)).lines(0.5)
    return [_smooth(np.asarray(line)[:-1]) - 1 for line in lines]


def _smooth(ring: np.ndarray, steps: int = 40) -> np.ndarray:
    """Each point lies halfway between a pixel inside and one outside, and may slide between these two alone, so that
    no pixel changes sides (Gibson, "Constrained elastic surface nets", MICCAI 1998)."""
    slides = ring % 1 == 0.5
    smooth = ring
    for _ in range(steps):
        middle = (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0)) / 2
        smooth = np.where(slides, np.clip(middle, ring - 0.45, ring + 0.45), ring)
    return smooth
