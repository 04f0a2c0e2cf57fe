"""Records of volumes: what there is to read in 3-D, the same plain dictionary for every source.

A record is one volume of one patient::

    {"patient": "hippocampus_001", "split": "training",
     "image": path,                               # NIfTI, NRRD or MetaImage
     "label": path,                               # a label volume drawn on it, or None
     "labels": {"Anterior": 1, "Posterior": 2}}   # its structures, by which value stands for each; the same in all

Splits are those of :mod:`transforms.records`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from .errors import InputError
from .paths import stem
from .phantom import write_volumes
from .records import SPLITS, Record, kind_of, read_datalist, read_json
from .volume_files import is_volume, label_values, read_volume

__all__ = ["read_volume_records"]

logger = logging.getLogger(__name__)

SHARES = (("training", 0.70), ("validation", 0.85), ("test", 1.0))  # up to which part of a folder's sorted names
MOST_STRUCTURES = 256


def read_volume_records(dataset_dir: str | Path | None, phantom_dir: str | Path) -> list[Record]:
    """Records of a datalist JSON or of a folder of volumes; without either, of the phantom.

    A datalist is MONAI's: ``{"training": [{"image": path, "label": path, "patient": name}, ...], "validation": ...,
    "test": ...}``, with paths relative to its folder; all but ``image`` may be left out. Its ``labels`` name the
    values, ``{"1": "Anterior"}`` or ``{"Anterior": 1}``; ``background`` and 0 are passed over.

    A folder holds ``images``, or ``imagesTr`` and others that begin so, and beside them ``labels``, ``labelsTr``, ...,
    with files of equal names, as the Medical Segmentation Decathlon has them. Its ``dataset.json`` names the values, if
    it is there. Each file is a patient's. Of the sorted names the first 70 % are training, the next 15 % validation,
    the rest test. Images without a folder of labels are passed over where others have one.

    Where no values are named, all label files are read, and what they hold is called ``label_1``, ``label_2``, ....

    Args:
        dataset_dir: the datalist or the folder, or None.
        phantom_dir: where the phantom's files are written, if they are not there yet.

    Raises:
        FileNotFoundError: when ``dataset_dir`` does not exist, or holds no volume.
        ValueError: when it does not have the form expected.
    """
    if dataset_dir is None:
        logger.info("no dataset_dir given: using the phantom volumes that the project makes")
        if not Path(phantom_dir).is_dir():
            write_volumes(phantom_dir)
        return _of_datalist(Path(phantom_dir) / "datalist.json")
    path = Path(dataset_dir)
    if path.is_file():
        return _of_datalist(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f"dataset_dir '{path}' does not exist; expected a folder with images and labels, or a datalist JSON"
        )
    return _of_folder(path)


def _of_datalist(path: Path) -> list[Record]:
    lists = read_json(path)
    records = read_datalist(path, lists, _datalist_record)
    return _with_labels(records, _named_values(lists.get("labels"), path))


def _datalist_record(item: Any, split: str, number: int, path: Path) -> Record:
    where = f"{path}: {split}[{number}]"
    if isinstance(item, str):  # the Decathlon's test images
        item = {"image": item}
    if not isinstance(item, dict):
        raise InputError(f"{where}: expected a record, {{'image': path, ...}}, found {kind_of(item)}")
    for name, needed in (("image", True), ("label", False), ("patient", False)):
        value = item.get(name)
        if not (isinstance(value, str) and value) and (needed or value is not None):
            raise InputError(f"{where}: expected '{name}', a text, found {short(value)}")
    label = item.get("label")
    return {
        "patient": item.get("patient") or stem(item["image"]),
        "split": split,
        "image": str(path.parent / item["image"]),
        "label": str(path.parent / label) if label else None,
    }


def _of_folder(folder: Path) -> list[Record]:
    images = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name.startswith("images")]
    drawn = {sub: folder / sub.name.replace("images", "labels", 1) for sub in images}
    drawn = {sub: labels for sub, labels in drawn.items() if labels.is_dir()}
    for sub in images:
        if drawn and sub not in drawn:
            logger.warning("%s: passed over: there is no folder of labels beside it", sub)
    found = [
        (path, drawn[sub] / path.name if drawn else None)
        for sub in drawn or images
        for path in sub.iterdir()
        if is_volume(path) and not path.name.startswith(".")  # the Decathlon's archives hold ._ files of a Mac
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder}: holds no volume; expected folders images and labels, or imagesTr and labelsTr, with files of "
            "equal names as NIfTI, NRRD or MetaImage"
        )
    found.sort(key=lambda files: files[0].name)
    missing = [image for image, label in found if label is not None and not label.is_file()]
    if missing and len(missing) == len(found):
        raise InputError(f"{folder}: expected labels of the images' names, found none, not even {found[0][1]}")
    if missing:
        logger.warning("%s: %d of %d images have no label, %s for one", folder, len(missing), len(found), missing[0])
    ends = _ends(len(found))
    records = [
        {
            "patient": stem(image),
            "split": next(split for split, end in ends.items() if number < end),
            "image": str(image),
            "label": str(label) if label is not None and label.is_file() else None,
        }
        for number, (image, label) in enumerate(found)
    ]
    about = folder / "dataset.json"
    lists = read_json(about) if about.is_file() else {}
    return _with_labels(records, _named_values(lists.get("labels") if isinstance(lists, dict) else None, about))


def _ends(count: int) -> dict[str, int]:
    """Up to which of a folder's names each split goes; of six or more, two are left for validation and for test."""
    least = {"training": 4, "validation": 2, "test": 0} if count >= 6 else dict.fromkeys(SPLITS, 0)
    return {split: min(round(share * count), count - least[split]) for split, share in SHARES}


def _named_values(labels: Any, path: Path) -> dict[str, int] | None:
    """Values by structure, of either form; None where there are none."""
    if not labels:
        return None
    expected = f"{path}: labels: expected {{'1': 'Anterior', ...}} or {{'Anterior': 1, ...}}"
    if not isinstance(labels, dict):
        raise InputError(f"{expected}, found {kind_of(labels)}")
    by_value = all(key.isdecimal() and len(key) < 10 for key in labels)
    pairs = [(name, int(value)) for value, name in labels.items()] if by_value else list(labels.items())
    named = [(name, value) for name, value in pairs if value != 0 and name != "background"]
    good = all(isinstance(name, str) and name and type(value) is int and value > 0 for name, value in named)
    if not good or len(dict(named)) < len(named) or len({value for _, value in named}) < len(named):
        raise InputError(f"{expected}, each name and each value above 0 once; found {short(labels)}")
    return dict(named)


def _with_labels(records: Sequence[Record], labels: dict[str, int] | None) -> list[Record]:
    if labels is None:
        labels = {f"label_{value}": value for value in _values([record["label"] for record in records])}
    return [{**record, "labels": labels} for record in records]


def _values(paths: Sequence[str | None]) -> list[int]:
    """What label volumes hold beside 0."""
    found: set[int] = set()
    for path in paths:
        if path is None:
            continue
        found |= set(np.unique(label_values(read_volume(path), path)).tolist())
    if len(found) > MOST_STRUCTURES:
        raise InputError(f"the label files hold {len(found)} values; expected {MOST_STRUCTURES} structures at most")
    return sorted(found - {0})
