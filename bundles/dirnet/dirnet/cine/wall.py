"""How thick the left ventricle's wall is at end-diastole and end-systole, as a whole and by segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from transforms.cine_files import CineStack
from transforms.slice_order import base_is_first

from ..propagation import Propagation
from .segments import LEVELS, NAMES, Reference, given_reference, levels_of, rv_reference, segments_at
from .thickness import centre_of, wall_thickness

__all__ = ["Insertions", "Wall", "measure_wall", "positions_of"]

Insertions = tuple[tuple[float, float], tuple[float, float]]
"""Of the right ventricle on the left one, the anterior and the inferior one, each (x, y) in pixels."""

ANGLES = np.radians(np.arange(0, 360, 2.0))


@dataclass(frozen=True, eq=False)
class Wall:
    """Thickness of the wall; nan where unknown.

    Attributes:
        slices: those that it is from: with wall and lumen at both phases.
        levels: of these the basal, mid and apical ones; empty where base and apex can't be told apart.
        ed, es: mean over all of them, in mm.
        mid_ed: at end-diastole over the mid slices.
        segments_ed, segments_es: (16,) mm, of the segments of :data:`.segments.NAMES`.
        reference: what the segments begin at, "rv" or "given"; None where it is unknown, and the segments are.
    """

    slices: list[int]
    levels: dict[str, list[int]]
    ed: float
    es: float
    mid_ed: float
    segments_ed: np.ndarray
    segments_es: np.ndarray
    reference: str | None

    @property
    def thickening(self) -> float:
        """Of the whole wall from end-diastole to end-systole, in %."""
        return 100 * (self.es / self.ed - 1)

    @property
    def segments_thickening(self) -> np.ndarray:
        """(16,) %."""
        return 100 * (self.segments_es / self.segments_ed - 1)


def measure_wall(
    cine: CineStack,
    slices: Mapping[int, Propagation],
    structures: Mapping[str, np.ndarray],
    ed: int | None,
    es: int | None,
    insertions: Insertions | None = None,
) -> Wall | None:
    """Thickness of the wall by the contours of lumen and epicardium, see :func:`.thickness.wall_thickness`.

    Segments begin at the anterior insertion of the right ventricle: where ``insertions`` says, or where the mask of the
    right ventricle touches the left one, see :func:`.segments.rv_reference`; on slices without a right ventricle, and
    at end-systole where it has none, as on the nearest slice.

    Args:
        cine: of S slices.
        slices: what was followed, by number.
        structures: (S, T, H, W) bool by name; empty where a slice is left out.
        ed, es: frames of the phases.
        insertions: by the reader, on all slices.

    Returns:
        None where lumen and epicardium, or the phases, are unknown.
    """
    if ed is None or es is None or not {"lumen", "epicardium"} <= set(structures):
        return None
    lumen, outer = structures["lumen"], structures["epicardium"]
    usable = [n for n in slices if all(lumen[n, f].any() and outer[n, f].any() for f in (ed, es))]
    thickness = {(n, f): _thickness(slices[n], f, cine.spacing) for n in usable for f in (ed, es)}
    usable = [n for n in usable if all(np.isfinite(thickness[n, f]).all() for f in (ed, es))]
    if not usable:
        return None
    there = np.isin(np.arange(len(outer)), usable)
    areas = np.where(there, outer[:, ed].sum((1, 2)), np.nan)
    levels = levels_of(areas, positions_of(cine), base_is_first(cine)) if cine.distance is not None else None
    by_level = {name: [] if levels is None else [n for n in usable if levels[n] == k] for k, name in enumerate(LEVELS)}
    references: dict[tuple[int, int], Reference] = {}
    if levels is not None:
        references = _references(cine, slices, structures, usable, (ed, es), insertions)
    segments_ed, segments_es = (
        _by_segment({n: thickness[n, f] for n in usable}, levels, {n: references.get((n, f)) for n in usable})
        for f in (ed, es)
    )
    mean_ed, mean_es = (float(np.mean([thickness[n, f] for n in usable])) for f in (ed, es))
    mid = float(np.mean([thickness[n, ed] for n in by_level["mid"]])) if by_level["mid"] else np.nan
    source = None if not references else "rv" if insertions is None else "given"
    return Wall(usable, by_level, mean_ed, mean_es, mid, segments_ed, segments_es, source)


def _thickness(followed: Propagation, frame: int, spacing: tuple[float, float]) -> np.ndarray:
    return wall_thickness(followed.rings("lumen", frame), followed.rings("epicardium", frame), spacing, ANGLES)


def positions_of(cine: CineStack) -> np.ndarray:
    """Of the slices along their normal, (S,) mm; nan where their distance is unknown."""
    if cine.positions is not None:
        return cine.positions
    return np.arange(len(cine.images)) * float(cine.distance or np.nan)


def _references(
    cine: CineStack,
    slices: Mapping[int, Propagation],
    structures: Mapping[str, np.ndarray],
    usable: list[int],
    frames: tuple[int, int],
    insertions: Insertions | None,
) -> dict[tuple[int, int], Reference]:
    """Where the segments begin, by slice and frame; all of them, or none where it is nowhere known."""
    found: dict[tuple[int, int], Reference] = {}
    rv, outer = structures.get("rv"), structures["epicardium"]
    for number in usable:
        for frame in frames:
            centre = centre_of(slices[number].rings("lumen", frame), cine.spacing)
            if centre is None:
                continue
            if insertions is not None:
                found[number, frame] = given_reference(*insertions, centre, cine.spacing)
            elif rv is not None and cine.placed:
                masks = rv[number, frame], outer[number, frame]
                if reference := rv_reference(*masks, centre, cine.spacing, cine.grids[number]):
                    found[number, frame] = reference
    ways = [way for _, way in found.values()]
    if not ways or abs(sum(ways)) < len(ways):  # the septum lies on the same side throughout
        return {}
    return {
        (number, frame): found[min(found, key=lambda key: (abs(key[0] - number), key[1] != frame))]
        for number in usable
        for frame in frames
    }


def _by_segment(
    thickness: Mapping[int, np.ndarray], levels: np.ndarray | None, references: Mapping[int, Reference | None]
) -> np.ndarray:
    """Mean of each segment over directions and slices, (16,); nan where it has none."""
    sums, counts = np.zeros(len(NAMES)), np.zeros(len(NAMES))
    for number, values in thickness.items():
        reference = references[number]
        if levels is not None and reference is not None:
            places = segments_at(int(levels[number]), ANGLES, reference)
            sums += np.bincount(places, values, len(NAMES))
            counts += np.bincount(places, minlength=len(NAMES))
    return np.divide(sums, counts, out=np.full(len(NAMES), np.nan), where=counts > 0)
