"""Records: what there is to read, the same plain dictionary for every source.

A record is one slice of one patient::

    {"patient": "SC-HF-I-01", "slice": 2, "split": "training",
     "pathology": "Heart failure with infarct",  # a group of results, or "unknown"
     "frames": [path, ...],           # time-ordered images, or one NIfTI or DICOM file with all of them
     "file_slice": 3,                 # optional: which slice of that one file, where it holds several
     "ed": 18, "es": 7,               # indices of end-diastole and end-systole in frames, or None
     "lumen": {18: path, 7: path},    # contour text or mask image by index; so each of transforms.structures
     "epicardium": {18: path},
     "rv": {},
     "labels": "acdc",                # optional: which value is which, where a mask image holds several structures
     "spacing": None}                 # [row mm, column mm]; None: read from the file

Splits are "training", "validation" and "test" (the 2009 challenge's "online").
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from .errors import InputError
from .structures import STRUCTURES

__all__ = [
    "SPLITS",
    "STRUCTURES",
    "Record",
    "files_of",
    "kind_of",
    "read_datalist",
    "read_json",
    "records_of_split",
    "sampled",
    "with_ed_and_es",
]

Record = dict[str, Any]
SPLITS = ("training", "validation", "test")
OTHER_NAMES = {"online": "test", "testing": "test"}  # the 2009 challenge's, other datalists'
UNKNOWN = "unknown"  # pathology

logger = logging.getLogger(__name__)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: when it is no JSON of UTF-8, is nested too deep, or holds a number that is not finite; names the
            file, and where in it.
    """

    def refuse(number: str) -> None:
        raise InputError(f"it holds {number}; expected finite numbers")

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse)
    except RecursionError as error:
        raise InputError(f"{path}: is no JSON file that can be read: nested too deep") from error
    except ValueError as error:  # of JSON, of UTF-8, and of numbers with too many digits
        raise InputError(f"{path}: is no JSON file: {error}") from error


def read_datalist(path: Path, lists: Any, as_record: Callable[[Any, str, int, Path], Record]) -> list[Record]:
    """The records of a datalist in MONAI's form, ``{"training": [item, ...], "validation": [...], "test": [...]}``.

    What is no list beside them, such as a name, is passed over.

    Args:
        path: of the datalist, for errors.
        lists: what :func:`read_json` found in it.
        as_record: makes a record of (item, split, its number in the list, path).

    Raises:
        FileNotFoundError: when no record is listed.
        ValueError: when it has another form.
    """
    if not isinstance(lists, dict):
        raise InputError(f"{path}: expected lists of records, {{'training': [...], ...}}, found {kind_of(lists)}")
    records = []
    for key, items in lists.items():
        if key not in (*SPLITS, *OTHER_NAMES) and not isinstance(items, list):
            continue  # a datalist may have a name, a description, ...
        split = split_name(key, path)
        if not isinstance(items, list):
            raise InputError(f"{path}: expected a list of records as '{key}', found {kind_of(items)}")
        records += [as_record(item, split, number, path) for number, item in enumerate(items)]
    if not records:
        raise FileNotFoundError(f"{path} lists no record; expected some as {', '.join(map(repr, SPLITS))}")
    return records


def files_of(record: Mapping[str, Any]) -> Iterator[str | Path]:
    """The files of a record of a cine or of a volume (:mod:`transforms.volume_records`): images, then drawings."""
    yield from record.get("frames") or []
    yield from (file for file in (record.get("image"), record.get("label")) if file is not None)
    for structure in STRUCTURES:
        yield from (record.get(structure) or {}).values()


def kind_of(value: Any) -> str:
    """What a value of a JSON file is, for errors."""
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), short(value))


def records_of_split(records: list[Record], splits: str | Sequence[str]) -> list[Record]:
    """The records of one split or several.

    Raises:
        ValueError: when a split is unknown or has no record.
    """
    splits = [splits] if isinstance(splits, str) else splits
    for split in splits:
        if split not in SPLITS:
            raise InputError(f"split must be one of {SPLITS}, got {split!r}")
        if not any(record["split"] == split for record in records):
            found = ", ".join(f"{name} ({sum(record['split'] == name for record in records)})" for name in SPLITS)
            raise InputError(f"no record is in the split {split!r}; found: {found}")
    return [record for record in records if record["split"] in splits]


def sampled(items: Sequence[Any], count: int | None, seed: int = 0) -> list[Any]:
    """So many of the items, drawn without repetition and the same for a seed, in their order; None, or more than there
    are, takes all."""
    if count is None or count >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), count, replace=False)
    return [items[index] for index in sorted(chosen)]


def with_ed_and_es(records: list[Record]) -> list[Record]:
    """Those records whose end-diastole and end-systole are known.

    Raises:
        ValueError: when there is none.
    """
    known = [record for record in records if record["ed"] is not None and record["es"] is not None]
    if not known:
        splits = ", ".join(sorted({record["split"] for record in records}))
        raise InputError(
            f"none of the {len(records)} records ({splits}) says which frames are end-diastole and end-systole: give "
            "'ed' and 'es', their indices in 'frames', in the datalist"
        )
    return known


def split_name(split: str, source: Path) -> str:
    """A split's name here; the 2009 challenge calls its test set "online".

    Raises:
        ValueError: when there is no such split; names the source.
    """
    split = OTHER_NAMES.get(split, split)
    if split not in SPLITS:
        raise InputError(f"{source}: split must be one of {SPLITS}, got {short(split)}")
    return split
