"""Records: what there is to read, the same plain dictionary for every source.

A record is one slice of one patient::

    {"patient": "SC-HF-I-01", "slice": 2, "split": "training", "pathology": "Heart failure with infarct",
     "frames": [path, ...],           # time-ordered images, or one NIfTI or DICOM file with all of them
     "ed": 18, "es": 7,               # indices of end-diastole and end-systole in frames, or None
     "lumen": {18: path, 7: path},    # contour text or mask image by index
     "epicardium": {18: path},
     "spacing": None}                 # [row mm, column mm]; None: read from the file

Splits are "training", "validation" and "test" (the 2009 challenge's "online").
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

__all__ = ["SPLITS", "read_records", "records_of_split", "with_ed_and_es"]

Record = dict[str, Any]
SPLITS = ("training", "validation", "test")
STRUCTURES = ("lumen", "epicardium")

logger = logging.getLogger(__name__)


def read_records(dataset_dir: str | Path | None, phantom_dir: str | Path) -> list[Record]:
    """Records of a folder in SCD's layout or of a datalist JSON; without either, of the phantom.

    A datalist is MONAI's: ``{"training": [record, ...], "validation": [...], "test": [...]}``, with paths relative to
    its folder; a record needs ``frames``, all else has a default.

    Args:
        dataset_dir: the folder or datalist, or None.
        phantom_dir: where the phantom's files are written, if they are not there yet.

    Raises:
        FileNotFoundError: when ``dataset_dir`` does not exist, or holds no cine.
        ValueError: when a datalist, or a table in the folder, does not have the form expected.
    """
    from . import scd  # which knows what a record is, and so imports this module
    from .phantom import write_scd

    if dataset_dir is None:
        logger.info("no dataset_dir (nor SCD_DIR) given: using the beating-heart phantom that the project makes")
        if not Path(phantom_dir).is_dir():
            write_scd(phantom_dir)
        return scd.scan(phantom_dir)
    if Path(dataset_dir).is_file():
        return _read_datalist(Path(dataset_dir))
    if not Path(dataset_dir).is_dir():
        raise FileNotFoundError(
            f"dataset_dir '{dataset_dir}' does not exist; expected a folder in SCD's layout (SCD_IMAGES_*, "
            "SCD_ManualContours, scd_patientdata.csv; or SCD_EDES_PNG), or a datalist JSON"
        )
    return scd.scan(dataset_dir)


def records_of_split(records: list[Record], *splits: str) -> list[Record]:
    """The records of one or several splits.

    Raises:
        ValueError: when a split is unknown or has no record.
    """
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
        if not any(record["split"] == split for record in records):
            raise ValueError(f"no record is in the split {split!r}; the {len(records)} records are of others")
    return [record for record in records if record["split"] in splits]


def with_ed_and_es(records: list[Record]) -> list[Record]:
    """Those records whose end-diastole and end-systole are known.

    Raises:
        ValueError: when there is none.
    """
    known = [record for record in records if record["ed"] is not None and record["es"] is not None]
    if not known:
        raise ValueError(f"none of the {len(records)} records says which frames are end-diastole and end-systole")
    return known


def split_name(split: str, source: Path) -> str:
    """A split's name here; the 2009 challenge calls its test set "online".

    Raises:
        ValueError: when there is no such split; names the source.
    """
    split = "test" if split in ("online", "testing") else split
    if split not in SPLITS:
        raise ValueError(f"{source}: split must be one of {SPLITS}, got {split!r}")
    return split


def _read_datalist(path: Path) -> list[Record]:
    try:
        lists = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(lists, dict) or not all(isinstance(items, list) for items in lists.values()):
        raise ValueError(f"{path}: expected lists of records by split, {{'training': [...], ...}}")
    records = []
    for split, items in lists.items():
        for number, item in enumerate(items):
            where = f"{path}: {split}[{number}]"
            if not isinstance(item, dict) or not isinstance(item.get("frames"), list) or not item["frames"]:
                raise ValueError(f"{where}: expected a record with 'frames', a list of image files")
            record = {
                "patient": f"{split}-{number}",
                "slice": 0,
                "pathology": None,
                "ed": None,
                "es": None,
                "spacing": None,
                **item,
                "split": split_name(split, path),
                "frames": [str(path.parent / frame) for frame in item["frames"]],
            }
            for name in STRUCTURES:
                record[name] = {int(i): str(path.parent / mask) for i, mask in item.get(name, {}).items()}
            records.append(record)
    if not records:
        raise FileNotFoundError(f"{path} lists no record")
    return records
