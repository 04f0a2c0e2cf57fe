"""A record's files to tensors, as training and evaluation take them: the one reader that needs MONAI."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from .cine import ASSUMED_SPACING, read_frames, read_grid, read_labels, read_mask, scale_intensity
from .cine_files import read_cine_stack
from .drawings import read_structures
from .errors import InputError
from .itk_files import is_itk
from .nifti_files import is_nifti
from .paths import check_file
from .structures import STRUCTURES, from_labels

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
        several = None if record.get("file_slice") is None else _file_of(record)
        frames, file_spacing = read_frames(record["frames"]) if several is None else several.frames(record)
        item = {key: value for key, value in record.items() if key not in STRUCTURES}
        item["image"] = torch.from_numpy(scale_intensity(frames, self.percentiles).astype(np.float16))
        for structure in self.structures:
            masks = {}
            for index, path in (record.get(structure) or {}).items():
                if not 0 <= index < len(frames):
                    raise InputError(
                        f"{path}: {structure} drawn on frame {index}; the cine has frames 0 to {len(frames) - 1}"
                    )
                if several is None:
                    mask = _read_drawn(record, structure, index, frames.shape[1:])
                else:
                    mask = several.drawn(record, structure, index)
                masks[index] = torch.from_numpy(mask.astype(np.uint8))
            item[structure] = masks
        spacing = record.get("spacing") or file_spacing
        item["spacing"] = [float(s) for s in spacing or ASSUMED_SPACING]
        item["spacing_assumed"] = spacing is None
        return item


def _read_drawn(record: Mapping[str, Any], structure: str, frame: int, size: tuple[int, ...]) -> np.ndarray:
    """A structure drawn on a frame of files of one slice, (H, W)."""
    path, labels = record[structure][frame], record.get("labels")
    grid = read_grid(record["frames"][0]) if is_nifti(path) or is_itk(path) else None
    if labels is None:
        return read_mask(path, size, grid)
    image = read_labels(path, size, grid, frame)
    return from_labels(image, labels, path, lumen_needed=False).get(structure, np.zeros(size, bool))


class _FileOfSlices:
    """A cine of several slices in one file, and what is drawn on it: read once for the records that share them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.cine = read_cine_stack(path)
        self._drawings: dict[Any, dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()

    def frames(self, record: Mapping[str, Any]) -> tuple[np.ndarray, tuple[float, float]]:
        """The frames (T, H, W) of a record's slice, and their spacing."""
        slices = len(self.cine.images)
        if record["file_slice"] >= slices:
            raise InputError(f"{self.path}: has slices 0 to {slices - 1}, found 'file_slice' {record['file_slice']}")
        return self.cine.images[record["file_slice"]], self.cine.spacing

    def drawn(self, record: Mapping[str, Any], structure: str, frame: int) -> np.ndarray:
        """A structure drawn on a frame of a record's slice, (H, W)."""
        path, labels = record[structure][frame], record.get("labels")
        with self._lock:
            key = (_state(path), repr(labels))
            if key not in self._drawings:
                self._drawings[key] = read_structures(path, self.cine, labels)
            masks = self._drawings[key].get("lumen" if labels is None else structure)
        if masks is None:
            return np.zeros(self.cine.images.shape[2:], bool)
        return masks[record["file_slice"], frame if masks.shape[1] > 1 else 0]


_reading = threading.Lock()  # MONAI's data sets load by threads


def _file_of(record: Mapping[str, Any]) -> _FileOfSlices:
    if len(record["frames"]) != 1:
        raise InputError(f"expected one file with all frames beside 'file_slice', found {len(record['frames'])}")
    with _reading:
        return _last_file(*_state(record["frames"][0]))


@functools.lru_cache(maxsize=1)
def _last_file(path: str, *state: int) -> _FileOfSlices:
    return _FileOfSlices(path)


def _state(path: str) -> tuple[str, int, int]:
    check_file(path)
    state = Path(path).stat()
    return str(path), state.st_size, state.st_mtime_ns
