"""How slices and frames are counted for readers: from 1, slices from the base on where that is known.

The viewer's page and the report count so. Files, tables and the command line count from 0, as the cine is stored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transforms.cine_files import CineStack
from transforms.slice_order import base_is_first

__all__ = ["Counting"]

NUMBERED = re.compile(r"\b(slice|frame)(s?) (\d+(?:, \d+)*)\b")


@dataclass(frozen=True)
class Counting:
    """
    Attributes:
        slices: how many there are.
        base_first: whether stored slice 0 is the base's end; None where that is unknown: they are then counted as they
            are stored.
    """

    slices: int
    base_first: bool | None

    @classmethod
    def of(cls, cine: CineStack) -> Counting:
        """That of a cine, by where its slices lie."""
        return cls(len(cine.images), base_is_first(cine))

    def slice(self, stored: int) -> int:
        """The reader's number of a stored slice."""
        return self.slices - stored if self.base_first is False else stored + 1

    def frame(self, stored: int) -> int:
        """The reader's number of a stored frame."""
        return stored + 1

    def all_slices(self, stored: Sequence[int]) -> list[int]:
        """The reader's numbers of stored slices, in order."""
        return sorted(map(self.slice, stored))

    def said(self, text: str) -> str:
        """A sentence in the reader's numbers: those after "slice", "slices", "frame" and "frames"."""

        def counted(found: re.Match[str]) -> str:
            count = self.slice if found[1] == "slice" else self.frame
            numbers = sorted(count(int(number)) for number in found[3].split(", "))
            return f"{found[1]}{found[2]} {', '.join(map(str, numbers))}"

        return NUMBERED.sub(counted, text)
