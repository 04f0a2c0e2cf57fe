"""Who drew a contour, where that was not the reader alone: kept with a session, beside saved masks, and among the
warnings of what is followed from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["ACCEPTED", "MENDED", "UNSEEN", "Authors", "notes", "parse_authors"]

Authors = Mapping[str, Mapping[int, Mapping[int, str]]]
"""One of the three below, by structure, slice and frame; nothing of what the reader drew alone."""

UNSEEN = "network, not looked at"
ACCEPTED = "network"
MENDED = "network, mended"
SAID = {
    UNSEEN: "contours were drawn by a network, and nobody has looked at them: mend them where they are wrong",
    ACCEPTED: "contours were drawn by a network and accepted by the reader",
    MENDED: "contours were drawn by a network and mended by the reader",
}


def notes(authors: Authors) -> list[str]:
    """What is to be known of the contours that a network drew, a line for each way in which they were looked at."""
    found = []
    for author, text in SAID.items():
        numbers = sorted({number for number, one in _each(authors) if one == author})
        if numbers:
            found.append(f"slice{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {text}")
    return found


def parse_authors(found: Any, shape: tuple[int, int]) -> dict[str, dict[int, dict[int, str]]]:
    """Of what JSON has in place of :data:`Authors`.

    Args:
        found: with text for numbers.
        shape: slices and frames that there are.

    Raises:
        ValueError, TypeError, AttributeError: when it is something else.
    """
    authors = {
        str(structure): {
            int(number): {int(frame): str(author) for frame, author in frames.items()}
            for number, frames in slices.items()
        }
        for structure, slices in found.items()
    }
    for slices in authors.values():
        for number, frames in slices.items():
            for frame, author in frames.items():
                if not (0 <= number < shape[0] and 0 <= frame < shape[1]):
                    raise ValueError(f"slice {number}, frame {frame} is not of the cine")
                if author not in SAID:
                    raise ValueError(f"by must be one of {', '.join(map(repr, SAID))}; got {author!r}")
    return authors


def _each(authors: Authors) -> Iterator[tuple[int, str]]:
    for slices in authors.values():
        for number, frames in slices.items():
            for author in frames.values():
                yield number, author
