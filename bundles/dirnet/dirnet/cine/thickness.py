"""Thickness of the left ventricle's wall between its two contours on one slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

__all__ = ["centre_of", "wall_thickness"]

Ring = np.ndarray  # (N, 2) of x and y
STEP = 0.25  # mm between the points of a contour, to which distances are measured


def centre_of(rings: Sequence[Ring], spacing: Sequence[float]) -> np.ndarray | None:
    """Centroid (x, y) in mm of what the largest of some rings, in pixels, encloses; None where there is none.

    Args:
        rings: (N, 2) of x, y in pixels each, as :meth:`dirnet.propagation.Propagation.contours` has them.
        spacing: (row mm, column mm).
    """
    ring = _largest(rings, spacing)
    return None if ring is None else _centroid(ring)[0]


def wall_thickness(
    lumen: Sequence[Ring], epicardium: Sequence[Ring], spacing: Sequence[float], angles: np.ndarray
) -> np.ndarray:
    """Thickness in mm in some directions from the lumen's centroid, (N,); nan where there is no wall.

    In each direction it is the distance to both contours from the point midway between them: across the wall, as by
    the centreline method, and not along the ray, which makes an oblique wall too thick.

    Args:
        lumen, epicardium: rings (N, 2) of x, y in pixels; of several the largest counts.
        spacing: (row mm, column mm).
        angles: (N,) in radians, from the axis of x (columns) towards that of y (rows).
    """
    inner, outer = _largest(lumen, spacing), _largest(epicardium, spacing)
    unknown = np.full(len(angles), np.nan)
    if inner is None or outer is None:
        return unknown
    centre = _centroid(inner)[0]
    if not (_encloses(inner, centre) and _encloses(outer, centre)):
        return unknown
    contours = [_dense(ring) for ring in (inner, outer)]
    middle = np.mean([_radii(points - centre, angles) for points in contours], 0)
    places = centre + middle[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.sum([KDTree(points).query(places)[0] for points in contours], 0)


def _largest(rings: Sequence[Ring], spacing: Sequence[float]) -> Ring | None:
    """Of some rings in pixels the one that encloses most, in mm."""
    row, column = spacing
    known = [np.asarray(ring, float) * (column, row) for ring in rings if len(ring) > 2]
    return max(known, key=lambda ring: _centroid(ring)[1], default=None)


def _centroid(ring: Ring) -> tuple[np.ndarray, float]:
    """Of what a ring encloses, and its area."""
    following = np.roll(ring, -1, 0)
    cross = ring[:, 0] * following[:, 1] - following[:, 0] * ring[:, 1]
    area = cross.sum() / 2
    if not area:
        return ring.mean(0), 0.0
    return ((ring + following) * cross[:, None]).sum(0) / (6 * area), abs(area)


def _encloses(ring: Ring, point: np.ndarray) -> bool:
    """Whether a ring goes round a point once."""
    angles = np.arctan2(*(ring - point).T[::-1])
    turned = np.diff(np.append(angles, angles[0]))
    return abs(((turned + np.pi) % (2 * np.pi) - np.pi).sum()) > np.pi


def _dense(ring: Ring) -> np.ndarray:
    """Points along a ring, every :data:`STEP`."""
    closed = np.vstack([ring, ring[:1]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    places = np.linspace(0, along[-1], max(3, int(along[-1] / STEP)), endpoint=False)
    return np.stack([np.interp(places, along, values) for values in closed.T], 1)


def _radii(points: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """How far points around the origin lie from it, in some directions."""
    directions = np.arctan2(points[:, 1], points[:, 0])
    order = np.argsort(directions)
    return np.interp(angles, directions[order], np.hypot(*points.T)[order], period=2 * np.pi)
