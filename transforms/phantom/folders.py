"""What phantoms have in common as files: a folder that is whole or not there, splits, and seeds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

__all__ = ["dealt_splits", "new_folder", "seed_of_patient"]


def seed_of_patient(seed: int, number: int) -> int:
    """With which the patient of a number, from 1, is made: two seeds share no patient."""
    return seed * 10_000 + number - 1


def dealt_splits(patients: int) -> list[str]:
    """Of each patient the split: about two thirds training, the rest half validation, half test.

    Raises:
        ValueError: for fewer than three patients, who cannot fill three splits.
    """
    if patients < 3:
        raise InputError(f"one patient in each of three splits needs 3 patients at least, got {patients}")
    held_out = max(1, round(patients / 6))
    return ["training"] * (patients - 2 * held_out) + ["validation"] * held_out + ["test"] * held_out


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to write to, which appears as ``folder`` when the block ends well, or not at all.

    Raises:
        FileExistsError: when the folder is there already and not empty.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder: choose another, or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir()
    try:
        yield unfinished
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
