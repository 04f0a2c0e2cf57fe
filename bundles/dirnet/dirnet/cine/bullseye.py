"""The 16 segments as a bull's eye: basal slices outside, anterior above, septum on the left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Field", "bullseye"]

RADII = (100.0, 70.0, 40.0)  # outer ones of the three rings, from the base; of the hole in the middle
HOLE = 12.0
LIGHT, DARK = (0xF4, 0xF7, 0xFA), (0x1F, 0x5A, 0x8C)


@dataclass(frozen=True)
class Field:
    """A segment as it is drawn, around the origin, y downwards.

    Attributes:
        path: its outline, of an SVG path.
        x, y: where its value is written.
        fill: colour, by its value.
        ink: colour of the writing.
    """

    path: str
    x: float
    y: float
    fill: str
    ink: str


def bullseye(values: Sequence[float | None], low: float, high: float) -> list[Field]:
    """The segments 1 to 16, coloured from light at ``low`` to dark at ``high``; white where the value is None."""
    fields = []
    for number, value in enumerate(values):
        ring, first, width = _place(number)
        outer, inner = RADII[ring], RADII[ring + 1] if ring < 2 else HOLE
        corners = [_point(r, a) for r, a in ((outer, first), (outer, first + width))]
        corners += [_point(r, a) for r, a in ((inner, first + width), (inner, first))]
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        path = (
            f"M{x0:.2f} {y0:.2f}A{outer:g} {outer:g} 0 0 0 {x1:.2f} {y1:.2f}"
            f"L{x2:.2f} {y2:.2f}A{inner:g} {inner:g} 0 0 1 {x3:.2f} {y3:.2f}Z"
        )
        x, y = _point((outer + inner) / 2, first + width / 2)
        share = 0.0 if value is None or high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
        colour = [round(a + share * (b - a)) for a, b in zip(LIGHT, DARK, strict=True)]
        fill = "#fff" if value is None else f"rgb({colour[0]},{colour[1]},{colour[2]})"
        fields.append(Field(path, round(x, 2), round(y, 2), fill, "#fff" if share > 0.55 else "#222"))
    return fields


def _place(number: int) -> tuple[int, float, float]:
    """Ring from the base, first angle and width in degrees, counterclockwise from the right."""
    if number < 12:
        return number // 6, 60.0 + 60 * (number % 6), 60.0
    return 2, 45.0 + 90 * (number - 12), 90.0


def _point(radius: float, degrees: float) -> tuple[float, float]:
    return radius * math.cos(math.radians(degrees)), -radius * math.sin(math.radians(degrees))
