"""Registration of volumes by a 3-D network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from transforms.cine import scale_intensity
from transforms.dicom import is_dicom
from transforms.grids import check_place
from transforms.stacks import read_slices
from transforms.volume_files import label_on, read_volume

from .errors import InputError
from .fields.displacement import Displacement
from .files.images import as_array
from .files.itk import ddf_from_image, displacement_image, displacement_transform, parts_transform
from .files.regrid import LEAST_COVERED, covered_share, resample
from .registration import RegistrationResult

__all__ = ["Volume", "VolumeRegistration", "as_volume"]

Volume = np.ndarray | Tensor | sitk.Image | str | Path


@dataclass(frozen=True, eq=False)
class VolumeRegistration(RegistrationResult):
    """How one volume lies on another.

    Attributes:
        moving, fixed: volumes (W, H, D) as they were given.
        warped: moving with its own intensities on the grid of fixed, (D, H, W) float32, resampled once, linearly;
            beyond the moving volume its border repeats.
        ddf: displacement field (3, D, H, W) in voxels of the grid of fixed, (slice, row, column), from each voxel's own
            place: ``warped(x) = moving(x + ddf(x))`` where both lie at their places in the patient.
        transform: the same as an ITK transform of points in mm, exact between voxels too: affine maps and splines,
            where the network gives these.
        folded_percent: voxels where the field folds, 0 to 100.
        ncc_before, ncc_after: normalised cross-correlation of moving and of warped with fixed.
        ncc_network: as ``ncc_after``, before any refinement.
        seen: moving as the network saw it, resampled onto the grid of fixed, in [0, 1].
    """

    moving: sitk.Image
    fixed: sitk.Image
    warped: np.ndarray
    ddf: np.ndarray
    transform: sitk.Transform
    folded_percent: float
    ncc_before: float
    ncc_network: float
    ncc_after: float
    seen: sitk.Image

    @property
    def ddf_ends_in(self) -> sitk.Image:
        return self.fixed

    def itk_transform(self) -> sitk.Transform:
        return self.transform

    def shown(self) -> list[dict[str, Any]]:
        """Three planes, their axes turned to those of the patient; moving as the network saw it."""
        from .files.pictures import planes_of  # here: it imports matplotlib

        fixed = sitk.DICOMOrient(self.fixed, "LPS")
        images = {
            "fixed": fixed,
            "moving": sitk.DICOMOrient(self.seen, "LPS"),
            "warped": sitk.DICOMOrient(self.warped_image, "LPS"),
        }
        arrays = {name: scale_intensity(sitk.GetArrayViewFromImage(image)) for name, image in images.items()}
        field = sitk.DICOMOrient(displacement_image(self.ddf, self.fixed), "LPS")
        planes = planes_of({**arrays, "ddf": ddf_from_image(field)}, fixed.GetSpacing()[::-1])
        return [{**plane, "title": name} for name, plane in planes.items()]

    def warp_labels(self, labels: Volume) -> np.ndarray:
        """Labels drawn on the moving volume on the grid of fixed, (D, H, W): each label and the background warped
        linearly, the largest taken.

        Args:
            labels: whole numbers from 0, on the moving volume's voxels: a file or a SimpleITK image, at its place; or
                an array (D, H, W) in the order of axes of :attr:`moving`.

        Raises:
            FileNotFoundError: when it is a file that does not exist.
            InputError: when it is of another size or place, or holds other values.
        """
        drawn = _labels_on(labels, self.moving)
        values = [int(value) for value in np.unique(sitk.GetArrayViewFromImage(drawn)) if value]
        warped = np.zeros((len(values) + 1, *self.warped.shape), np.float32)
        for number, value in enumerate(values, 1):
            mask = sitk.Cast(drawn == value, sitk.sitkFloat32)
            warped[number] = sitk.GetArrayFromImage(resample(mask, self.fixed, self.transform))
        warped[0] = 1 - warped[1:].sum(0)  # the background, so that structures that touch leave no gap
        return np.array([0, *values], np.uint16)[warped.argmax(0)]


def as_volume(image: Volume, name: str) -> tuple[sitk.Image, bool]:
    """A grey volume (W, H, D), and whether it says where it lies in the patient.

    Args:
        image: an array or tensor (D, H, W), of voxels of 1 mm; a SimpleITK image; a NIfTI, NRRD or
            MetaImage file; or a folder of a DICOM series of one volume.
        name: what it is called in errors.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is another thing, or holds values that are not finite.
    """
    if isinstance(image, str | Path):
        dicom = Path(image).is_dir() or (Path(image).is_file() and is_dicom(image))
        return read_slices(image) if dicom else (read_volume(image, turned=False), True)
    if hasattr(image, "affine"):
        raise InputError(f"{name}: expected an array, a SimpleITK image or a file, found {type(image).__name__}")
    if not isinstance(image, sitk.Image):
        array = as_array(image, name)
        if array.ndim != 3 or min(array.shape) < 2:
            raise InputError(f"{name}: expected a volume (D, H, W), found an array of {array.shape}")
        return sitk.GetImageFromArray(array), False
    if image.GetDimension() != 3 or min(image.GetSize()) < 2 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name}: expected one grey volume, found a SimpleITK image of size {image.GetSize()}")
    check_place(image, name)
    as_array(sitk.GetArrayViewFromImage(image), name)
    return image, True


def placed_pair(
    moving: tuple[sitk.Image, bool], fixed: tuple[sitk.Image, bool], align: str
) -> tuple[sitk.Image, sitk.Image]:
    """Two volumes of :func:`as_volume` that can be registered.

    Raises:
        InputError: when they are to be registered by their places, and one alone has a place and they differ in size,
            or the moving one covers less than half of the fixed one.
    """
    (here, here_placed), (there, there_placed) = moving, fixed
    advice = "register them by their middles: align centers (--align centers)"
    if align != "place":
        return here, there
    if here_placed != there_placed:
        if here.GetSize() != there.GetSize():
            raise InputError(
                f"{'fixed' if here_placed else 'moving'} has no place in space, and moving {here.GetSize()} and fixed "
                f"{there.GetSize()} (x, y, z) differ in size; {advice}"
            )
        plain, placed = (there, here) if here_placed else (here, there)
        plain = sitk.Image(plain)
        plain.CopyInformation(placed)
        here, there = (placed, plain) if here_placed else (plain, placed)
    share = covered_share(here, there)
    if share < LEAST_COVERED:
        raise InputError(f"moving covers {100 * share:.0f} % of fixed, where the two lie; {advice}")
    return here, there


def field_on(
    displacement: Displacement, grid: sitk.Image, moving_grid: sitk.Image, fixed: sitk.Image
) -> tuple[np.ndarray, sitk.Transform]:
    """A network's displacement (a batch of one) as a field on the grid of fixed, and as a transform.

    Args:
        displacement: on ``grid``.
        grid: the grid of fixed, its axes turned to LPS.
        moving_grid: of the same size and axes, where the network's moving image lies.
        fixed: with its axes as they were given.
    """
    parts = displacement.parts
    transform = (
        parts_transform(parts, grid, moving_grid)
        if parts
        else displacement_transform(displacement.ddf[0], grid, moving_grid)
    )
    field = turned_like(displacement_image(displacement.ddf[0], grid, moving_grid), fixed)
    return ddf_from_image(field), transform


def turned_like(image: sitk.Image, other: sitk.Image) -> sitk.Image:
    """A volume with its axes in the order and directions of another on the same voxels."""
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(other.GetDirection())
    turned = sitk.DICOMOrient(image, code)
    turned.CopyInformation(other)  # the same to rounding
    return turned


def _labels_on(labels: Volume, moving: sitk.Image) -> sitk.Image:
    if isinstance(labels, str | Path | sitk.Image):
        image = read_volume(labels) if isinstance(labels, str | Path) else sitk.DICOMOrient(labels, "LPS")
        name = labels if isinstance(labels, str | Path) else "labels"
        return turned_like(label_on(image, sitk.DICOMOrient(moving, "LPS"), name), moving)
    array = as_array(labels, "labels")
    if array.shape != moving.GetSize()[::-1] or (array != np.round(array)).any() or (array < 0).any():
        raise InputError(
            f"labels: expected whole numbers from 0 of the moving volume's shape {moving.GetSize()[::-1]}, found "
            f"values from {array.min():g} to {array.max():g}, shape {array.shape}"
        )
    image = sitk.GetImageFromArray(array.astype(np.uint16))
    image.CopyInformation(moving)
    return image
