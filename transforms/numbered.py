"""Slices and frames by their numbers, as sentences name them."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["numbered"]


def numbered(what: str, numbers: Sequence[int]) -> str:
    """ "slice 3", or "slices 1, 2"; :meth:`dirnet.cine.counting.Counting.said` finds these again."""
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
