"""Two slices of different size or pixel spacing on one grid, by their places in space."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

__all__ = ["LEAST_COVERED", "covered_share", "grids_differ", "onto_grid", "resample", "warn_of_planes"]

logger = logging.getLogger(__name__)

SAME_SPACING = 1e-3  # relative: headers round
MOST_TILTED = 2.0  # degrees between the planes
LEAST_COVERED = 0.5  # of the fixed image


def grids_differ(moving: sitk.Image, fixed: sitk.Image) -> bool:
    """Whether two slices differ in size or pixel spacing; spacings of 1 mm, which arrays and pictures have, are taken
    for unknown where the image has no place in space."""
    known = [image.GetDimension() == 3 or image.GetSpacing() != (1.0, 1.0) for image in (moving, fixed)]
    here, there = (image.GetSpacing()[:2] for image in (moving, fixed))
    return moving.GetSize()[:2] != fixed.GetSize()[:2] or (
        all(known) and not np.allclose(here, there, rtol=SAME_SPACING, atol=0)
    )


def onto_grid(moving: sitk.Image, fixed: sitk.Image, placed: bool, names: Sequence[str]) -> sitk.Image:
    """A slice on the grid of another, by their places in space; linear, and beyond its border that repeats.

    Args:
        moving, fixed: of one plane; of any size and spacing.
        placed: whether both have a place in space; (W, H, 1) then.
        names: of the two, in errors and in the line that says so.

    Raises:
        InputError: when one has no place in space, they lie in different planes, or the one covers less than half of
            the other.
    """
    sizes = ", ".join(f"{name} has {_grid(image)}" for name, image in zip(names, (moving, fixed), strict=True))
    differ = f"moving and fixed differ in size or pixel spacing (rows x columns): {sizes}"
    if not placed:
        raise InputError(f"{differ}; to be resampled by their places, both need one, as DICOM has and NIfTI may have")
    if planes := _planes_differ(moving, fixed):
        raise InputError(f"{differ}; {planes}: no one slice")
    share = covered_share(moving, fixed)
    if share < LEAST_COVERED:
        raise InputError(f"{differ}; {names[0]} covers {100 * share:.0f} % of {names[1]} alone")
    part = "" if share > 0.999 else f", of which it covers {100 * share:.0f} %"
    logger.warning(f"{differ}; moving is resampled onto the fixed image's grid by their places in space{part}")
    return resample(moving, fixed, sitk.Transform())


def covered_share(moving: sitk.Image, fixed: sitk.Image) -> float:
    """The part of the pixels of ``fixed`` that lie in ``moving``, 0 to 1."""
    ones = sitk.Image(moving.GetSize(), sitk.sitkUInt8) + 1
    ones.CopyInformation(moving)
    covered = sitk.Resample(ones, fixed, sitk.Transform(), sitk.sitkNearestNeighbor)
    return float(sitk.GetArrayViewFromImage(covered).mean())


def warn_of_planes(moving: sitk.Image, fixed: sitk.Image, names: Sequence[str]) -> None:
    """Say where two slices of one grid, both with a place in space, do not lie in one plane; they are registered pixel
    by pixel all the same."""
    if planes := _planes_differ(moving, fixed):
        logger.warning(f"{names[0]} and {names[1]}: {planes}; registered pixel by pixel all the same")


def _planes_differ(moving: sitk.Image, fixed: sitk.Image) -> str:
    """How two slices lie in space, where that is not in one plane; else empty."""
    normals = [np.reshape(image.GetDirection(), (3, 3))[:, 2] for image in (moving, fixed)]
    tilt = np.degrees(np.arccos(min(1.0, abs(float(normals[0] @ normals[1])))))
    centre = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    apart = abs(float(normals[0] @ np.subtract(centre, moving.GetOrigin())))
    if tilt <= MOST_TILTED and apart <= moving.GetSpacing()[2] / 2:
        return ""
    return f"their planes lie {apart:.1f} mm apart, tilted by {tilt:.0f} degrees"


def resample(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """Linear, float32; beyond its border, that repeats."""
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(grid)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    return resampler.Execute(image)


def _grid(image: sitk.Image) -> str:
    (columns, rows), (x, y) = image.GetSize()[:2], image.GetSpacing()[:2]
    return f"{rows}x{columns} of {y:.3g} x {x:.3g} mm"
