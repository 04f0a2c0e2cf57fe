"""End-diastole and end-systole, and slices that are part of the ventricle at one of the two alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

__all__ = ["Phases", "shares"]


@dataclass(frozen=True)
class Phases:
    """What a reader says of the phases; the program finds what is left open.

    Attributes:
        ed, es: end-diastolic and end-systolic frame, from 0; by default those of the largest and smallest volume.
        left_out_ed, left_out_es: numbers of the slices that are no part of the ventricle at end-diastole, or at
            end-systole, such as a basal slice whose plane the ventricle has left.
    """

    ed: int | None = None
    es: int | None = None
    left_out_ed: frozenset[int] = frozenset()
    left_out_es: frozenset[int] = frozenset()

    def check(self, slices: int, frames: int) -> None:
        """
        Raises:
            InputError: when a frame or slice is none of the cine's, or both phases are one frame.
        """
        for name, frame in (("ED", self.ed), ("ES", self.es)):
            if frame is not None and not 0 <= frame < frames:
                raise InputError(f"{name} must be a frame of 0 to {frames - 1}, got {frame}")
        if self.ed is not None and self.ed == self.es:
            raise InputError(f"ED and ES are both frame {self.ed}")
        for number in sorted(self.left_out_ed | self.left_out_es):
            if not 0 <= number < slices:
                raise InputError(f"a slice that is left out must be 0 to {slices - 1}, got {number}")


def shares(phases: Phases, ed: int, es: int, slices: int, frames: int) -> np.ndarray:
    """How much of each slice counts on each frame: (S, T), 0 to 1.

    All of it, except of slices that are left out at one phase: none of it there, and linearly more in time until all
    of it counts at the other phase. So the volume has no step, and is at both phases that of the slices in it.

    Args:
        phases: says which are left out.
        ed, es: the frames of the phases, different.
        slices, frames: how many there are.
    """
    parts = np.ones((slices, frames))
    times = np.arange(frames)
    forth = (times - ed) % frames / ((es - ed) % frames)
    back = (times - es) % frames / ((ed - es) % frames)
    to_es = np.where(forth <= 1, forth, 1 - back)  # 0 at end-diastole, 1 at end-systole
    for left_out, share in ((phases.left_out_ed, to_es), (phases.left_out_es, 1 - to_es)):
        for number in left_out:
            parts[number] *= share
    for number in phases.left_out_ed & phases.left_out_es:
        parts[number] = 0
    return parts
