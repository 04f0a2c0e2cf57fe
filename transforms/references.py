"""Which of a cine's images a DICOM object refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom

from .dicom import read_dicom
from .errors import InputError

if TYPE_CHECKING:
    from .cine_files import CineStack

__all__ = ["Reference", "check_times", "check_used", "instances", "referred", "slices_of"]

Reference = tuple[str, int | None]  # a SOP Instance UID and, of a file of several frames, a number from 1


def instances(cine: CineStack) -> dict[Reference, tuple[int, int]]:
    """Slice and frame by what refers to them.

    Raises:
        InputError: when two of the cine's images have one UID, so that what refers to it may mean either.
    """
    known: dict[Path, str] = {}
    found: dict[Reference, tuple[int, int]] = {}
    for number, files in enumerate(cine.files):
        for time, file in enumerate(files):
            if file not in known:
                known[file] = str(read_dicom(file, pixels=False).get("SOPInstanceUID"))
            reference = known[file], cine.frame_numbers[number][time] if cine.frame_numbers else None
            if reference in found:
                first = cine.files[found[reference][0]][found[reference][1]]
                raise InputError(f"{file}: has the SOP Instance UID of {first}: a drawing may mean either")
            found[reference] = (number, time)
    return found


def referred(images: Iterable[pydicom.Dataset]) -> Iterator[Reference]:
    """What the images of a sequence are called: of a file of one frame by its UID alone, else by UID and the frame's
    number. One that names no frame of several says nothing of time."""
    for image in images:
        uid, numbers = str(image.get("ReferencedSOPInstanceUID")), image.get("ReferencedFrameNumber")
        yield uid, None
        if numbers is not None:
            yield from ((uid, int(number)) for number in np.atleast_1d(numbers))


def slices_of(depths: np.ndarray, cine: CineStack) -> list[list[int]]:
    """Of each slice which things without time lie on it, the nearest first: those whose nearest slice it is, and that
    lie within half the distance between slices.

    Args:
        depths: (S, N) mm of N things from each slice's plane, along its normal.
        cine: of S slices.
    """
    away = np.abs(depths)
    reach = (cine.distance or cine.grids[0].GetSpacing()[2]) / 2
    nearest = away.argmin(0)
    return [
        sorted(np.flatnonzero((nearest == number) & (away[number] <= reach)).tolist(), key=lambda n: away[number, n])
        for number in range(len(away))
    ]


def check_times(name: str, what: str, timed: int, timeless: int) -> None:
    """Check that all of what is drawn on the cine's slices says on which of its images, or none of it does.

    Args:
        name: of the file, in errors.
        what: things they are, in errors.
        timed, timeless: how many refer to the cine's images, and how many refer to none of them.

    Raises:
        InputError: when both do.
    """
    if timed and timeless:
        raise InputError(
            f"{name}: {timed} {what} refer to the cine's images and {timeless} on its slices to none: of which time "
            "are those?"
        )


def check_used(path: str | Path, what: str, drawn: int, used: int) -> None:
    """Check that all of what is drawn lies on the cine.

    Args:
        path: of the file, in errors.
        what: that says what is drawn, in errors.
        drawn: of how many things.
        used: how many of them lie on a slice.

    Raises:
        InputError: when only some do. Where none does, what is read is empty, which its reader says.
    """
    if 0 < used < drawn:
        raise InputError(f"{path}: {what}, of which only {used} lie where the cine's slices do")
