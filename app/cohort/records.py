"""What is known of each study: a small file in its folder, written last, and one table of all."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dirnet.errors import InputError
from dirnet.files.aside import write_aside

from .studies import INPUTS, Study

__all__ = ["COLUMNS", "INTERNAL", "LOG", "check_room", "new_folder", "publish", "read_records", "sweep", "write_table"]

RECORD = "record.json"
LOG = "error.log"  # the traceback of a study that failed by a bug
INTERNAL = "internal error"  # with which such a study's reason begins
UNFINISHED = re.compile(r"\..+\.unfinished-[0-9a-f]{8}")  # no name that a user would give
SLICES_OF = ("lumen", "epicardium", "rv", "wall", "basal", "mid", "apical")
VOLUMES = (
    "end_diastolic_volume_ml",
    "end_systolic_volume_ml",
    "stroke_volume_ml",
    "ejection_fraction_percent",
)
INDEXED = (
    "end_diastolic_volume_index_ml_per_m2",
    "end_systolic_volume_index_ml_per_m2",
    "stroke_volume_index_ml_per_m2",
)
MEASURED = (  # of a followed heart, empty where it can't be had
    *VOLUMES,
    *(f"rv_{name}" for name in VOLUMES),
    "heart_rate_per_min",
    "cardiac_output_l_per_min",
    "myocardial_mass_g",
    "myocardial_mass_end_systole_g",
    "peak_ejection_rate_ml_per_s",
    "peak_ejection_rate_edv_per_s",
    "peak_filling_rate_ml_per_s",
    "peak_filling_rate_edv_per_s",
    "wall_thickness_end_diastole_mm",
    "wall_thickness_end_systole_mm",
    "wall_thickening_percent",
    "mid_wall_thickness_end_diastole_mm",
    "body_surface_area_m2",
    *INDEXED,
    *(f"rv_{name}" for name in INDEXED),
    "cardiac_index_l_per_min_per_m2",
    "myocardial_mass_index_g_per_m2",
)
SEGMENTS = (  # of 16 each
    "segment_wall_thickness_end_diastole_mm",
    "segment_wall_thickness_end_systole_mm",
    "segment_wall_thickening_percent",
)
COLUMNS = {
    "study": pa.string(),
    "status": pa.string(),  # done or failed
    "reason": pa.string(),  # why it failed
    "task": pa.string(),
    "cine": pa.string(),  # this and the next six: as in the table of studies, paths absolute
    "mask": pa.string(),
    "frame": pa.int64(),
    "series": pa.string(),
    "labels": pa.string(),
    "moving": pa.string(),
    "fixed": pa.string(),
    "structures": pa.list_(pa.string()),
    "drawn_on_frames": pa.list_(pa.int64()),
    "slices": pa.int64(),
    "slices_drawn": pa.int64(),
    "slices_left_out_at_end_diastole": pa.list_(pa.int64()),
    "slices_left_out_at_end_systole": pa.list_(pa.int64()),
    "slice_distances_mm": pa.list_(pa.float64()),
    "end_diastolic_frame": pa.int64(),
    "end_systolic_frame": pa.int64(),
    **dict.fromkeys(MEASURED, pa.float64()),
    "heart_rate_from": pa.string(),
    **{f"{name}_slices": pa.list_(pa.int64()) for name in SLICES_OF},
    "segments_from": pa.string(),
    **dict.fromkeys(SEGMENTS, pa.list_(pa.float64())),
    "peak_circumferential_strain_percent": pa.float64(),
    "lowest_estimated_dice": pa.float64(),
    "slices_to_look_at": pa.list_(pa.int64()),
    "warnings": pa.list_(pa.string()),  # of the followed contour, for a reader
    "folded_percent": pa.float64(),  # of a cine: the most on any frame
    "ncc_before": pa.float64(),  # of a cine: the mean over its frames
    "ncc_after": pa.float64(),
    "pairs": pa.int64(),  # registrations
    "seconds_read": pa.float64(),
    "seconds_register": pa.float64(),
    "seconds_write": pa.float64(),
    "host": pa.string(),  # by which it was done
}

Row = dict[str, Any]


def read_records(folder: Path, studies: Iterable[Study]) -> dict[str, Row]:
    """The records of those studies that have one, by id.

    Args:
        folder: with a folder a study; need not exist.
        studies: to look for.
    """
    there = _names(folder)
    names = [study.name for study in studies if study.name in there]
    with ThreadPoolExecutor(16) as pool:  # a network's file system answers many at once
        records = list(pool.map(lambda name: _read_record(folder / name), names))
    return {name: record for name, record in zip(names, records, strict=True) if record is not None}


def _read_record(folder: Path) -> Row | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("status") not in ("done", "failed"):
        return None
    return {sys.intern(key): value for key, value in record.items()}  # there may be many


def sweep(folder: Path) -> None:
    """Remove what workers that died left half-written. Nobody may be writing to the folder."""
    for name in _names(folder):
        if UNFINISHED.fullmatch(name):
            shutil.rmtree(folder / name, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries}


def check_room(folder: Path, studies: Iterable[Study]) -> None:
    """See that those studies can be published: where one belongs there is nothing, or but that it failed.

    Raises:
        ValueError: when there is something else, which would be lost.
    """
    there = _names(folder)
    for study in studies:
        if study.name in there and (reason := _foreign(folder / study.name)):
            raise InputError(f"{reason}; move it, or choose another --output_dir")


def _foreign(folder: Path) -> str:
    """What in the place of a study that is not done was not written by this program; empty when it all was."""
    try:
        names = sorted(_names(folder) - ({RECORD, LOG} if _read_record(folder) else set()))
    except FileNotFoundError:
        return ""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return f"'{folder}' is not the folder of a study"
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"'{folder}' holds what is not known to be of a run: {shown}" if names else ""


def new_folder(folder: Path, name: str) -> Path:
    """A folder for the results of a study until they are whole, for :func:`publish`."""
    aside = _aside(folder, name)
    aside.mkdir(parents=True)
    return aside


def _aside(folder: Path, name: str) -> Path:
    return folder / f".{name}.unfinished-{uuid.uuid4().hex[:8]}"


def publish(aside: Path, row: Mapping[str, Any]) -> Row:
    """Add its record to a finished study's folder, as last, and give the folder the study's name.

    A study that is there as done stays, and the folder is dropped: a worker that was believed dead may come late. So do
    files that this program did not write; the study has failed then.

    Returns:
        the record that now stands.

    Raises:
        OSError: when it cannot be written.
    """
    with write_aside(aside / RECORD) as path:
        path.write_text(json.dumps(row, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    folder = aside.parent / row["study"]
    for _ in range(3):
        there = _read_record(folder)
        if there is not None and there["status"] == "done":
            shutil.rmtree(aside, ignore_errors=True)
            return there
        if reason := _foreign(folder):
            shutil.rmtree(aside, ignore_errors=True)
            known = {name: row[name] for name in ("study", "task", *INPUTS, "host") if name in row}
            return known | {"status": "failed", "reason": reason}
        try:
            if folder.exists():  # it failed before
                old = _aside(folder.parent, folder.name)
                folder.rename(old)
                there = _read_record(old)
                if _foreign(old) or (there is not None and there["status"] == "done"):  # come between
                    old.rename(folder)
                    continue
                shutil.rmtree(old)
            aside.rename(folder)
            return dict(row)
        except OSError:  # another came between
            if not folder.exists():
                raise
    raise OSError(f"'{folder}' cannot be replaced")


def write_table(path: Path, studies: Iterable[Study], records: Mapping[str, Row]) -> None:
    """Write the records as Parquet, in the order of the studies; those without a record are left out."""
    rows = [records[study.name] for study in studies if study.name in records]
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in COLUMNS.items()}
    with write_aside(path) as aside:
        pq.write_table(pa.table(columns), aside)
