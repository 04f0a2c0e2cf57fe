"""The table of studies: what is to be done, checked before anything starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from dirnet.errors import InputError
from transforms.paths import stem
from transforms.structures import LABELLED, parse_labels

__all__ = ["INPUTS", "Study", "read_studies"]

# which columns say what is done; the last of the first may be left out
TASKS = {"propagate": ("cine", "mask"), "register": ("moving", "fixed")}
INPUTS = ("cine", "mask", "frame", "series", "labels", "moving", "fixed")
PATHS = ("cine", "mask", "moving", "fixed")
SEPARATOR = ";"  # of several masks and frames; a comma is the table's own


@dataclass(frozen=True)
class Study:
    """One row of the table.

    Attributes:
        name: its id, under which its results are written.
        task: ``"propagate"`` or ``"register"``.
        inputs: columns of :data:`INPUTS` and what the table has there, of several masks or frames with
            :data:`SEPARATOR` between them; ``frame``, ``series`` and ``labels`` only where given.
        root: folder to which paths are relative.
    """

    name: str
    task: str
    inputs: Mapping[str, str]
    root: Path

    def path(self, column: str) -> Path:
        return self.root / self.inputs[column]

    @property
    def masks(self) -> list[str]:
        """Files of what is drawn, ``STRUCTURE=FILE`` where the table says so, with whole paths."""
        return self.absolute["mask"].split(SEPARATOR)

    @property
    def frames(self) -> list[int]:
        """On which it was drawn; none where the table does not say it."""
        return [int(frame) for frame in self.inputs.get("frame", "").split(SEPARATOR) if frame]

    @property
    def absolute(self) -> dict[str, str]:
        """The inputs with whole paths, which say the same wherever the table lies."""
        return {name: self._absolute(value) if name in PATHS else value for name, value in self.inputs.items()}

    def _absolute(self, value: str) -> str:
        # by their text alone: links may lead elsewhere on another machine, and to ask for many takes long
        parts = []
        for text in value.split(SEPARATOR):
            structure, equals, file = text.partition("=")
            named = bool(equals) and structure in LABELLED
            path = os.path.normpath(self.root / (file if named else text))
            parts.append(f"{structure}={path}" if named else path)
        return SEPARATOR.join(parts)


def read_studies(path: str | Path) -> list[Study]:
    """Read a table of studies: CSV, Parquet, or JSON, a list of objects; one row a study.

    Columns: ``cine`` and ``mask``, and ``frame``, ``series`` and ``labels`` where the files do not tell, as arguments
    and options of ``dirnet propagate``, several masks and frames with ``;`` between them; or ``moving`` and ``fixed``.
    Paths are relative to the table's folder. ``study``, a plain name
    that no other row has; without that column it is made of the path. Other columns are passed over. The files
    themselves are not looked at.

    Raises:
        FileNotFoundError: when there is no such table.
        ValueError: when it cannot be read, lacks a column or a value, or two rows are the same study; names the row,
            counted from 1 without the head.
    """
    path = Path(path)
    rows = _read_rows(path)
    if not rows:
        raise InputError(f"{path} lists no study")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    task = _task(path, columns)
    root = path.resolve().parent
    studies: list[Study] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        try:
            study = _study(row, task, root, "study" in columns)
        except InputError as error:
            raise InputError(f"{path}, row {number}: {error}") from error
        if study.name in seen:
            hint = "" if "study" in columns else "; name each in a column 'study'"
            raise InputError(f"{path}, row {number}: study '{study.name}' is in row {seen[study.name]} already{hint}")
        seen[study.name] = number
        studies.append(study)
    return studies


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Rows as text, empty where the table has nothing.

    Raises:
        FileNotFoundError, ValueError: when there is no such file, or no table in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table of studies '{path}' does not exist; expected .csv, .json or .parquet")
    import pandas as pd  # here: a table that is not there is refused without

    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            # an id such as 007 stays text; utf-8-sig: a spreadsheet's mark at the start is none of the first column
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
            rows = table.to_dict("records")
        elif suffix == ".json":
            rows = json.loads(path.read_text(encoding="utf-8"))
        elif suffix == ".parquet":
            table = pd.read_parquet(path)
            rows = table.astype(object).where(table.notna(), None).to_dict("records")
        else:
            raise InputError("a table of studies ends in .csv, .json or .parquet")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError('expected a list of objects: [{"cine": path, "mask": path}, ...]')
        return [{str(key).strip(): _text(value) for key, value in row.items()} for row in rows]
    except (ValueError, OSError, ImportError) as error:  # JSON's, pandas' and pyarrow's too
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: cannot be read as a table: {reason[0]}") from error


def _text(value: Any) -> str:
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):  # several masks or frames
        return SEPARATOR.join(map(_text, value))
    if value is None or value != value:  # nan
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as a table has integers of which some are missing
    return str(value).strip()


def _task(path: Path, columns: Sequence[str]) -> str:
    found = [task for task, needed in TASKS.items() if set(needed) <= set(columns)]
    if len(found) == 1:
        return found[0]
    wanted = "either the columns cine and mask (and frame, series, labels), or moving and fixed"
    raise InputError(f"{path}: expected {wanted}; found {', '.join(columns)}")


def _study(row: Mapping[str, str], task: str, root: Path, named: bool) -> Study:
    missing = [column for column in (*(["study"] if named else []), *TASKS[task]) if not row.get(column)]
    if missing:
        raise InputError(f"no {', no '.join(missing)}")
    inputs = {column: row[column] for column in TASKS[task]}
    if task == "propagate":
        inputs["mask"] = SEPARATOR.join(_parts(row["mask"]))
        inputs |= {column: row[column] for column in ("series", "labels") if row.get(column)}
        parse_labels(row.get("labels") or None)  # raises here, before anything starts
        if row.get("frame"):
            inputs["frame"] = _frames(row["frame"], len(_parts(row["mask"])))
    name = row["study"] if named else _name(*(row[column] for column in TASKS[task]), task)
    if not re.fullmatch(r"\w[\w.+-]{0,127}", name):
        raise InputError(
            f"the id of a study names a folder: letters, digits, '_', '-', '+' and '.', not first a '.', at most 128; "
            f"found '{name}'"
        )
    return Study(name, task, inputs, root)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def _frames(text: str, masks: int) -> str:
    """
    Raises:
        InputError: when they are no frames, or not one for each of several masks, or one for all.
    """
    frames = _parts(text)
    if not all(re.fullmatch("[0-9]+", frame) for frame in frames):
        raise InputError(f"frame must be a number from 0, or several with '{SEPARATOR}' between them, found '{text}'")
    if masks > 1 and len(frames) not in (1, masks):
        raise InputError(f"expected a frame for each of the {masks} masks, or one for all; found '{text}'")
    return SEPARATOR.join(str(int(frame)) for frame in frames)


def _name(first: str, second: str, task: str) -> str:
    """An id by the path alone, so that more rows do not change it."""
    parts = [part for part in PurePath(first).parts if part not in ("..", PurePath(first).anchor)]
    name = "_".join((*parts[:-1], stem(parts[-1]))) if parts else ""
    if task == "register":
        name += f"_to_{stem(second)}"
    return re.sub(r"[^\w.+-]+", "_", name).lstrip(".+-")
