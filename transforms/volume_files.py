"""Grey and label volumes from files, turned to one orientation, and one volume on the grid of another.

Volumes are SimpleITK images (W, H, D) in LPS; arrays of them are (slice, row, column), as ``sitk.GetArrayFromImage``
has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .cine import scale_intensity
from .errors import InputError
from .grids import LONGEST_PIXEL, check_place
from .itk_files import is_itk, read_itk
from .nifti_files import is_nifti, read_nifti
from .paths import check_file
from .values import check_finite, listed

__all__ = [
    "ALIGNMENTS",
    "PERCENTILES",
    "is_volume",
    "label_on",
    "label_values",
    "moved_onto",
    "read_label",
    "read_volume",
    "resampled",
    "scaled",
]

ALIGNMENTS = ("place", "centers")
PERCENTILES = (1.0, 99.0)  # which become 0 and 1
LARGEST_LABEL = 2**16 - 1
NEARLY = 0.01


def is_volume(path: str | Path) -> bool:
    """Whether a file is named as one of the formats that volumes are read from."""
    return is_nifti(path) or is_itk(path)


def read_volume(path: str | Path, turned: bool = True) -> sitk.Image:
    """One grey 3-D volume, of NIfTI, NRRD or MetaImage.

    Args:
        path: of the file.
        turned: whether its axes are turned to those of LPS that they are nearest to.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read whole, is of another format, in colour, of one slice or of several times, or
            holds values that are not finite.
    """
    check_file(path)
    if is_nifti(path):
        image = read_nifti(path).image
    elif is_itk(path):
        image = read_itk(path)
    else:
        raise InputError(f"{path}: expected a volume as NIfTI (.nii, .nii.gz), NRRD or MetaImage")
    size = image.GetSize()
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: expected a grey volume, found {image.GetNumberOfComponentsPerPixel()} components")
    if len(size) == 4 and size[3] > 1:
        raise InputError(f"{path}: expected one volume (x, y, z), found {size[3]} times of one")
    if len(size) == 4:
        image = image[..., 0]
    if len(size) < 3 or min(size[:3]) < 2:
        raise InputError(f"{path}: expected a volume of 2 voxels or more along each of 3 axes, found size {size}")
    check_place(image, path)
    check_finite(sitk.GetArrayViewFromImage(image), path)
    return sitk.DICOMOrient(image, "LPS") if turned else image


def read_label(path: str | Path, image: sitk.Image) -> sitk.Image:
    """A label volume drawn on ``image``, of :func:`read_volume`: uint16, 0 where nothing is drawn.

    Raises:
        FileNotFoundError, InputError: as :func:`read_volume`; and when it has other values than whole numbers from 0,
            or another size or place than the image.
    """
    return label_on(read_volume(path), image, path)


def label_on(label: sitk.Image, image: sitk.Image, path: str | Path) -> sitk.Image:
    """A label volume, uint16, if it lies on the voxels of ``image``; both with axes turned to LPS.

    Raises:
        InputError: as :func:`read_label`; names ``path``.
    """
    values = label_values(label, path)
    if label.GetSize() != image.GetSize():
        raise InputError(
            f"{path}: expected labels of the image's size {image.GetSize()} (x, y, z), found {label.GetSize()}"
        )
    if (apart := _apart(label, image)) > 0.5 * min(image.GetSpacing()):
        raise InputError(f"{path}: expected labels at the image's place, found their corners {apart:.2f} mm apart")
    label = sitk.GetImageFromArray(values)
    label.CopyInformation(image)
    return label


def label_values(label: sitk.Image, path: str | Path) -> np.ndarray:
    """The values of a label volume, uint16; what differs from a whole number by less than 0.01 is rounded, as a file
    that scales its values may hold.

    Raises:
        InputError: when they are no whole numbers from 0; names ``path``.
    """
    values = sitk.GetArrayViewFromImage(label)
    whole = np.round(values)
    odd = (np.abs(values - whole) > NEARLY) | (whole < 0) | (whole > LARGEST_LABEL)
    if odd.any():
        found = listed(np.unique(values[odd]).tolist())
        raise InputError(f"{path}: expected labels, whole numbers from 0; found {found}")
    return whole.astype(np.uint16)


def scaled(image: sitk.Image) -> sitk.Image:
    """A volume's intensities as float32 in [0, 1], between its percentiles 1 and 99."""
    result = sitk.GetImageFromArray(scale_intensity(sitk.GetArrayViewFromImage(image), PERCENTILES))
    result.CopyInformation(image)
    return result


def resampled(image: sitk.Image, pixdim: Sequence[float] | None, labels: bool = False) -> sitk.Image:
    """A volume with voxels of another size, over the same extent as nearly as whole voxels allow.

    Args:
        image: a volume.
        pixdim: mm, (slice, row, column); None leaves the volume as it is.
        labels: whether to take the nearest value, rather than to interpolate linearly.

    Raises:
        InputError: when ``pixdim`` is not three sizes above 0.
    """
    if pixdim is None:
        return image
    if len(pixdim) != 3 or not all(0 < size <= LONGEST_PIXEL for size in pixdim):
        raise InputError(f"pixdim: expected three voxel sizes in mm, got {pixdim!r}")
    spacing = np.array(pixdim[::-1], float)
    extent = np.multiply(image.GetSize(), image.GetSpacing())
    size = np.maximum(1, np.round(extent / spacing)).astype(int)
    axes = np.reshape(image.GetDirection(), (3, 3))
    origin = _centre(image) - axes @ ((size - 1) / 2 * spacing)
    return _sampled(image, size.tolist(), spacing.tolist(), origin.tolist(), image.GetDirection(), labels)


def moved_onto(moving: sitk.Image, fixed: sitk.Image, align: str = "place", labels: bool = False) -> sitk.Image:
    """``moving`` resampled onto the grid of ``fixed``: of its size, spacing and direction.

    Args:
        moving, fixed: volumes. Beyond its own extent, ``moving`` has its lowest value.
        align: "place": on the grid where ``fixed`` lies in the patient. "centers": on that grid shifted until its
            middle is that of ``moving``; the result's origin is the shifted one.
        labels: whether to take the nearest value, 0 beyond the extent, rather than to interpolate linearly.

    Raises:
        InputError: when there is no such alignment.
    """
    if align not in ALIGNMENTS:
        raise InputError(f"align: expected one of {', '.join(ALIGNMENTS)}, got {align!r}")
    shift = _centre(moving) - _centre(fixed) if align == "centers" else np.zeros(3)
    origin = (shift + fixed.GetOrigin()).tolist()
    return _sampled(moving, fixed.GetSize(), fixed.GetSpacing(), origin, fixed.GetDirection(), labels)


def _sampled(
    image: sitk.Image,
    size: Sequence[int],
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: Sequence[float],
    labels: bool,
) -> sitk.Image:
    how, kind = (sitk.sitkNearestNeighbor, image.GetPixelID()) if labels else (sitk.sitkLinear, sitk.sitkFloat32)
    beyond = 0.0 if labels else float(sitk.GetArrayViewFromImage(image).min())
    return sitk.Resample(
        image, size, sitk.Transform(3, sitk.sitkIdentity), how, origin, spacing, direction, beyond, kind
    )


def _centre(image: sitk.Image) -> np.ndarray:
    """The middle of a volume in mm, LPS."""
    middle = [(n - 1) / 2 for n in image.GetSize()]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(middle))


def _apart(one: sitk.Image, other: sitk.Image) -> float:
    """How far the corners of two grids of one size lie apart at most, in mm."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in one.GetSize()])).reshape(3, -1).T
    places = [
        [image.TransformIndexToPhysicalPoint([int(i) for i in corner]) for corner in corners] for image in (one, other)
    ]
    return float(np.linalg.norm(np.array(places[0]) - places[1], axis=1).max())
