"""A record's files to tensors, as training and evaluation take them: the one reader that needs MONAI."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import Transform

from .cine import ASSUMED_SPACING, frame_numbers, read_frames, read_grid, scale_intensity
from .cine_files import CineStack, read_cine_stack
from .dicom import is_dicom
from .drawings import NothingDrawnError, read_structures
from .errors import InputError
from .itk_files import is_itk
from .nifti_files import is_nifti
from .paths import check_file
from .structures import STRUCTURES, Labels

__all__ = ["LoadCined"]


class LoadCined(Transform):
    """A record (see :mod:`transforms.records`) to the same dictionary with its files read.

    Adds ``image``, a tensor (T, H, W) float16 with intensities scaled to [0, 1] between two percentiles of the whole
    cine; replaces each of ``structures`` by uint8 masks (H, W) by frame index, and leaves out the others; sets
    ``spacing`` to [row mm, column mm]: the record's, else the file's, else the assumed 1.28 mm, which
    ``spacing_assumed`` tells.

    Args:
        percentiles: lower and upper; a bright coil or vessel does not set the scale.
        structures: those whose masks are read, of :data:`transforms.structures.STRUCTURES`.

    Raises:
        FileNotFoundError, ValueError: name the file, what was found and what was expected.
    """

    def __init__(self, percentiles: tuple[float, float] = (1.0, 95.0), structures: Sequence[str] = ("lumen",)) -> None:
        self.structures = tuple(structures)
        self.percentiles = percentiles

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if record.get("file_slice") is None:
            frames, file_spacing = read_frames(record["frames"])
            drawings, number = _Drawings(_one_slice(record, frames)), 0
        else:
            drawings, number = _file_of(record), record["file_slice"]
            frames, file_spacing = _slice_of_file(record, drawings.cine(None))
        item = {key: value for key, value in record.items() if key not in STRUCTURES}
        item["image"] = torch.from_numpy(scale_intensity(frames, self.percentiles).astype(np.float16))
        for structure in self.structures:
            masks = {}
            for index, path in (record.get(structure) or {}).items():
                if not 0 <= index < len(frames):
                    raise InputError(
                        f"{path}: {structure} drawn on frame {index}; the cine has frames 0 to {len(frames) - 1}"
                    )
                mask = drawings.mask(path, structure, record.get("labels"), number, index)
                masks[index] = torch.from_numpy(mask.astype(np.uint8))
            item[structure] = masks
        spacing = record.get("spacing") or file_spacing
        item["spacing"] = [float(s) for s in spacing or ASSUMED_SPACING]
        item["spacing_assumed"] = spacing is None
        return item


class _Drawings:
    """What is drawn on a cine, each file of it read once.

    Args:
        cine: on which the file of a path is drawn.
    """

    def __init__(self, cine: Callable[[str | None], CineStack]) -> None:
        self.cine = cine
        self._read: dict[Any, dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()

    def mask(self, path: str, structure: str, labels: Labels, number: int, frame: int) -> np.ndarray:
        """A structure on a slice and frame, (H, W) bool, all False where it is not drawn; without ``labels`` a file
        holds one structure, whichever."""
        key = (_state(path), repr(labels))
        cine = self.cine(path)
        with self._lock:
            if key not in self._read:
                try:
                    self._read[key] = read_structures(path, cine, labels, lumen_needed=False)
                except NothingDrawnError:
                    self._read[key] = {}
            masks = self._read[key].get("lumen" if labels is None else structure)
        if masks is None:
            return np.zeros(cine.images.shape[2:], bool)
        return masks[number, frame if masks.shape[1] > 1 else 0]


def _one_slice(record: Mapping[str, Any], frames: np.ndarray) -> Callable[[str | None], CineStack]:
    """A record's frames as a cine of one slice; its place is read for drawings that have one."""

    def cine(path: str | None) -> CineStack:
        of_dicom = path is not None and is_dicom(path)
        grid = read_grid(record["frames"][0]) if path and (of_dicom or is_nifti(path) or is_itk(path)) else None
        placed = grid is not None
        if grid is None:
            grid = sitk.Image([frames.shape[2], frames.shape[1], 1], sitk.sitkUInt8)
        files = [Path(frame) for frame in record["frames"]]
        if not (of_dicom and is_dicom(files[0])):
            return CineStack(frames[None], [grid], (1.0, 1.0), None, placed=placed)
        numbers = [frame_numbers(files[0])] if len(files) == 1 else []
        files = files * len(frames) if numbers else files
        return CineStack(frames[None], [grid], (1.0, 1.0), None, files=[files], frame_numbers=numbers, placed=placed)

    return cine


def _slice_of_file(record: Mapping[str, Any], cine: CineStack) -> tuple[np.ndarray, tuple[float, float]]:
    """The frames (T, H, W) of a record's slice of a file with several, and their spacing."""
    number, slices = record["file_slice"], len(cine.images)
    if number >= slices:
        raise InputError(f"{record['frames'][0]}: has slices 0 to {slices - 1}, found 'file_slice' {number}")
    return cine.images[number], cine.spacing


_reading = threading.Lock()  # MONAI's data sets load by threads


def _file_of(record: Mapping[str, Any]) -> _Drawings:
    """What is drawn on a cine of several slices in one file: read once for the records that share it."""
    if len(record["frames"]) != 1:
        raise InputError(f"expected one file with all frames beside 'file_slice', found {len(record['frames'])}")
    with _reading:
        return _last_file(*_state(record["frames"][0]))


@functools.lru_cache(maxsize=1)
def _last_file(path: str, *state: int) -> _Drawings:
    cine = read_cine_stack(path)
    return _Drawings(lambda _: cine)


def _state(path: str) -> tuple[str, int, int]:
    check_file(path)
    state = Path(path).stat()
    return str(path), state.st_size, state.st_mtime_ns
