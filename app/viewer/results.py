"""What was followed lately: in memory while there is room, else followed once more from its drawing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dirnet.cine.follow import Followed

__all__ = ["Results", "UnknownResultError"]

DRAWINGS = 200  # remembered; one of many points takes a megabyte
BYTES = 2**29  # of results in memory; the latest is kept whatever its size


class UnknownResultError(LookupError):
    """There is no such result any more."""


@dataclass
class _Entry:
    cine: str
    stamp: Any
    drawing: Any
    followed: Followed | None


class Results:
    """Followed contours, by number. Several threads may share one."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # the latest used last
        self._count = 0
        self._lock = threading.Lock()

    def keep(self, cine: str, stamp: Any, drawing: Any, followed: Followed) -> int:
        """
        Args:
            cine: its id.
            stamp: of the cine's files as they were followed.
            drawing: from which it can be followed once more.
            followed: what came of it.

        Returns:
            the result's number.
        """
        with self._lock:
            self._count += 1
            self._entries[self._count] = _Entry(cine, stamp, drawing, followed)
            while len(self._entries) > DRAWINGS:
                self._entries.popitem(last=False)
            self._make_room()
            return self._count

    def get(self, cine: str, number: int, stamp: Any, follow: Callable[[Any], Followed]) -> Followed:
        """
        Args:
            cine: its id.
            number: see :meth:`keep`.
            stamp: of the cine's files as they are now.
            follow: makes the result of a drawing.

        Raises:
            UnknownResultError: when this cine has no such result, it is too long ago, or the cine has changed since.
        """
        with self._lock:
            entry = self._entry(cine, number, stamp)
            if entry is None:
                raise UnknownResultError("this result is no longer kept: propagate again")
            self._entries.move_to_end(number)
            followed = entry.followed
        if followed is None:
            followed = follow(entry.drawing)
            with self._lock:
                entry.followed = followed
                self._make_room()
        return followed

    def kept(self, cine: str, number: int, stamp: Any) -> Followed | None:
        """:meth:`get` of what is still in memory; None of all else."""
        with self._lock:
            entry = self._entry(cine, number, stamp)
            return None if entry is None else entry.followed

    def _entry(self, cine: str, number: int, stamp: Any) -> _Entry | None:
        entry = self._entries.get(number)
        return None if entry is None or entry.cine != cine or entry.stamp != stamp else entry

    def _make_room(self) -> None:
        used = 0
        for place, entry in enumerate(reversed(self._entries.values())):
            if entry.followed is not None:
                used += _size(entry.followed)
                if place and used > BYTES:
                    entry.followed = None


def _size(followed: Followed) -> int:
    """In bytes; with the cine, which several results may share."""
    slices = followed.slices.values()
    fields = sum(part.registered.nbytes for part in slices)
    levels = sum(array.nbytes for part in slices for array in (*part.structures.values(), *part.levels.values()))
    masks = sum(array.nbytes for array in followed.structures.values())
    return fields + levels + masks + followed.cine.images.nbytes
