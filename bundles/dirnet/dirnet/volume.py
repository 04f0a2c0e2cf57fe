"""Registration of volumes by a 3-D network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from transforms.dicom import is_dicom
from transforms.grids import check_place
from transforms.stacks import read_slices
from transforms.volume_files import read_label, read_volume

from .errors import InputError
from .fields.displacement import Displacement
from .files.images import as_array
from .files.itk import ddf_from_image, displacement_image, displacement_transform, parts_transform
from .files.regrid import resample

__all__ = ["Volume", "VolumeRegistration", "as_volume"]

Volume = np.ndarray | Tensor | sitk.Image | str | Path


@dataclass(frozen=True, eq=False)
class VolumeRegistration:
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

    def warp_labels(self, labels: Volume) -> np.ndarray:
        """Labels drawn on the moving volume on the grid of fixed, (D, H, W): each label warped linearly, the largest
        taken, 0 where none reaches 0.5.

        Args:
            labels: whole numbers from 0, of the moving volume's size; a file lies where it says.

        Raises:
            FileNotFoundError: when it is a file that does not exist.
            InputError: when it is of another size or place, or holds other values.
        """
        drawn = _labels_on(labels, self.moving)
        values = [int(value) for value in np.unique(sitk.GetArrayViewFromImage(drawn)) if value]
        warped = np.zeros((len(values) + 1, *self.warped.shape), np.float32)
        warped[0] = 0.5
        for number, value in enumerate(values, 1):
            mask = sitk.Cast(drawn == value, sitk.sitkFloat32)
            warped[number] = sitk.GetArrayFromImage(resample(mask, self.fixed, self.transform))
        return np.array([0, *values], np.uint16)[warped.argmax(0)]

    @property
    def warped_image(self) -> sitk.Image:
        """:attr:`warped` in the geometry of the fixed volume."""
        image = sitk.GetImageFromArray(self.warped)
        image.CopyInformation(self.fixed)
        return image

    def save(
        self,
        folder: str | Path,
        name: str = "registration",
        formats: Sequence[str] = ("nifti", "picture"),
        overwrite: bool = False,
    ) -> list[Path]:
        """Write it to files; see :func:`dirnet.files.exports.save_registration` for the formats and errors."""
        from .files.exports import save_registration  # here: it imports this module, and what every format needs

        return save_registration(self, folder, name, formats, overwrite)


def as_volume(image: Volume, name: str) -> sitk.Image:
    """A grey volume (W, H, D) with its place.

    Args:
        image: an array or tensor (D, H, W), of voxels of 1 mm at the origin; a SimpleITK image; a NIfTI, NRRD or
            MetaImage file; or a folder of a DICOM series of one volume.
        name: what it is called in errors.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is another thing, or holds values that are not finite.
    """
    if isinstance(image, str | Path):
        dicom = Path(image).is_dir() or (Path(image).is_file() and is_dicom(image))
        return read_slices(image)[0] if dicom else read_volume(image)
    if not isinstance(image, sitk.Image):
        array = as_array(image, name)
        if array.ndim != 3 or min(array.shape) < 2:
            raise InputError(f"{name}: expected a volume (D, H, W), found an array of {array.shape}")
        return sitk.GetImageFromArray(array)
    if image.GetDimension() != 3 or min(image.GetSize()) < 2 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{name}: expected one grey volume, found a SimpleITK image of size {image.GetSize()}")
    check_place(image, name)
    as_array(sitk.GetArrayViewFromImage(image), name)
    return image


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
    if isinstance(labels, str | Path):
        return turned_like(read_label(labels, sitk.DICOMOrient(moving, "LPS")), moving)
    array = sitk.GetArrayFromImage(labels) if isinstance(labels, sitk.Image) else as_array(labels, "labels")
    if array.shape != moving.GetSize()[::-1] or (array != np.round(array)).any() or (array < 0).any():
        raise InputError(
            f"labels: expected whole numbers from 0 of the moving volume's shape {moving.GetSize()[::-1]}, found "
            f"values from {array.min():g} to {array.max():g}, shape {array.shape}"
        )
    image = sitk.GetImageFromArray(array.astype(np.uint16))
    image.CopyInformation(moving)
    return image
