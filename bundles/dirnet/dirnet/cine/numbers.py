"""What a followed heart says in numbers, for a table or a report; None for what could not be measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.authors import notes

from .body import body_surface_area
from .mass import myocardial_mass, wall_areas
from .plane import longest_extents
from .plausibility import doubtful_slices, warnings_of
from .rates import PeakRates, peak_rates
from .segments import LEVELS
from .volumes import VentricularFunction, cine_volume, ventricular_function

if TYPE_CHECKING:
    from .follow import Followed

__all__ = ["numbers_of"]

VOLUMES = {
    "edv": "end_diastolic_volume_ml",
    "esv": "end_systolic_volume_ml",
    "stroke_volume": "stroke_volume_ml",
    "ejection_fraction": "ejection_fraction_percent",
}
INDEXED = {  # by m² of the body's surface
    "end_diastolic_volume_index_ml_per_m2": "end_diastolic_volume_ml",
    "end_systolic_volume_index_ml_per_m2": "end_systolic_volume_ml",
    "stroke_volume_index_ml_per_m2": "stroke_volume_ml",
    "cardiac_index_l_per_min_per_m2": "cardiac_output_l_per_min",
    "myocardial_mass_index_g_per_m2": "myocardial_mass_g",
    "rv_end_diastolic_volume_index_ml_per_m2": "rv_end_diastolic_volume_ml",
    "rv_end_systolic_volume_index_ml_per_m2": "rv_end_systolic_volume_ml",
    "rv_stroke_volume_index_ml_per_m2": "rv_stroke_volume_ml",
}


def numbers_of(followed: Followed) -> dict[str, Any]:
    """All numbers by name, with the unit in it. Lists of 16 are of the segments of :data:`.segments.NAMES`; frames and
    slices count from 0."""
    numbers = _drawing(followed) | _volumes(followed) | _plane(followed)
    numbers |= _output(followed, numbers) | _mass(followed) | _rates(followed) | _wall(followed)
    area = body_surface_area(followed.study.height_cm, followed.study.weight_kg)
    numbers["body_surface_area_m2"] = _number(area)
    for name, of in INDEXED.items():
        numbers[name] = None if area is None or numbers[of] is None else _number(numbers[of] / area)
    return numbers | _trust(followed)


def _drawing(followed: Followed) -> dict[str, Any]:
    """What was drawn, and which frames and slices the rest is from."""
    frames = {frame for slices in followed.drawn.values() for times in slices.values() for frame in times}
    drawn = {name: [n for n, one in followed.slices.items() if name in one.drawn] for name in followed.structures}
    return {
        "structures": list(followed.structures),
        "drawn_on_frames": sorted(frames),
        "slices": len(followed.cine.images),
        "slices_drawn": len(followed.slices),
        **{f"{name}_slices": drawn.get(name, []) for name in ("lumen", "epicardium", "rv")},
        "slices_left_out_at_end_diastole": sorted(followed.phases.left_out_ed),
        "slices_left_out_at_end_systole": sorted(followed.phases.left_out_es),
        "slice_distances_mm": _distances(followed),
    }


def _volumes(followed: Followed) -> dict[str, Any]:
    """Of both ventricles, at the same two frames."""
    left, volumes = followed.function, followed.volumes
    right = None
    if "rv" in volumes and left.ed is not None and left.es is not None:
        right = ventricular_function(volumes["rv"].ml, left.ed, left.es)
    return {
        "end_diastolic_frame": left.ed,
        "end_systolic_frame": left.es,
        **_function(left if "lumen" in volumes else None, ""),
        **_function(right, "rv_"),
    }


def _function(function: VentricularFunction | None, prefix: str) -> dict[str, Any]:
    found = {} if function is None else dataclasses.asdict(function)
    return {prefix + name: _number(found.get(key)) for key, name in VOLUMES.items()}


def _plane(followed: Followed) -> dict[str, Any]:
    """Of the lumen in one plane, of several slices that with the largest area: no volumes follow from it. A length is
    that of the ventricle where the view may be a long-axis one."""
    cine, ed, es = followed.cine, followed.function.ed, followed.function.es
    area, length = np.full((2, 2), np.nan)
    if cine.one_plane and "lumen" in followed.areas and ed is not None and es is not None:
        areas = followed.areas["lumen"]
        largest = int(np.nanargmax(areas[:, ed]))
        area = areas[largest, [ed, es]]
        if cine.view != "short axis":
            length = longest_extents(followed.structures["lumen"][largest, [ed, es]], cine.spacing)
    found: dict[str, Any] = {"view": cine.view or None}
    for name, unit, (first, last) in (("area", "mm2", area), ("length", "mm", length)):
        found[f"plane_{name}_end_diastole_{unit}"] = _number(first)
        found[f"plane_{name}_end_systole_{unit}"] = _number(last)
        found[f"plane_{name}_change_percent"] = _number(100 * (last - first) / first if first > 0 else None)
    return found


def _output(followed: Followed, numbers: dict[str, Any]) -> dict[str, Any]:
    study, stroke = followed.study, numbers["stroke_volume_ml"]
    rate = study.heart_rate
    return {
        "heart_rate_per_min": _number(rate),
        "heart_rate_from": study.heart_rate_from,
        "cardiac_output_l_per_min": None if rate is None or stroke is None else _number(rate * stroke / 1000),
    }


def _mass(followed: Followed) -> dict[str, Any]:
    areas = wall_areas(followed.areas)
    volume = None if areas is None else cine_volume(areas, followed.cine)
    phases = {"myocardial_mass_g": followed.function.ed, "myocardial_mass_end_systole_g": followed.function.es}
    return {
        name: None if volume is None else _number(myocardial_mass(volume.ml, frame)) for name, frame in phases.items()
    }


def _rates(followed: Followed) -> dict[str, Any]:
    rates, edv = PeakRates(), followed.function.edv
    if "lumen" in followed.volumes:
        rate, source = followed.study.heart_rate, followed.study.heart_rate_from
        cycle = None if rate is None or source == "TriggerTime" else 60_000 / rate
        rates = peak_rates(followed.volumes["lumen"].ml, followed.cine.times, cycle)
    found = {}
    for name, value in (("ejection", rates.ejection), ("filling", rates.filling)):
        found[f"peak_{name}_rate_ml_per_s"] = _number(value)
        found[f"peak_{name}_rate_edv_per_s"] = None if value is None or not edv > 0 else _number(value / edv)
    return found


def _wall(followed: Followed) -> dict[str, Any]:
    wall = followed.wall
    means = {"end_diastole_mm": "ed", "end_systole_mm": "es"}
    return {
        **{
            f"wall_thickness_{name}": None if wall is None else _number(getattr(wall, key))
            for name, key in means.items()
        },
        "wall_thickening_percent": None if wall is None else _number(wall.thickening),
        "mid_wall_thickness_end_diastole_mm": None if wall is None else _number(wall.mid_ed),
        "wall_slices": [] if wall is None else wall.slices,
        **{f"{level}_slices": [] if wall is None else wall.levels[level] for level in LEVELS},
        "segments_from": None if wall is None else wall.reference,
        **{
            f"segment_wall_thickness_{name}": None if wall is None else _list(getattr(wall, f"segments_{key}"))
            for name, key in means.items()
        },
        "segment_wall_thickening_percent": None if wall is None else _list(wall.segments_thickening),
    }


def _trust(followed: Followed) -> dict[str, Any]:
    curve = followed.circumferential
    peak = curve[np.nanargmax(np.abs(curve))] if np.isfinite(curve).any() else np.nan
    folded = max(float(result.folded_percent.max()) for result in followed.slices.values())
    lowest = min(float(result.estimated_dice.min()) for result in followed.slices.values())
    return {
        "peak_circumferential_strain_percent": _number(peak),
        "folded_percent": round(folded, 4),
        "lowest_estimated_dice": _number(lowest),
        "slices_to_look_at": doubtful_slices(followed),
        "warnings": [*notes(followed.authors), *followed.notes, *warnings_of(followed)],
    }


def _distances(followed: Followed) -> list[float] | None:
    """Between the middles of neighbouring slices, as the volumes have them; of one slice its own height."""
    positions, distance = followed.cine.positions, followed.cine.distance
    if positions is not None:
        return np.diff(positions).round(2).tolist()
    return None if distance is None else [round(distance, 2)]


def _list(values: np.ndarray) -> list[float | None] | None:
    """None where all are unknown."""
    return [_number(value) for value in values] if np.isfinite(values).any() else None


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 2)
