"""The 16 segments of the left ventricle on short-axis slices.

Slices are basal, mid or apical by thirds of the ventricle's length. On a slice the segments begin at the anterior
insertion of the right ventricle and go on through the septum: six of 60° each on basal and mid slices, four of 90° on
apical ones, of which the septal one lies in the middle of the basal septum (Cerqueira et al., "Standardized myocardial
segmentation and nomenclature for tomographic imaging of the heart", Circulation 2002). The 17th, the apex itself, is
beyond short-axis slices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt

__all__ = ["LEVELS", "NAMES", "Reference", "from_base", "given_reference", "levels_of", "rv_reference", "segments_at"]

LEVELS = ("basal", "mid", "apical")
RING = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
NAMES = (
    *(f"{level} {wall}" for level in LEVELS[:2] for wall in RING),
    *(f"apical {wall}" for wall in ("anterior", "septal", "inferior", "lateral")),
)
"""Of the segments 1 to 16."""

FEWEST_SLICES = 3
LEAST_TREND = 0.3  # correlation of a slice's area with its place, below which base and apex can't be told apart
TOUCHING = 3.0  # mm further than the nearest pixel of the right ventricle: those touch the left one
FARTHEST = 15.0  # mm that the nearest one may be away
LEAST_RISE = 0.2  # of the distance between the insertions: how much higher one must lie to be the anterior one

Reference = tuple[float, float]
"""Direction of the anterior insertion from the lumen's centroid, in radians from the axis of x (columns) towards y
(rows), and which way the septum lies: 1 towards greater angles, -1 towards lesser."""


def from_base(areas: ArrayLike, positions: ArrayLike, base_first: bool | None = None) -> np.ndarray | None:
    """Numbers of the slices that have an area, from base to apex; None where these can't be told apart.

    Arguments as of :func:`levels_of`.
    """
    area, along = np.asarray(areas, float), np.asarray(positions, float)
    there = np.flatnonzero(np.isfinite(area) & (area > 0))
    if base_first is None:
        if len(there) < FEWEST_SLICES or np.std(area[there]) == 0:
            return None
        trend = np.corrcoef(along[there], area[there])[0, 1]
        if not abs(trend) >= LEAST_TREND:
            return None
        base_first = bool(trend < 0)
    return there[np.argsort(along[there] if base_first else -along[there])]


def levels_of(areas: ArrayLike, positions: ArrayLike, base_first: bool | None = None) -> np.ndarray | None:
    """Of each slice 0 (basal), 1 (mid) or 2 (apical), by thirds of the length from the first to the last slice that has
    an area: (S,) int, -1 of slices without. None of fewer than three slices, and where base and apex can't be told
    apart.

    Each slice reaches halfway to the next.

    Args:
        areas: (S,) of the left ventricle at end-diastole, best within the epicardium; nan where there is none.
        positions: (S,) of the slices along their normal in mm.
        base_first: whether the base has the least position, see :func:`transforms.slice_order.base_is_first`; where
            that is None, the base is where the areas are larger.
    """
    along, order = np.asarray(positions, float), from_base(areas, positions, base_first)
    if order is None or len(order) < FEWEST_SLICES:
        return None
    depth = np.abs(along[order] - along[order[0]])
    gaps = np.diff(depth)
    start, end = -gaps[0] / 2, depth[-1] + gaps[-1] / 2
    levels = np.full(len(along), -1)
    levels[order] = np.clip((3 * (depth - start) / (end - start) + 1e-9).astype(int), 0, 2)
    return levels


def rv_reference(
    rv: np.ndarray, outer: np.ndarray, centre: np.ndarray, spacing: Sequence[float], grid: sitk.Image
) -> Reference | None:
    """The anterior insertion by a right ventricle's mask: of the two ends of where it touches the left one, the one
    that lies higher in the patient. None where there is no right ventricle, it is not beside the left one, or neither
    end is clearly the higher.

    Args:
        rv: mask (H, W) of the right ventricle.
        outer: mask (H, W) of the left one, best within the epicardium.
        centre: of the left ventricle's lumen, (x, y) in mm.
        spacing: (row mm, column mm).
        grid: the slice's place in the patient.
    """
    row, column = spacing
    if not (rv.any() and outer.any()):
        return None
    distance = np.asarray(distance_transform_edt(~np.asarray(outer, bool), sampling=(row, column)))
    away = distance[rv]
    if away.min() > FARTHEST:
        return None
    points = np.argwhere(rv & (distance <= away.min() + TOUCHING))[:, ::-1] * (column, row) - centre
    angles = np.sort(np.arctan2(points[:, 1], points[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    widest = int(gaps.argmax())  # the free wall of the left ventricle; the septum is the rest
    if gaps[widest] < np.pi / 2:
        return None
    end, start = angles[widest], angles[(widest + 1) % len(angles)]  # the septum goes from start up to end
    up = _upwards(grid)
    first, second = (float(np.dot(up, (np.cos(angle), np.sin(angle)))) for angle in (start, end))
    apart = 2 * abs(np.sin((end - start) / 2))
    if abs(first - second) < LEAST_RISE * apart:
        return None
    return (float(start), 1.0) if first > second else (float(end), -1.0)


def given_reference(
    anterior: ArrayLike, inferior: ArrayLike, centre: np.ndarray, spacing: Sequence[float]
) -> Reference:
    """The anterior insertion by the two insertions that a reader gives, (x, y) in pixels; the septum is the shorter way
    from one to the other around the lumen's centroid, ``centre``, (x, y) in mm."""
    row, column = spacing
    places = [np.asarray(point, float) * (column, row) - centre for point in (anterior, inferior)]
    first, second = (float(np.arctan2(y, x)) for x, y in places)
    turn = (second - first + np.pi) % (2 * np.pi) - np.pi
    return first, 1.0 if turn > 0 else -1.0


def segments_at(level: int, angles: np.ndarray, reference: Reference) -> np.ndarray:
    """Of directions on a slice, (N,) as in ``reference``, the segments 0 to 15 that they lie in."""
    start, way = reference
    onwards = np.degrees(way * (angles - start)) % 360  # from the anterior insertion through the septum
    if level < 2:
        return 6 * level + (onwards // 60 + 1).astype(int) % 6
    return 12 + (((onwards - 15) % 360) // 90 + 1).astype(int) % 4


def _upwards(grid: sitk.Image) -> tuple[float, float]:
    """How much higher in the patient, towards the head, a step along the image's x and y leads."""
    direction = np.reshape(grid.GetDirection(), (3, 3))
    return float(direction[2, 0]), float(direction[2, 1])
