"""Which end of a stack of short-axis slices is the base of the heart."""

from __future__ import annotations

import numpy as np

from .cine_files import CineStack

__all__ = ["base_is_first"]

# From base to apex, left, forwards and down in the patient (LPS): the usual heart. LEAST is how much along that a stack
# must go for its ends to be told apart: the axes of hearts differ by 30 degrees and more.
APEX = np.array([1.0, -1.0, -1.0]) / np.sqrt(3)
LEAST = 0.5


def base_is_first(cine: CineStack) -> bool | None:
    """Whether slice 0 is the base's end, by where the slices lie in the patient.

    None where that is unknown: of one slice, of slices without a place, and of a stack that goes along no heart's axis.
    """
    if len(cine.grids) < 2 or not cine.placed:
        return None
    step = np.subtract(cine.grids[-1].GetOrigin(), cine.grids[0].GetOrigin())
    length = float(np.linalg.norm(step))
    along = float(step @ APEX) / length if length else 0.0
    return along > 0 if abs(along) >= LEAST else None
