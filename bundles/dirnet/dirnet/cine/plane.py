"""Length of a ventricle in a long-axis view, of which no volumes follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from .volumes import check_masks

__all__ = ["longest_extents"]


def longest_extents(masks: ArrayLike, spacing: Sequence[float]) -> np.ndarray:
    """Longest distance in mm between two points of each mask: (..., H, W) -> (...) float64, nan where it is empty.

    In a long-axis view of the left ventricle that is its length, from the apex to the valve's further end. Pixels reach
    to their corners, so that of a straight bar of n pixels is the diagonal of n by one pixels.

    Args:
        masks: above 0.5 inside.
        spacing: (row mm, column mm).

    Raises:
        ValueError: when ``masks`` are no images, or ``spacing`` is not two positive numbers.
    """
    inside, (row, column) = check_masks(masks, spacing)
    found = [_longest(mask, np.array([row, column])) for mask in inside.reshape(-1, *inside.shape[-2:])]
    return np.reshape(found, inside.shape[:-2])


def _longest(mask: np.ndarray, mm: np.ndarray) -> float:
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return np.nan
    first, last = mask[rows].argmax(1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(1)
    ends = np.concatenate([np.stack([rows, first], 1), np.stack([rows, last], 1)])
    corners = np.concatenate([ends + off for off in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))]) * mm
    return float(pdist(corners[ConvexHull(corners).vertices]).max())
