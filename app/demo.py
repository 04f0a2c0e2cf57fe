"""A drawing to begin with: what a reader would draw on a phantom's end-diastole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dirnet.files.segments import write_segments
from transforms.cine_files import CineStack, read_cine_stack
from transforms.phantom import Phantom
from transforms.structures import PRESETS

__all__ = ["write_drawing"]


def write_drawing(path: Path, series: Path, phantom: Phantom) -> int:
    """Write both ventricles and the wall of a phantom at end-diastole, on all slices, as 3D Slicer's segmentation.

    Args:
        path: that ends in ``.seg.nrrd``.
        series: folder of its cine, by :func:`transforms.phantom.write_scd`.
        phantom: of which the cine is.

    Returns:
        the frame, from 0.
    """
    cine, values = read_cine_stack(series), PRESETS["mnms"]
    numbers = [int(files[0].stem.rpartition("-")[2]) - 1 for files in cine.files]  # DICOM's, through slices and frames
    labels = np.zeros((len(cine.images), *cine.images.shape[2:]), np.uint8)
    for drawn, number in zip(labels, numbers, strict=True):
        slice_ = number // phantom.phases
        drawn[phantom.rv(slice_, phantom.ed)] = values["rv"]
        drawn[phantom.epicardium(slice_, phantom.ed)] = values["myocardium"]
        drawn[phantom.lumen(slice_, phantom.ed)] = values["lumen"]
    write_segments(path, labels, values, _grid(cine))
    return phantom.ed


def _grid(cine: CineStack) -> sitk.Image:
    first = cine.grids[0]
    grid = sitk.Image([*cine.images.shape[:1:-1], len(cine.images)], sitk.sitkUInt8)
    grid.SetDirection(first.GetDirection())
    grid.SetOrigin(first.GetOrigin())
    grid.SetSpacing((*first.GetSpacing()[:2], cine.distance))
    return grid
