"""Where slices lie in the patient, and what lies there in other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from .dicom import MAX_PIXELS, numbers
from .errors import InputError

__all__ = ["on_grid", "slice_distance", "slice_grid"]


def slice_grid(header: pydicom.Dataset, path: str | Path) -> sitk.Image:
    """The pixel grid of a DICOM slice in the patient (PS3.3 C.7.6.2.1.1): an image (W, H, 1) without content.

    Its third spacing is that between slices, else the slice's thickness, else 1 mm.

    Args:
        header: with rows, columns, pixel spacing, position and orientation.
        path: what it is called in errors.

    Raises:
        InputError: when one of them is missing, no number, not finite or out of range, or row and column are no unit
            vectors at right angles; names file and attribute.
    """
    needed = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    found = {name: numbers(header, name, path) for name in needed}
    if missing := [name for name, values in found.items() if values is None]:
        raise InputError(f"{path}: has no place in space: lacks {', '.join(missing)}")
    (rows,), (columns,) = found["Rows"], found["Columns"]
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{path}: Rows x Columns = {rows:g} x {columns:g}; a slice may have {MAX_PIXELS} pixels")
    row, column = np.reshape(found["ImageOrientationPatient"], (2, 3))
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=0.01):
        raise InputError(f"{path}: ImageOrientationPatient is no pair of unit vectors at right angles")
    down, across = found["PixelSpacing"]
    image = sitk.Image([int(columns), int(rows), 1], sitk.sitkUInt8)
    image.SetSpacing([across, down, slice_distance(header, path) or 1.0])
    image.SetOrigin(found["ImagePositionPatient"])
    image.SetDirection(np.stack([row, column, np.cross(row, column)], 1).ravel().tolist())
    return image


def slice_distance(header: pydicom.Dataset, path: str | Path) -> float | None:
    """Between slices in mm, as a slice's own header has it: that of their middles, else the thickness; or None.

    Raises:
        InputError: as :func:`transforms.dicom.numbers`.
    """
    between, thickness = (numbers(header, name, path) for name in ("SpacingBetweenSlices", "SliceThickness"))
    found = between or thickness
    return abs(found[0]) if found else None


def on_grid(volume: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """A volume's nearest values on a slice's grid, (H, W): its own pixels, where the two share one."""
    volume = sitk.ConstantPad(volume, [0, 0, 1], [0, 0, 1])  # ITK has a volume of one slice hold its own plane alone
    sampled = sitk.Resample(volume, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, volume.GetPixelID())
    return sitk.GetArrayFromImage(sampled)[0]
