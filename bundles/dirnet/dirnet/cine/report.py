"""A followed heart on two pages, as one HTML file that needs nothing else and prints well."""

from __future__ import annotations

import base64
import importlib.metadata
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from transforms.authors import author_of
from transforms.cine import scale_intensity
from transforms.slice_order import base_is_first
from transforms.study_info import StudyInfo, read_study_info

from ..files.aside import write_aside
from .bullseye import bullseye
from .counting import Counting
from .curves import volume_figure
from .follow import Followed
from .normal_ranges import NORMAL, SOURCES, Normal
from .pictures import curve_figure
from .segments import NAMES, from_base
from .wall import positions_of

__all__ = ["write_report"]

MARGIN = 14.0  # mm around the heart that are shown
ENLARGED = 3  # pixels of a picture for one of the image: printers show those as squares
COLOURS = {"rv": "#56B4E9", "epicardium": "#2CC295", "lumen": "#F0E442"}
NAMED = {"lumen": "endocardium", "epicardium": "epicardium", "rv": "right ventricle"}


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is, the names of its number and of that by body surface or volume, how many digits are
    shown, a word on it, and the number without which it is left out."""

    title: str
    number: str
    unit: str
    digits: int = 0
    index: str = ""
    index_unit: str = ""
    note: str = ""
    needs: str = "lumen_slices"


OUTER, RV = "epicardium_slices", "rv_slices"
LEFT = (
    Row("End-diastolic volume", "end_diastolic_volume_ml", "ml", 0, "end_diastolic_volume_index_ml_per_m2", "ml/m²"),
    Row("End-systolic volume", "end_systolic_volume_ml", "ml", 0, "end_systolic_volume_index_ml_per_m2", "ml/m²"),
    Row("Stroke volume", "stroke_volume_ml", "ml", 0, "stroke_volume_index_ml_per_m2", "ml/m²"),
    Row("Ejection fraction", "ejection_fraction_percent", "%", 1),
    Row("Cardiac output", "cardiac_output_l_per_min", "l/min", 1, "cardiac_index_l_per_min_per_m2", "l/min/m²"),
    Row("Myocardial mass", "myocardial_mass_g", "g", 0, "myocardial_mass_index_g_per_m2", "g/m²", needs=OUTER),
    Row("the same at end-systole", "myocardial_mass_end_systole_g", "g", note="a check", needs=OUTER),
)
PLANE = (  # of a cine of which no volumes follow
    Row("Length, end-diastole", "plane_length_end_diastole_mm", "mm"),
    Row("Length, end-systole", "plane_length_end_systole_mm", "mm"),
    Row("Change of length", "plane_length_change_percent", "%", 1),
    Row("Area, end-diastole", "plane_area_end_diastole_mm2", "mm²"),
    Row("Area, end-systole", "plane_area_end_systole_mm2", "mm²"),
    Row("Change of area", "plane_area_change_percent", "%", 1),
)
RIGHT = tuple(
    Row(title, f"rv_{name}", unit, digits, index and f"rv_{index}", index and "ml/m²", needs=RV)
    for title, name, unit, digits, index in (
        ("End-diastolic volume", "end_diastolic_volume_ml", "ml", 0, "end_diastolic_volume_index_ml_per_m2"),
        ("End-systolic volume", "end_systolic_volume_ml", "ml", 0, "end_systolic_volume_index_ml_per_m2"),
        ("Stroke volume", "stroke_volume_ml", "ml", 0, "stroke_volume_index_ml_per_m2"),
        ("Ejection fraction", "ejection_fraction_percent", "%", 1, ""),
    )
)
WALL = (
    Row("Peak ejection rate", "peak_ejection_rate_ml_per_s", "ml/s", 0, "peak_ejection_rate_edv_per_s", "EDV/s"),
    Row("Peak filling rate", "peak_filling_rate_ml_per_s", "ml/s", 0, "peak_filling_rate_edv_per_s", "EDV/s"),
    Row("Circumferential strain, peak", "peak_circumferential_strain_percent", "%", 1),
    Row("Wall thickness, end-diastole", "wall_thickness_end_diastole_mm", "mm", 1, needs=OUTER),
    Row("Mid-cavity slices alone", "mid_wall_thickness_end_diastole_mm", "mm", 1, needs=OUTER),
    Row("Wall thickness, end-systole", "wall_thickness_end_systole_mm", "mm", 1, needs=OUTER),
    Row("Wall thickening", "wall_thickening_percent", "%", 0, needs=OUTER),
)
EYES = (  # number, title, unit, digits
    ("segment_wall_thickness_end_diastole_mm", "Thickness, end-diastole", "mm", 1),
    ("segment_wall_thickness_end_systole_mm", "Thickness, end-systole", "mm", 1),
    ("segment_wall_thickening_percent", "Thickening", "%", 0),
)
SCALES = {"mm": (4.0, 16.0), "%": (0.0, 80.0)}  # the same for all hearts
RATE_FROM = {
    "HeartRate": "the file's HeartRate",
    "NominalInterval": "the file's R-R interval",
    "RRIntervalTimeNominal": "the file's R-R interval",
    "TriggerTime": "the frames' times, if they cover the cycle",
    "given": "given",
}


def write_report(
    followed: Followed, path: str | Path, name: str, weights: str = "unknown", patient_name: bool = False
) -> None:
    """Write a report: study, numbers and what is normal, curves, contours at end-diastole and end-systole, thickness by
    segments, what to look at twice, and how it was made. Its numbers are those of ``followed.numbers``; slices and
    frames are counted as :class:`.counting.Counting` does.

    The file appears whole or not at all.

    Args:
        followed: the heart.
        path: of the HTML file.
        name: of the cine, the page's title.
        weights: of the network.
        patient_name: whether the patient's name and number stand in it.

    Raises:
        FileNotFoundError, InputError: when the name is asked for, and the cine's file is gone or damaged.
    """
    numbers, study = followed.numbers, followed.study
    order, from_base_known = _order(followed)
    counting = Counting.of(followed.cine)
    tables = _tables(numbers, followed.cine.one_plane)
    normal = {row.number: _normal(row, numbers) for _, rows in tables for row in rows}
    named = read_study_info(followed.cine, patient_name=True) if patient_name else StudyInfo()
    environment = Environment(
        loader=PackageLoader("dirnet.cine"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = _shown
    environment.filters["listed"] = _listed
    page = environment.get_template("report.html.j2").render(
        name=name,
        study=study,
        rate_from=RATE_FROM.get(study.heart_rate_from or "", ""),
        cine=followed.cine,
        counting=counting,
        numbers=numbers,
        tables=tables,
        normal=normal,
        sources=_cited([found[0] for found in normal.values() if found is not None]),
        patient=" ".join(dict.fromkeys(filter(None, (named.patient_name, named.patient_id)))),
        curves=_curves(followed, counting),
        eyes=_eyes(numbers),
        segments=NAMES,
        phases=_phases(followed, order, counting),
        from_base=from_base_known,
        colours={NAMED[key]: COLOURS[key] for key in COLOURS if key in followed.structures},
        slices=_slices(followed, order, numbers, counting),
        version=_version(),
        weights=weights,
        written=f"{datetime.now(timezone.utc):%Y-%m-%d}",
    )
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _tables(numbers: dict[str, Any], one_plane: bool) -> list[tuple[str, Sequence[Row]]]:
    """Titles and rows; of a right ventricle, a wall or mass only where it was drawn, of one plane no volumes."""
    if one_plane:
        known = [row for row in (*PLANE, *WALL) if numbers[row.number] is not None]
        return [("Left ventricle, in one plane", known)] if known else []
    tables = (("Left ventricle", LEFT), ("Right ventricle", RIGHT), ("Ejection, filling and wall", WALL))
    kept = [(title, [row for row in rows if numbers[row.needs]]) for title, rows in tables]
    return [(title, rows) for title, rows in kept if rows]


def _normal(row: Row, numbers: dict[str, Any]) -> tuple[Normal, str] | None:
    """What is normal for a row, by body surface where that is known, and its unit; None where no source is known."""
    if row.index in NORMAL and numbers[row.index] is not None:
        return NORMAL[row.index], row.index_unit
    return (NORMAL[row.number], row.unit) if row.number in NORMAL else None


def _cited(normal: Sequence[Normal]) -> dict[int, str]:
    """The sources of what is normal, by the number that they are cited by."""
    return {source + 1: SOURCES[source] for source in sorted({one.source for one in normal})}


def _curves(followed: Followed, counting: Counting) -> list[str]:
    strain = {"circumferential": followed.circumferential}
    function, times = followed.function, followed.cine.times
    figures = [volume_figure(followed, counting)]
    if np.isfinite(followed.circumferential).any():
        first = counting.frame(0)
        figures.append(curve_figure(strain, "circumferential strain", "%", function.ed, function.es, times, first))
    return [_svg(figure) for figure in figures]


def _svg(figure: Figure) -> str:
    figure.set_size_inches(3.7, 2.5)
    if figure.legends:  # below, where it takes no width
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legends.clear()
        figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "report"}):  # the same page for the same heart
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _eyes(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    shown = []
    for number, title, unit, digits in EYES:
        values = numbers[number]
        if values is None:
            return []
        fields = zip(bullseye(values, *SCALES[unit]), values, NAMES, strict=True)
        shown.append({"number": number, "title": f"{title}, {unit}", "digits": digits, "fields": list(fields)})
    return shown


def _order(followed: Followed) -> tuple[list[int], bool]:
    """The slices that were drawn on, from base to apex, and whether these are known; else as they are numbered."""
    areas = followed.areas.get("epicardium", followed.areas.get("lumen"))
    drawn, found = list(followed.slices), None
    if areas is not None and followed.function.ed is not None and followed.cine.distance is not None:
        found = from_base(areas[:, followed.function.ed], positions_of(followed.cine), base_is_first(followed.cine))
    if found is None:
        return drawn, False
    return (drawn if found[0] < found[-1] else drawn[::-1]), True


def _phases(followed: Followed, order: list[int], counting: Counting) -> list[dict[str, Any]]:
    """The slices at end-diastole and end-systole."""
    function = followed.function
    window = _window(followed)
    shown = []
    for title, frame in (("End-diastole", function.ed), ("End-systole", function.es)):
        if frame is not None:
            tiles = [{"slice": counting.slice(n), **_tile(followed, n, frame, window)} for n in order]
            shown.append({"title": title, "frame": counting.frame(frame), "tiles": tiles})
    return shown


def _window(followed: Followed) -> tuple[int, int, int, int]:
    """First and last row and column, all inclusive, of a square around all contours."""
    spacing = followed.cine.spacing
    anywhere = np.any([masks.any((0, 1)) for masks in followed.structures.values()], 0)
    bounds = [np.flatnonzero(anywhere.any(1 - axis)) * spacing[axis] for axis in (0, 1)]
    side = max(float(b[-1] - b[0]) for b in bounds) + 2 * MARGIN
    window: list[int] = []
    for axis, mm in enumerate(bounds):
        middle, size = (mm[0] + mm[-1]) / 2, anywhere.shape[axis]
        first = max(0, round((middle - side / 2) / spacing[axis]))
        window += [first, min(size - 1, first + round(side / spacing[axis]))]
    return window[0], window[1], window[2], window[3]


def _tile(followed: Followed, number: int, frame: int, window: tuple[int, int, int, int]) -> dict[str, Any]:
    """A slice as it is shown: a picture of the window, contours on it in mm from its corner, and what is said."""
    top, bottom, left, right = window
    row, column = followed.cine.spacing
    width, height = (right - left + 1) * column, (bottom - top + 1) * row
    images = followed.cine.images[number][:, top : bottom + 1, left : right + 1]
    grey = np.clip(scale_intensity(images, (1.0, 99.0))[frame], 0, 1)
    result = followed.slices[number]
    contours = {
        COLOURS[name]: [
            (ring - (left - 0.5, top - 0.5)) * (column, row)
            for ring in result.rings(name, frame)
            if followed.structures[name][number, frame].any()
        ]
        for name in COLOURS
        if name in result.structures
    }
    by_hand = [name for name, frames in result.drawn.items() if frame in frames]
    left_out = not any(masks[number, frame].any() for masks in followed.structures.values())
    kind = "left out" if left_out else "drawn" if by_hand == list(result.drawn) else "part drawn" if by_hand else ""
    if any(author_of(followed.authors, name, number, frame) for name in by_hand):
        kind = "by a network"
    return {
        "said": kind,
        "picture": _webp(grey),
        "width": round(width, 2),
        "height": round(height, 2),
        "contours": {colour: " ".join(map(_path, rings)) for colour, rings in contours.items()},
    }


def _path(ring: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z"


def _webp(grey: np.ndarray) -> str:
    image = Image.fromarray((255 * grey).round().astype(np.uint8))
    size = (image.width * ENLARGED, image.height * ENLARGED)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, "WEBP", quality=85, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _slices(followed: Followed, order: list[int], numbers: dict[str, Any], counting: Counting) -> list[dict[str, Any]]:
    """What is to be known of each slice that was drawn on."""
    phases = followed.phases
    rows = []
    for number in order:
        result = followed.slices[number]
        worst = int(result.estimated_dice.argmin())
        out = [name for name, slices in (("ED", phases.left_out_ed), ("ES", phases.left_out_es)) if number in slices]
        rows.append(
            {
                "number": counting.slice(number),
                "in_files": number,
                "drawn": sorted({counting.frame(frame) for frames in result.drawn.values() for frame in frames}),
                "structures": [NAMED[name] for name in result.drawn],
                "dice": math.floor(100 * result.estimated_dice[worst]) / 100,  # so that what is doubted is seen to be
                "frame": counting.frame(worst),
                "folded": float(result.folded_percent.max()),
                "left_out": out,
                "doubtful": number in numbers["slices_to_look_at"],
            }
        )
    return rows


def _version() -> str:
    try:
        return importlib.metadata.version("monai-dirnet")
    except importlib.metadata.PackageNotFoundError:  # a bundle that was unpacked, not installed
        return "unknown"


def _shown(value: float | None, digits: int = 0) -> str:
    if value is None:
        return "unknown"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _listed(numbers: Sequence[int]) -> str:
    """Whole numbers in a row as ranges: "1–4, 6"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts) or "none"
