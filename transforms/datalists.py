"""Datalists: what a folder of cines holds, as the JSON that trainings and evaluations read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError
from .records import SPLITS, STRUCTURES, Record

__all__ = ["as_datalist", "fold_of"]


def as_datalist(records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """Records by split as :func:`transforms.sources.read_records` reads them from a JSON file, with absolute paths."""
    return {
        split: [_item(record) for record in records if record["split"] == split]
        for split in SPLITS
        if any(record["split"] == split for record in records)
    }


def fold_of(records: Sequence[Record], fold: int, folds: int) -> list[Record]:
    """Records for one part of a cross-validation: the patients of training and validation are dealt anew.

    Patients are dealt one by one in order of pathology group and name, so that each group is in all folds alike. The
    test split stays as it is.

    Args:
        records: of all splits.
        fold: whose patients are the validation, from 0.
        folds: how many there are.

    Raises:
        InputError: when there are fewer patients than folds, or no such fold.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise InputError(f"expected a fold from 0 to below the number of folds, 2 or more; got fold {fold} of {folds}")
    groups = {record["patient"]: record["pathology"] for record in records if record["split"] != "test"}
    patients = sorted(groups, key=lambda patient: (groups[patient], patient))
    if len(patients) < folds:
        raise InputError(f"{len(patients)} patients of training and validation, too few for {folds} folds")
    held_out = set(patients[fold::folds])
    return [
        record
        if record["split"] == "test"
        else {**record, "split": "validation" if record["patient"] in held_out else "training"}
        for record in records
    ]


def _item(record: Record) -> dict[str, Any]:
    item = {key: value for key, value in record.items() if key != "split"}
    item["frames"] = [str(Path(path).resolve()) for path in record["frames"]]
    for structure in STRUCTURES:
        files = record.get(structure) or {}
        item[structure] = {str(frame): str(Path(path).resolve()) for frame, path in files.items()}
    return item
