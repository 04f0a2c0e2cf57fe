"""A record's files to tensors, as training and evaluation take them: the one reader that needs MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from .cine import ASSUMED_SPACING, read_frames, read_grid, read_mask, scale_intensity
from .errors import InputError
from .itk_files import is_itk
from .nifti_files import is_nifti

__all__ = ["LoadCined"]


class LoadCined(Transform):
    """A record (see :mod:`transforms.records`) to the same dictionary with its files read.

    Adds ``image``, a tensor (T, H, W) float16 with intensities scaled to [0, 1] between two percentiles of the whole
    cine; replaces each of ``structures`` by uint8 masks (H, W) by frame index, and leaves out the others; sets
    ``spacing`` to [row mm, column mm]: the record's, else the file's, else the assumed 1.28 mm, which
    ``spacing_assumed`` tells.

    Args:
        percentiles: lower and upper; a bright coil or vessel does not set the scale.
        structures: those whose masks are read, of ``lumen`` and ``epicardium``.

    Raises:
        FileNotFoundError, ValueError: name the file, what was found and what was expected.
    """

    def __init__(self, percentiles: tuple[float, float] = (1.0, 95.0), structures: Sequence[str] = ("lumen",)) -> None:
        self.structures = tuple(structures)
        self.percentiles = percentiles

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        frames, file_spacing = read_frames(record["frames"])
        item = {key: value for key, value in record.items() if key not in ("lumen", "epicardium")}
        item["image"] = torch.from_numpy(scale_intensity(frames, self.percentiles).astype(np.float16))
        for structure in self.structures:
            masks = {}
            for index, path in record.get(structure, {}).items():
                if not 0 <= index < len(frames):
                    raise InputError(
                        f"{path}: {structure} drawn on frame {index}; the cine has frames 0 to {len(frames) - 1}"
                    )
                grid = read_grid(record["frames"][0]) if is_nifti(path) or is_itk(path) else None
                masks[index] = torch.from_numpy(read_mask(path, frames.shape[1:], grid))
            item[structure] = masks
        spacing = record.get("spacing") or file_spacing
        item["spacing"] = [float(s) for s in spacing or ASSUMED_SPACING]
        item["spacing_assumed"] = spacing is None
        return item
