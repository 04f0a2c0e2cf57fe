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
COLUMNS = {  # of all tables; those of what was measured follow, see write_table
    "study": pa.string(),
    "status": pa.string(),  # done or failed
    "reason": pa.string(),  # why it failed
    "task": pa.string(),
    "cine": pa.string(),  # this and the next six: as in the table of studies, paths absolute
    "mask": pa.string(),
    "frame": pa.string(),
    "series": pa.string(),
    "labels": pa.string(),
    "moving": pa.string(),
    "fixed": pa.string(),
    "ncc_before": pa.float64(),  # of a cine: the mean over its frames
    "ncc_after": pa.float64(),
    "folded_percent": pa.float64(),  # of a cine: the most on any frame
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
    if isinstance(record.get("frame"), int):  # of a run before there could be several
        record["frame"] = str(record["frame"])
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
    """Write the records as Parquet, in the order of the studies; those without a record are left out.

    A column each: :data:`COLUMNS`, and all else that is in a record, such as the numbers of a followed cine.
    """
    rows = [records[study.name] for study in studies if study.name in records]
    names = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    columns = {name: _column([row.get(name) for row in rows], COLUMNS.get(name)) for name in names}
    with write_aside(path) as aside:
        pq.write_table(pa.table(columns), aside)


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """Of the kind, or of that which the values have: of numbers, of lists, of objects; text in JSON where they differ
    by more than numbers do."""
    if kind is not None:
        return pa.array(values, kind)
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])
    if pa.types.is_null(column.type):  # unknown in all studies
        return pa.array(values, pa.float64())
    if pa.types.is_list(column.type) and pa.types.is_null(column.type.value_type):  # empty in all
        return pa.array(values, pa.list_(pa.string()))
    return column
