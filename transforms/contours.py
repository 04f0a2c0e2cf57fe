"""Closed contours and the masks that they enclose.

A contour is a list of rings (N, 2) of (x, y) in pixels, whole numbers being pixel centres. A ring within another is a
hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from contourpy import contour_generator
from matplotlib.path import Path as Polygon
from numpy.typing import ArrayLike

__all__ = ["enclosed", "keyholes", "outline"]

CLEARANCE = 0.02  # px, from the cut of a keyhole to any pixel centre: one on it is neither inside nor outside


def enclosed(rings: Iterable[ArrayLike], size: Sequence[int]) -> np.ndarray:
    """The pixels whose centre lies inside: bool (H, W)."""
    mask = np.zeros(size, bool)
    for ring in rings:
        points = np.asarray(ring, float)
        (left, top), (right, bottom) = np.clip([points.min(0), points.max(0) + 1], 0, (size[1], size[0])).astype(int)
        row, column = np.mgrid[top:bottom, left:right]  # those that may be inside: there are many rings in a cine
        inside = Polygon(points).contains_points(np.stack([column.ravel(), row.ravel()], 1))
        mask[top:bottom, left:right] ^= inside.reshape(row.shape)
    return mask


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """A smooth contour that encloses the pixels of a mask (H, W), those and no other; without pixels no ring."""
    lines = contour_generator(z=np.pad(mask.astype(float), 1)).lines(0.5)
    return [_smooth(np.asarray(line)[:-1]) - 1 for line in lines]


def keyholes(rings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rings that enclose the same without any within another: a hole is joined to the ring around it by a cut of no
    width, there and back ("keyhole technique", PS3.3 C.8.8.6.3).

    Args:
        rings: (N, 2) each, which do not cross.
    """
    around = [[n for n, outer in enumerate(rings) if n != m and _within(ring, outer)] for m, ring in enumerate(rings)]
    holes: dict[int, list[np.ndarray]] = {n: [] for n, outers in enumerate(around) if len(outers) % 2 == 0}
    for ring, outers in zip(rings, around, strict=True):
        if len(outers) % 2:
            holes[max(outers, key=lambda n: len(around[n]))].append(ring)
    return [_joined(rings[n], inner) for n, inner in holes.items()]


def _within(ring: np.ndarray, outer: np.ndarray) -> bool:
    return bool(Polygon(outer).contains_point(ring[0]))


def _joined(ring: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """A ring with its holes, the nearest first, so that no cut crosses a hole that is not joined yet."""
    while holes:
        distances = [np.hypot(*(ring[:, None] - hole).transpose(2, 0, 1)) for hole in holes]
        nearest = min(range(len(holes)), key=lambda n: distances[n].min())
        hole, apart = holes[nearest], distances[nearest]
        holes = holes[:nearest] + holes[nearest + 1 :]
        cuts = [divmod(int(pair), len(hole)) for pair in apart.argsort(axis=None)[:50]]
        start, end = next((cut for cut in cuts if _clear(ring[cut[0]], hole[cut[1]])), cuts[0])
        there = np.roll(hole, -end, 0)
        ring = np.concatenate([ring[: start + 1], there, there[:1], ring[start:]])
    return ring


def _clear(start: np.ndarray, end: np.ndarray) -> bool:
    """Whether a cut passes all pixel centres at a distance."""
    (left, top), (right, bottom) = (np.floor(np.minimum(start, end)), np.ceil(np.maximum(start, end)))
    centres = np.stack(np.meshgrid(np.arange(left, right + 1), np.arange(top, bottom + 1)), -1).reshape(-1, 2)
    along = np.clip((centres - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)[:, None]
    return bool((np.hypot(*(centres - start - along * (end - start)).T) > CLEARANCE).all())


def _smooth(ring: np.ndarray, steps: int = 40) -> np.ndarray:
    """Each point lies halfway between a pixel inside and one outside, and may slide between these two alone, so that
    no pixel changes sides (Gibson, "Constrained elastic surface nets", MICCAI 1998)."""
    slides = ring % 1 == 0.5
    smooth = ring
    for _ in range(steps):
        middle = (np.roll(smooth, 1, 0) + np.roll(smooth, -1, 0)) / 2
        smooth = np.where(slides, np.clip(middle, ring - 0.45, ring + 0.45), ring)
    return smooth
