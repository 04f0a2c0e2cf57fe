"""What registering a pair of images gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from transforms.cine import one_structure, read_mask, scale_intensity
from transforms.dicom import is_dicom

from .errors import InputError
from .fields.displacement import Part
from .fields.resampling import warp
from .files.images import Image2D, as_image, pixels
from .files.itk import displacement_transform, parts_transform
from .files.regrid import resample

__all__ = ["Registration", "RegistrationResult", "as_mask", "slice_shown", "warp_mask"]


class RegistrationResult(ABC):
    """What every result of a registration can do, of slices, stacks or volumes.

    Attributes:
        moving, fixed: the images.
        warped: the moving image on the grid of the fixed one, an array.
        ddf: the displacement field, in pixels.
    """

    moving: sitk.Image
    fixed: sitk.Image
    warped: np.ndarray
    ddf: np.ndarray

    @property
    def warped_image(self) -> sitk.Image:
        """:attr:`warped` in the geometry of the fixed image."""
        return self.on_fixed(self.warped)

    def on_fixed(self, array: np.ndarray) -> sitk.Image:
        """An array on the fixed image's grid, such as a warped mask, as an image in its geometry."""
        image = sitk.GetImageFromArray(array.reshape(self.fixed.GetSize()[::-1]))
        image.CopyInformation(self.fixed)
        return image

    @property
    def ddf_ends_in(self) -> sitk.Image:
        """The image in whose pixels :attr:`ddf` ends; it begins in those of the fixed one."""
        return self.moving

    @abstractmethod
    def itk_transform(self) -> sitk.Transform:
        """From places in the fixed image to those in the moving one, in mm; exact between pixels where it can be."""

    @abstractmethod
    def shown(self) -> list[dict[str, Any]]:
        """What a picture of it shows: the rows of :func:`dirnet.files.pictures.picture`."""

    def dicom_files(self) -> tuple[Path, Path]:
        """The DICOM files of fixed and moving.

        Raises:
            InputError: when it has no such files.
        """
        raise InputError(
            "the format dicom is of single slices; stacks and volumes are written as nifti, itk, numpy and picture"
        )

    def save(
        self,
        folder: str | Path,
        name: str = "registration",
        formats: Sequence[str] = ("nifti", "picture"),
        overwrite: bool = False,
    ) -> list[Path]:
        """Write it to files; see :func:`dirnet.files.exports.save_registration` for the formats and errors."""
        from .files.exports import save_registration  # here: it imports what every format needs

        return save_registration(self, folder, name, formats, overwrite)


@dataclass(frozen=True, eq=False)
class Registration(RegistrationResult):
    """How one slice lies on another.

    Attributes:
        moving, fixed: as they were given, with their geometry; moving on the grid of fixed where it was resampled.
        warped: the moving image with its own intensities on the fixed image's grid, (H, W) float32, resampled once,
            linearly; beyond the moving image its border repeats.
        ddf: displacement field (2, H, W) in pixels, (row, column): ``warped(x) = moving(x + ddf(x))``.
        parts: the B-splines and affine maps that the field is made of, each a batch of one; empty for a network that
            gives a dense field.
        folded_percent: pixels where the field folds, 0 to 100.
        ncc_before, ncc_after: normalised cross-correlation of moving and of warped with fixed.
        ncc_network: as ``ncc_after``, before any refinement.
        moving_file, fixed_file: from which they were read; None for images that were not.
        resampled_from: the moving image as it was given, where it had another size or spacing than fixed; else None.
    """

    moving: sitk.Image
    fixed: sitk.Image
    warped: np.ndarray
    ddf: np.ndarray
    parts: tuple[Part, ...]
    folded_percent: float
    ncc_before: float
    ncc_network: float
    ncc_after: float
    moving_file: Path | None
    fixed_file: Path | None
    resampled_from: sitk.Image | None = None

    def itk_transform(self) -> sitk.Transform:
        if self.parts:
            return parts_transform(self.parts, self.fixed, self.moving)
        return displacement_transform(self.ddf, self.fixed, self.moving)

    def shown(self) -> list[dict[str, Any]]:
        return [slice_shown(pixels(self.moving), pixels(self.fixed), self.ddf)]

    def dicom_files(self) -> tuple[Path, Path]:
        for role, file in (("moving", self.moving_file), ("fixed", self.fixed_file)):
            if file is None or not is_dicom(file):
                raise InputError(
                    "the format dicom names both images and keeps their study; "
                    f"{role} is no DICOM file: {file or 'an array'}"
                )
        return self.fixed_file, self.moving_file  # type: ignore[return-value]  # both are there

    def warp_mask(self, mask: Image2D) -> np.ndarray:
        """A mask drawn on the moving image on the fixed image's grid, bool (H, W): warped linearly, cut at 0.5.

        Raises:
            ValueError: when it is of another size, or has more than one value but 0.
        """
        drawn_on = self.moving if self.resampled_from is None else self.resampled_from
        drawn = as_mask(mask, drawn_on.GetSize()[1::-1], drawn_on)
        if self.resampled_from is None:
            return warp_mask(drawn, torch.from_numpy(self.ddf)[None])[0]
        image = sitk.GetImageFromArray(drawn[None].astype(np.float32))
        image.CopyInformation(drawn_on)
        return pixels(resample(image, self.fixed, displacement_transform(self.ddf, self.fixed))) > 0.5


def as_mask(mask: Image2D, shape: Sequence[int], image: sitk.Image | None = None) -> np.ndarray:
    """A structure drawn on an image of ``shape``, bool (H, W).

    Args:
        mask: of the image's size; a file lies where it says, see :func:`transforms.grids.on_slices`.
        shape: (H, W) of the image.
        image: on which it was drawn, for its place in space where it has one, (W, H, 1).

    Raises:
        FileNotFoundError: when it is a file that does not exist.
        InputError: when it is of another size, lies elsewhere, or has more than one value except 0.
    """
    if isinstance(mask, str | Path):
        grid = image if image is not None and image.GetDimension() == 3 else None
        return read_mask(mask, tuple(shape), grid) != 0
    array = pixels(as_image(mask, "mask"))
    if array.shape != tuple(shape):
        raise InputError(
            f"mask of {array.shape[0]}x{array.shape[1]}, images of {shape[0]}x{shape[1]} pixels (rows x columns)"
        )
    return one_structure(array, "mask")


def warp_mask(mask: np.ndarray, ddf: Tensor) -> np.ndarray:
    """Mask (H, W) by each field (B, 2, H, W), from the original: bool (B, H, W)."""
    drawn = torch.from_numpy(mask.astype(np.float32)).expand(len(ddf), 1, *mask.shape)
    return (warp(drawn, ddf) > 0.5)[:, 0].numpy()


def slice_shown(moving: np.ndarray, fixed: np.ndarray, ddf: np.ndarray, title: str = "") -> dict[str, Any]:
    """A row of :func:`dirnet.files.pictures.picture` of a slice: images (H, W) and their field (2, H, W)."""
    # each by its own scale, as the network sees them: two files need not be on one
    moving, fixed = (scale_intensity(image) for image in (moving, fixed))
    warped = warp(torch.from_numpy(moving)[None, None], torch.from_numpy(ddf)[None])[0, 0].numpy()
    return {"moving": moving, "fixed": fixed, "warped": warped, "ddf": ddf, "title": title}
