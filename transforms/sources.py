"""Where records come from: a folder in SCD's layout, a datalist JSON, or the phantom. This is the front door."""

from __future__ import annotations

import logging
from pathlib import Path
from reprlib import repr as short
from typing import Any

from . import scd
from .errors import InputError
from .grids import LONGEST_PIXEL
from .phantom import write_scd
from .records import STRUCTURES, UNKNOWN, Record, kind_of, read_datalist, read_json
from .structures import parse_labels

__all__ = ["read_records"]

logger = logging.getLogger(__name__)


def read_records(dataset_dir: str | Path | None, phantom_dir: str | Path) -> list[Record]:
    """Records of a folder in SCD's layout or of a datalist JSON; without either, of the phantom.

    A datalist is MONAI's: ``{"training": [record, ...], "validation": [...], "test": [...]}``, with paths relative to
    its folder; a record needs ``frames``, all else has a default. What is no list beside them, such as a name, is
    passed over.

    Args:
        dataset_dir: the folder or datalist, or None.
        phantom_dir: where the phantom's files are written, if they are not there yet.

    Raises:
        FileNotFoundError: when ``dataset_dir`` does not exist, or holds no cine.
        ValueError: when a datalist, or a table in the folder, does not have the form expected.
    """
    if dataset_dir is None:
        logger.info("no dataset_dir (nor SCD_DIR) given: using the beating-heart phantom that the project makes")
        if not Path(phantom_dir).is_dir():
            write_scd(phantom_dir)
        return scd.scan(phantom_dir)
    if Path(dataset_dir).is_file():
        return read_datalist(Path(dataset_dir), read_json(Path(dataset_dir)), _datalist_record)
    if not Path(dataset_dir).is_dir():
        raise FileNotFoundError(
            f"dataset_dir '{dataset_dir}' does not exist; expected a folder in SCD's layout (SCD_IMAGES_*, "
            "SCD_ManualContours, scd_patientdata.csv; or SCD_EDES_PNG), or a datalist JSON"
        )
    return scd.scan(dataset_dir)


def _datalist_record(item: Any, split: str, number: int, path: Path) -> Record:
    """An item of a datalist with its defaults, and with its paths relative to the working directory."""

    def check(right: bool, expected: str) -> None:
        if not right:
            raise InputError(f"{path}: {split}[{number}]: expected {expected}")

    check(isinstance(item, dict), f"a record, {{'frames': [path, ...], ...}}, found {kind_of(item)}")
    frames = item.get("frames")
    check(_is_list(frames, str) and len(frames) > 0, f"'frames', a list of image files, found {short(frames)}")
    record: Record = {"patient": f"{split}-{number}", "slice": 0, "ed": None, "es": None, "spacing": None}
    record.update(item, split=split, frames=[str(path.parent / frame) for frame in frames])
    record["pathology"] = item.get("pathology") or UNKNOWN  # batches cannot hold None
    for name in ("patient", "pathology"):
        check(isinstance(record[name], str), f"'{name}', a text, found {short(record[name])}")
    check(type(record["slice"]) is int, f"'slice', a number, found {short(record['slice'])}")
    for phase in ("ed", "es"):
        index = record[phase]
        check(
            index is None or (type(index) is int and index >= 0), f"'{phase}', an index in frames, found {short(index)}"
        )
    check(record["ed"] is None or record["ed"] != record["es"], f"two phases, found {record['ed']} as 'ed' and 'es'")
    spacing: Any = record["spacing"]
    good = spacing is None or (isinstance(spacing, list) and len(spacing) == 2 and all(map(_is_size, spacing)))
    check(good, f"'spacing', [row mm, column mm], found {short(spacing)}")
    slice_ = item.get("file_slice")
    good = slice_ is None or (type(slice_) is int and slice_ >= 0 and len(frames) == 1)
    check(good, f"'file_slice', an index in the one file of 'frames', found {short(slice_)} and {len(frames)} files")
    labels = item.get("labels")
    check(labels is None or isinstance(labels, str | dict), f"'labels', a text or an object, found {short(labels)}")
    try:
        parse_labels(labels)
    except InputError as error:
        raise InputError(f"{path}: {split}[{number}]: {error}") from error
    for structure in STRUCTURES:
        files = item.get(structure) or {}
        good = isinstance(files, dict) and all(map(_is_index, files)) and _is_list(list(files.values()), str)
        check(good, f"'{structure}', {{\"index in frames\": path}}, found {short(files)}")
        record[structure] = {int(index): str(path.parent / file) for index, file in files.items()}
        check(len(record[structure]) == len(files), f"each frame once in '{structure}', found {short(files)}")
    return record


def _is_index(key: str) -> bool:
    return key.isdecimal() and len(key) < 10


def _is_size(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= LONGEST_PIXEL


def _is_list(value: Any, of: type | tuple[type, ...]) -> bool:
    return isinstance(value, list) and all(isinstance(part, of) for part in value)
