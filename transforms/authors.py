"""Who drew a contour, where that was not the reader alone: kept with a session, beside saved masks, and among the
warnings of what is followed from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from .numbered import numbered

__all__ = [
    "ACCEPTED",
    "MENDED",
    "UNSEEN",
    "Author",
    "Authors",
    "as_authors",
    "author_of",
    "entries",
    "notes",
    "parse_authors",
]

Authors = Mapping[str, Mapping[int, Mapping[int, str]]]
"""An :data:`Author` by structure, slice and frame; nothing of what the reader drew alone."""

Author = Literal["network, not looked at", "network", "network, mended"]
UNSEEN, ACCEPTED, MENDED = get_args(Author)
SAID = {
    UNSEEN: "contours were drawn by a network, and nobody has looked at them: mend them where they are wrong",
    ACCEPTED: "contours were drawn by a network and accepted by the reader",
    MENDED: "contours were drawn by a network and mended by the reader",
}


def as_authors(found: Iterable[tuple[str, int, int, str]]) -> dict[str, dict[int, dict[int, str]]]:
    """Of structures, slices, frames and who drew there; of one place the last holds."""
    authors: dict[str, dict[int, dict[int, str]]] = {}
    for structure, number, frame, author in found:
        authors.setdefault(structure, {}).setdefault(number, {})[frame] = author
    return authors


def entries(authors: Authors) -> Iterator[tuple[str, int, int, str]]:
    """What :func:`as_authors` makes them of."""
    for structure, slices in authors.items():
        for number, frames in slices.items():
            for frame, author in frames.items():
                yield structure, number, frame, author


def author_of(authors: Authors, structure: str, number: int, frame: int) -> str | None:
    """Who drew there; None where the reader did, or nobody."""
    return authors.get(structure, {}).get(number, {}).get(frame)


def notes(authors: Authors) -> list[str]:
    """What is to be known of the contours that a network drew, a line for each way in which they were looked at."""
    found = []
    for author, text in SAID.items():
        numbers = sorted({number for _, number, _, one in entries(authors) if one == author})
        if numbers:
            found.append(f"{numbered('slice', numbers)}: {text}")
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
    for _, number, frame, author in entries(authors):
        if not (0 <= number < shape[0] and 0 <= frame < shape[1]):
            raise ValueError(f"slice {number}, frame {frame} is not of the cine")
        if author not in SAID:
            raise ValueError(f"by must be one of {', '.join(map(repr, SAID))}; got {author!r}")
    return authors
