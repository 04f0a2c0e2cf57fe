"""Stacks of slices at one time: volumes in NIfTI, NRRD and MetaImage, and DICOM series of one image at each place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .dicom import is_dicom, numbers, read_dicom
from .dicom_series import Frame, dicom_frames, find_series, one_phase, read_pixels, slice_gaps, unequal, usual_gap
from .errors import InputError
from .grids import check_place, slice_grid
from .itk_files import is_itk, read_itk
from .nifti_files import SLICES_APART, is_nifti, read_nifti
from .paths import check_file
from .values import check_finite

__all__ = ["check_slices", "is_stack", "read_slices"]


def is_stack(path: str | Path) -> bool:
    """Whether a path is a folder, or a file of several slices or frames.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return True
    check_file(path)
    if is_nifti(path) or is_itk(path):
        image = read_nifti(path).image if is_nifti(path) else read_itk(path)
        return any(size > 1 for size in image.GetSize()[2:])
    return is_dicom(path) and (numbers(read_dicom(path, pixels=False), "NumberOfFrames", path) or (1,))[0] > 1


def read_slices(path: str | Path) -> tuple[sitk.Image, bool]:
    """The slices of a stack at one time.

    Args:
        path: NIfTI, NRRD or MetaImage (x, y, slice); a DICOM file of several frames, or a folder of such files.

    Returns:
        (W, H, S), and whether its place in the patient is known.

    Raises:
        FileNotFoundError: when there is nothing there.
        InputError: when it cannot be read, or is anything else than parallel slices at one time, equally far apart.
    """
    path = Path(path)
    if path.is_dir():
        return _of_frames(_series_of(path)), True
    check_file(path)
    if is_nifti(path):
        nifti = read_nifti(path)
        image, placed = nifti.image, nifti.placed
        low, high = SLICES_APART
        if image.GetDimension() == 3 and placed and not low <= image.GetSpacing()[2] <= high:
            raise InputError(
                f"{path}: expected slices of one time, found {image.GetSize()} with a third axis of "
                f"{image.GetSpacing()[2]:g}: slices lie {low:g} to {high:g} mm apart. Is it time? Volumes need weights "
                "of volumes (--weights hippocampus)"
            )
    elif is_itk(path):
        image, placed = read_itk(path), True
    elif is_dicom(path):
        return _of_frames(dicom_frames(path, read_dicom(path))), True
    else:
        raise InputError(f"{path}: expected slices of one time in NIfTI, NRRD, MetaImage or DICOM")
    check_slices(image, path)
    return image, placed


def check_slices(image: sitk.Image, name: str | Path) -> None:
    """Check that an image is a grey stack of slices.

    Raises:
        InputError: when it is not, or holds values that are not finite.
    """
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name}: expected grey slices, found {image.GetNumberOfComponentsPerPixel()} components")
    if image.GetDimension() != 3 or image.GetSize()[2] < 2:
        raise InputError(f"{name}: expected slices of one time (x, y, slice), found an image of {image.GetSize()}")
    check_place(image, name)
    check_finite(sitk.GetArrayViewFromImage(image), name)


def _series_of(folder: Path) -> list[Frame]:
    """The frames of the one series in a folder that is a stack at one time."""
    found, reasons = [], []
    for series in find_series(folder):
        try:
            one_phase(series.frames)
        except InputError as error:
            reasons.append(f"{series}: {error}")
        else:
            found.append(series)
    if len(found) != 1:
        what = "; ".join(map(str, found)) if found else "; ".join(reasons[:3])
        raise InputError(f"{folder}: expected one series of one image at each place, found {len(found)}: {what}")
    return found[0].frames


def _of_frames(frames: list[Frame]) -> sitk.Image:
    slices = one_phase(frames)
    gaps = slice_gaps(slices)
    name = slices[0].path if len({frame.path for frame in slices}) == 1 else slices[0].path.parent
    if unequal(gaps):
        raise InputError(
            f"{name}: its slices lie {gaps.min():.2f} to {gaps.max():.2f} mm apart; expected equal distances, as a "
            "volume has; register them slice by slice"
        )
    pixels = read_pixels(slices)
    grid = slice_grid(slices[0].header, slices[0].path)
    image = sitk.GetImageFromArray(np.stack([pixels[frame] for frame in slices]))
    image.SetSpacing((*grid.GetSpacing()[:2], usual_gap(gaps)))
    image.SetOrigin(grid.GetOrigin())
    image.SetDirection(grid.GetDirection())
    return image
