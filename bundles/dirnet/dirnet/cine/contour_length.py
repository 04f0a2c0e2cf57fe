"""Length of a structure's contour, and the strain that its change means.

The endocardial contour's change in length from end-diastole is what clinical programs call global circumferential
strain of feature tracking: (L − L_ED) / L_ED, the engineering strain (Voigt et al., "Definitions for a common standard
for 2D speckle tracking echocardiography", EHJ Cardiovascular Imaging 2015). It follows from the contour alone, so that
a drawn contour has it too; how the tissue moves along the contour does not enter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from ..fields.windows import bounds
from .volumes import check_masks

__all__ = ["circumferential_strain", "contour_lengths"]

SMOOTHING = 1.0  # pixels, of a Gaussian: a disc of 8 pixels or more is then right to 1 %, without to 5 %
BEYOND = 4  # pixels of nothing around a mask, in which the smoothing ends


def contour_lengths(masks: ArrayLike, spacing: Sequence[float]) -> np.ndarray:
    """Length of each mask's contour in mm, sub-pixel and smooth: (..., H, W) -> (...) float64, nan where it is empty.

    A mask that reaches the image's border is closed along it.

    Args:
        masks: above 0.5 inside.
        spacing: (row mm, column mm).

    Raises:
        ValueError: when ``masks`` are no images, or ``spacing`` is not two positive numbers.
    """
    inside, (row, column) = check_masks(masks, spacing)
    lengths = [_length(mask, np.array([column, row])) for mask in inside.reshape(-1, *inside.shape[-2:])]
    return np.array(lengths).reshape(inside.shape[:-2])


def circumferential_strain(lengths: ArrayLike, ed: int) -> np.ndarray:
    """Strain of the slices' contours together, from end-diastole to each frame: (S, T) mm -> (T,) in %.

    Negative where the contours shorten, as in systole; nan where a slice that has a contour at end-diastole has none.

    Args:
        lengths: from :func:`contour_lengths`; slices without contour at ``ed`` are left out.
        ed: the end-diastolic frame.

    Raises:
        ValueError: when ``lengths`` are no curves, or there is no such frame.
    """
    curves = np.asarray(lengths, float)
    if curves.ndim != 2 or not 0 <= ed < curves.shape[1]:
        raise ValueError(f"expected lengths (slices, frames) and one of the frames, got {curves.shape} and {ed}")
    known = curves[curves[:, ed] > 0]
    if not len(known):
        return np.full(curves.shape[1], np.nan)
    return 100 * (known.sum(0) / known[:, ed].sum() - 1)


def _length(mask: np.ndarray, spacing: np.ndarray) -> float:
    if not mask.any():
        return np.nan
    window = tuple(slice(first, last + 1) for first, last in bounds(mask))
    smooth = gaussian_filter(np.pad(mask[window].astype(np.float32), BEYOND), SMOOTHING)
    if smooth.max() <= 0.5:  # of a few pixels nothing is left: the box around them
        return 2 * float(mask[window].shape @ spacing[::-1])
    rings: Any = contour_generator(z=smooth).lines(0.5)
    return float(sum(np.hypot(*(np.diff(ring, axis=0) * spacing).T).sum() for ring in rings))
