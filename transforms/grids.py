"""Where slices lie in the patient, and what lies there in other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from .errors import InputError

__all__ = ["check_place", "on_grid", "slice_grid"]

LONGEST_PIXEL = 1000.0  # mm
FARTHEST = 1e6  # mm from the origin


def slice_grid(header: pydicom.Dataset, path: str | Path) -> sitk.Image:
    """The pixel grid of a DICOM slice in the patient (PS3.3 C.7.6.2.1.1): an image (W, H, 1) without content.

    Its third spacing is that between slices, else the slice's thickness, else 1 mm.

    Args:
        header: with rows, columns, pixel spacing, position and orientation.
        path: what it is called in errors.

    Raises:
        ValueError: when they are no numbers, a spacing is not above 0, or row and column are no unit vectors at
            right angles.
    """
    try:
        origin = [float(v) for v in header.ImagePositionPatient]
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        down, across = (float(v) for v in header.PixelSpacing)
        between = [float(header.get(name) or 0) for name in ("SpacingBetweenSlices", "SliceThickness")]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: its place in space is not written in numbers") from error
    if not min(down, across) > 0:
        raise InputError(f"{path}: expected a PixelSpacing above 0, found {down:g} x {across:g} mm")
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=0.01):
        raise InputError(f"{path}: ImageOrientationPatient is no pair of unit vectors at right angles")
    image = sitk.Image([int(header.Columns), int(header.Rows), 1], sitk.sitkUInt8)
    image.SetSpacing([across, down, next((s for s in between if s > 0), 1.0)])
    image.SetOrigin(origin)
    image.SetDirection(np.stack([row, column, np.cross(row, column)], 1).ravel().tolist())
    return image


def check_place(image: sitk.Image, name: str | Path) -> None:
    """Check that an image's spacing, origin and direction are ones that a resampling comes to an end with.

    Args:
        image: of any size.
        name: what it is called in errors.

    Raises:
        ValueError: when one is not finite, a spacing is not above 0, or an axis leads nowhere.
    """
    spacing, direction = np.array(image.GetSpacing()), np.reshape(image.GetDirection(), (image.GetDimension(), -1))
    if not ((spacing > 0) & (spacing <= LONGEST_PIXEL))[:3].all():  # nan too
        raise InputError(f"{name}: expected a pixel spacing above 0 mm, found {' x '.join(f'{s:g}' for s in spacing)}")
    if not (np.abs(image.GetOrigin()) <= FARTHEST).all():
        raise InputError(f"{name}: expected an origin in mm, found {image.GetOrigin()}")
    if not np.allclose(direction.T @ direction, np.eye(len(direction)), atol=0.01):
        raise InputError(f"{name}: expected axes of length 1 at right angles, found {image.GetDirection()}")


def on_grid(volume: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """A volume's nearest values on a slice's grid, (H, W): its own pixels, where the two share one."""
    volume = sitk.ConstantPad(volume, [0, 0, 1], [0, 0, 1])  # ITK has a volume of one slice hold its own plane alone
    sampled = sitk.Resample(volume, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, volume.GetPixelID())
    return sitk.GetArrayFromImage(sampled)[0]
