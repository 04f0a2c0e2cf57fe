"""Areas of a followed contour, the ventricle's volume by discs, and what follows from its curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from transforms.dicom_series import usual_gap

if TYPE_CHECKING:
    from transforms.cine_files import CineStack

__all__ = [
    "VentricularFunction",
    "VolumeCurve",
    "areas",
    "check_masks",
    "check_spacing",
    "cine_volume",
    "ventricular_function",
    "volume_curve",
]


@dataclass(frozen=True, eq=False)
class VolumeCurve:
    """Volume over the cycle.

    Attributes:
        ml: (T,) float64; nan on a frame where a slice that counts has no area.
        counted: slices that make up the volume: those with an area on some frame.
        slices: all slices that were given.
    """

    ml: np.ndarray
    counted: int
    slices: int


@dataclass(frozen=True)
class VentricularFunction:
    """What the volume curve says of the ventricle; nan, and None for a frame, where there is nothing to measure.

    Attributes:
        ed, es: end-diastolic and end-systolic frame, from 0.
        edv, esv: end-diastolic and end-systolic volume in ml.
        stroke_volume: edv − esv in ml.
        ejection_fraction: stroke volume as a percentage of edv.
        missing: frames without a volume; where there are any, the true ED or ES may be one of them.
    """

    ed: int | None
    es: int | None
    edv: float
    esv: float
    stroke_volume: float
    ejection_fraction: float
    missing: int


def areas(masks: ArrayLike, spacing: Sequence[float]) -> np.ndarray:
    """Area of each mask in mm², pixels times pixel size: (..., H, W) -> (...) float64, nan where a mask is empty.

    An empty mask may mean that nothing was drawn or that the lumen has closed, as near the apex at end-systole; who
    knows that it is the latter sets the area to 0.

    Args:
        masks: above 0.5 inside.
        spacing: (row mm, column mm).

    Raises:
        ValueError: when ``masks`` are no images, or ``spacing`` is not two positive numbers.
    """
    inside, (row, column) = check_masks(masks, spacing)
    pixels = inside.sum((-2, -1)).astype(float)
    return np.where(pixels > 0, pixels, np.nan) * (row * column)


def volume_curve(
    areas: ArrayLike, *, positions: Sequence[float] | None = None, distance: float | None = None
) -> VolumeCurve:
    """Volume on each frame by discs: the sum over slices of area times the height that the slice stands for.

    The usual summation of discs (Schulz-Menger et al., "Standardized image interpretation and post-processing in
    cardiovascular magnetic resonance - 2020 update", JCMR 2020). Each slice stands for the tissue up to halfway to
    the next, and an end slice for as much outwards as half the usual distance between slices (their median, of two in
    the middle the smaller): with equally spaced slices each counts in full, area times distance, the first and the
    last too.

    A slice without area on any frame is not counted: nothing was drawn there, and the ventricle is taken to end
    before it. Between two that are counted, it is bridged by them. A slice with an area on some frames makes the
    volume nan on the others, for a sum over other slices would be another volume.

    Args:
        areas: (S, T) in mm², nan where there is none, as from :func:`areas`.
        positions: of the S slices along their normal in mm, in any order.
        distance: instead of ``positions``, between neighbouring slices in mm, which are then in order.

    Raises:
        ValueError: when not exactly one of ``positions`` and ``distance`` is given; when positions are not S different
            numbers, or are those of a single slice, which has no height; when ``distance`` or an area is impossible.
    """
    curves = np.asarray(areas, float)
    if curves.ndim != 2 or 0 in curves.shape:
        raise ValueError(f"expected areas (slices, frames), got an array of {curves.shape}")
    if (curves < 0).any() or np.isinf(curves).any():
        raise ValueError("areas must be 0 or more, or nan where there is none")
    places, usual = _places(len(curves), positions, distance)
    drawn = ~np.isnan(curves).all(1)
    if not drawn.any():
        return VolumeCurve(np.full(curves.shape[1], np.nan), 0, len(curves))
    order = np.flatnonzero(drawn)[np.argsort(places[drawn])]
    along = places[order]
    borders = np.concatenate([[along[0] - usual / 2], (along[1:] + along[:-1]) / 2, [along[-1] + usual / 2]])
    return VolumeCurve(np.diff(borders) @ curves[order] / 1000, len(order), len(curves))


def cine_volume(areas: ArrayLike, cine: CineStack) -> VolumeCurve | None:
    """:func:`volume_curve` of areas (S, T) on a cine's slices, each with the height that its place gives it; None of
    one slice and of a long-axis view, and where the distance between slices is unknown."""
    if cine.distance is None or cine.one_plane:
        return None
    if cine.positions is None:
        return volume_curve(areas, distance=cine.distance)
    return volume_curve(areas, positions=cine.positions.tolist())


def ventricular_function(ml: ArrayLike, ed: int | None = None, es: int | None = None) -> VentricularFunction:
    """End-diastolic and end-systolic volume, stroke volume and ejection fraction of a volume curve.

    Args:
        ml: (T,) volumes in ml, nan where there is none.
        ed: end-diastolic frame, from 0; that of the largest volume by default.
        es: end-systolic frame; that of the smallest volume but ``ed`` by default.

    Returns:
        all nan and None without a volume; with one alone, or none at a frame that was given, what needs it is nan.

    Raises:
        ValueError: when ``ml`` is no curve, a frame is not in it, or ``ed`` and ``es`` are the same.
    """
    curve = np.asarray(ml, float)
    if curve.ndim != 1 or not curve.size:
        raise ValueError(f"expected a volume curve (T,), got an array of {curve.shape}")
    for name, frame in (("ed", ed), ("es", es)):
        if frame is not None and not 0 <= frame < len(curve):
            raise ValueError(f"{name} must be a frame of 0 to {len(curve) - 1}, got {frame}")
    if ed is not None and ed == es:
        raise ValueError(f"ed and es are both frame {ed}")
    if ed is None:
        ed = _extreme(-curve, leave_out=es)
    if es is None:
        es = _extreme(curve, leave_out=ed)
    edv, esv = (np.nan if frame is None else float(curve[frame]) for frame in (ed, es))
    fraction = 100 * (edv - esv) / edv if edv > 0 else np.nan
    return VentricularFunction(ed, es, edv, esv, edv - esv, fraction, int(np.isnan(curve).sum()))


def check_masks(masks: ArrayLike, spacing: Sequence[float]) -> tuple[np.ndarray, tuple[float, float]]:
    """What is inside masks (..., H, W), bool, and their spacing (row mm, column mm).

    Raises:
        ValueError: when ``masks`` are no images, or ``spacing`` is not two positive numbers.
    """
    inside = np.asarray(masks) > 0.5
    if inside.ndim < 2:
        raise ValueError(f"expected masks (..., H, W), got an array of {inside.shape}")
    return inside, check_spacing(spacing)


def check_spacing(spacing: Sequence[float]) -> tuple[float, float]:
    """
    Raises:
        ValueError: when ``spacing`` is not (row mm, column mm), both positive.
    """
    values = tuple(float(value) for value in spacing)
    if len(values) != 2 or not all(0 < value < np.inf for value in values):
        raise ValueError(f"expected a pixel spacing (row mm, column mm) above 0, got {values}")
    return values


def _places(slices: int, positions: Sequence[float] | None, distance: float | None) -> tuple[np.ndarray, float]:
    """Place of each slice along the normal and the usual distance between neighbours, both in mm."""
    if (positions is None) == (distance is None):
        raise ValueError("give either the slices' positions or the distance between them")
    if distance is not None:
        if not 0 < distance < np.inf:
            raise ValueError(f"the distance between slices must be above 0 mm, got {distance}")
        return np.arange(slices) * float(distance), float(distance)
    places = np.asarray(positions, float)
    if places.shape != (slices,) or not np.isfinite(places).all():
        raise ValueError(f"expected {slices} positions, one a slice, got {places.tolist()}")
    if slices == 1:
        raise ValueError("a single slice has no height by its position: give the distance, such as its thickness")
    gaps = np.diff(np.sort(places))
    if not gaps.min() > 0:
        raise ValueError(f"two slices lie at the same position: {sorted(places.tolist())}")
    return places, usual_gap(gaps)


def _extreme(curve: np.ndarray, leave_out: int | None) -> int | None:
    """Frame of the smallest value, but for one frame; None where there is no value."""
    others = np.where(np.arange(len(curve)) == leave_out, np.nan, curve)
    return None if np.isnan(others).all() else int(np.nanargmin(others))
