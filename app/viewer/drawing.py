"""What a reader has drawn and said of a cine, in the form in which the page sends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat

from dirnet.cine.phases import Phases
from dirnet.errors import InputError
from transforms.authors import Author, Authors, as_authors, author_of
from transforms.cine_files import CineStack
from transforms.contours import enclosed, outline

__all__ = ["Contour", "Drawing", "contours_of"]

Structure = Literal["lumen", "epicardium", "rv"]
Point = tuple[FiniteFloat, FiniteFloat]
Ring = Annotated[list[Point], Field(min_length=3, max_length=10_000)]
PAPILLARY = {
    "included": "papillary muscles are counted in the lumen, as the reader says",
    "excluded": "papillary muscles are not counted in the lumen, as the reader says",
}


class Contour(BaseModel):
    """A structure on one frame of one slice.

    Attributes:
        structure, slice, frame: which, from 0.
        rings: that enclose it, (x, y) in pixels, in the form of :mod:`transforms.contours`.
        points: by which it was drawn, if it was: the ring is a smooth curve through them.
        by: who drew it, where that was not the reader alone; see :mod:`transforms.authors`.
    """

    structure: Structure
    slice: int
    frame: int
    rings: Annotated[list[Ring], Field(min_length=1)]
    points: Ring | None = None
    by: Author | None = None


class Drawing(BaseModel):
    """All contours of a cine, and what a reader says of it; see :class:`dirnet.cine.phases.Phases`."""

    contours: list[Contour]
    ed: int | None = None
    es: int | None = None
    left_out_ed: list[int] = []
    left_out_es: list[int] = []
    papillary: Literal["included", "excluded"] | None = None

    @property
    def phases(self) -> Phases:
        return Phases(self.ed, self.es, frozenset(self.left_out_ed), frozenset(self.left_out_es))

    @property
    def authors(self) -> Authors:
        return as_authors((one.structure, one.slice, one.frame, one.by) for one in self.contours if one.by is not None)

    @property
    def notes(self) -> list[str]:
        """What else is to be known of the drawing, beside the numbers."""
        return [] if self.papillary is None else [PAPILLARY[self.papillary]]

    def masks(self, cine: CineStack) -> dict[str, np.ndarray]:
        """By structure, (S, T, H, W) bool.

        Raises:
            InputError: when there is no such slice or frame, a contour is there twice, encloses nothing or leaves the
                image.
        """
        slices, _, height, width = cine.images.shape
        found: dict[str, np.ndarray] = {}
        for one in self.contours:
            cine.check_frame(one.frame)
            if not 0 <= one.slice < slices:
                raise InputError(f"slice must be 0 to {slices - 1}, got {one.slice}")
            where = f"slice {one.slice}, frame {one.frame}: the contour of the {one.structure}"
            points = np.concatenate([np.array(ring) for ring in one.rings])
            if (points < -0.5).any() or (points > (width - 0.5, height - 0.5)).any():
                raise InputError(f"{where} leaves the image")
            mask = enclosed(one.rings, (height, width))
            if not mask.any():
                raise InputError(f"{where} encloses no pixel")
            masks = found.setdefault(one.structure, np.zeros(cine.images.shape, bool))
            if masks[one.slice, one.frame].any():
                raise InputError(f"{where} is there twice")
            masks[one.slice, one.frame] = mask
        return found


def contours_of(drawn: Mapping[str, np.ndarray], authors: Authors | None = None) -> list[dict[str, Any]]:
    """What is in masks (S, T, H, W) by structure, in the form of :class:`Contour`, and encloses the same pixels."""
    authors = authors or {}
    contours = []
    for name, masks in drawn.items():
        for number, frame, rings in _outlines(masks):
            contour = {"structure": name, "slice": number, "frame": frame, "rings": rings}
            by = author_of(authors, name, number, frame)
            contours.append(contour if by is None else contour | {"by": by})
    return contours


def _outlines(masks: np.ndarray) -> Iterator[tuple[int, int, list[list[list[float]]]]]:
    for number, frame in np.argwhere(masks.any((2, 3))).tolist():
        yield number, frame, [ring.round(3).tolist() for ring in outline(masks[number, frame])]
