"""What a caller may hand in as an image: array, tensor, MONAI's ``MetaTensor``, SimpleITK image or file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monai.data import MetaTensor
from torch import Tensor

from transforms.pair_files import read_slice

from ..errors import InputError

__all__ = ["Image2D", "as_image", "pixels"]

Image2D = np.ndarray | Tensor | sitk.Image | str | Path


def as_image(image: Image2D, name: str = "image") -> sitk.Image:
    """One grey slice as a SimpleITK image: of size (W, H), or (W, H, 1) where it has a place in space.

    Args:
        image: an array or tensor (H, W) or with axes of one before it, with pixels of 1 mm; a ``MetaTensor`` of that
            shape, placed by its affine (RAS, as MONAI has it); a SimpleITK image; or a DICOM, NIfTI or PNG file. The
            first of the two axes is the result's second, as ``sitk.GetImageFromArray`` has it, wherever it points.
        name: of the image, in errors.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no single grey slice, or holds values that are not finite.
    """
    if isinstance(image, str | Path):
        return read_slice(image)
    if isinstance(image, sitk.Image):
        size = image.GetSize()
        if image.GetNumberOfComponentsPerPixel() != 1 or len(size) not in (2, 3) or size[2:] not in ((), (1,)):
            raise InputError(f"{name}: expected one grey slice, found a SimpleITK image of size {size} (x, y, ...)")
        _check_finite(sitk.GetArrayViewFromImage(image), name)
        return image
    array = _array(image)
    if isinstance(image, MetaTensor):
        if array.ndim == 4 and array.shape[0] == 1:
            array = array[0]  # the channel
        if array.ndim == 3 and array.shape[-1] == 1:
            array = array[..., 0]  # MONAI's readers have the slice axis last
        elif array.ndim == 3 and np.shape(image)[1:2] == (1,):
            raise InputError(f"{name}: expected a MetaTensor whose slice axis is the last, found {np.shape(image)}")
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name}: expected one slice (H, W), found an array of {np.shape(image)}")
    _check_finite(array, name)
    array = array.astype(np.float32)
    return (
        _placed(array, image.affine.cpu().numpy()) if isinstance(image, MetaTensor) else sitk.GetImageFromArray(array)
    )


def pixels(image: sitk.Image) -> np.ndarray:
    """The slice of :func:`as_image` as float32 (H, W)."""
    return sitk.GetArrayFromImage(image).astype(np.float32).reshape(image.GetSize()[1::-1])


def _array(image: Any) -> np.ndarray:
    return image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)


def _check_finite(array: np.ndarray, name: str) -> None:
    if not np.isfinite(array).all():
        raise InputError(f"{name}: holds values that are not finite")


def _placed(array: np.ndarray, affine: np.ndarray) -> sitk.Image:
    """An array whose two axes an affine (index to RAS mm, 3x3 or 4x4) places, as a SimpleITK image (LPS)."""
    dims = len(affine) - 1
    lps = np.diag([-1.0, -1.0, 1.0][:dims])
    steps, origin = lps @ affine[:dims, :dims], lps @ affine[:dims, dims]
    steps = steps[:, [1, 0, *range(2, dims)]]  # SimpleITK's x runs along the array's second axis
    spacing = np.linalg.norm(steps, axis=0)
    placed = sitk.GetImageFromArray(array if dims == 2 else array[None])
    placed.SetSpacing(spacing.tolist())
    placed.SetDirection((steps / spacing).ravel().tolist())
    placed.SetOrigin(origin.tolist())
    return placed
