"""What a caller may hand in as an image: array, tensor, MONAI's ``MetaTensor``, image of SimpleITK or nibabel, file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from torch import Tensor

from transforms.grids import LONGEST_PIXEL, check_place
from transforms.nifti_files import is_nifti, nifti_grid
from transforms.pair_files import read_slice
from transforms.values import check_finite

from ..errors import InputError

__all__ = ["Image2D", "as_array", "as_image", "has_place", "pixels"]

Image2D = np.ndarray | Tensor | sitk.Image | nib.spatialimages.SpatialImage | str | Path


def as_image(image: Image2D, name: str = "image") -> sitk.Image:
    """One grey slice as a SimpleITK image: of size (W, H), or (W, H, 1) where it has a place in space.

    Args:
        image: an array or tensor (H, W) or with axes of one before it, with pixels of 1 mm; a ``MetaTensor`` of that
            shape or an image of nibabel (x, y[, 1]), placed by its affine (RAS, as both have it); a SimpleITK image;
            or a DICOM, NIfTI or PNG file. The first of the two axes is the result's second, as
            ``sitk.GetImageFromArray`` has it, wherever it points.
        name: of the image, in errors.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is no single grey slice, holds other than finite real numbers, or has a spacing or a place
            that is not finite.
    """
    if isinstance(image, str | Path):
        return read_slice(image)
    if isinstance(image, sitk.Image):
        size = image.GetSize()
        if image.GetNumberOfComponentsPerPixel() != 1 or len(size) not in (2, 3) or size[2:] not in ((), (1,)):
            raise InputError(f"{name}: expected one grey slice, found a SimpleITK image of size {size} (x, y, ...)")
        check_place(image, name)
        as_array(sitk.GetArrayViewFromImage(image), name)
        return image
    affine: np.ndarray | None = None
    if isinstance(image, nib.spatialimages.SpatialImage):
        affine, image = image.affine, as_array(image.dataobj, name)
        affine = np.eye(4) if affine is None else affine
    elif isinstance(image, Tensor) and hasattr(image, "affine"):  # a MetaTensor, whose class would load all of MONAI
        affine = image.affine.cpu().numpy()  # type: ignore[attr-defined]
    array = as_array(image, name)
    if affine is not None:
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
    return sitk.GetImageFromArray(array) if affine is None else _placed(array, affine, name)


def has_place(given: Image2D, image: sitk.Image) -> bool:
    """Whether what was given says where it lies in the patient; ``image`` is what :func:`as_image` made of it."""
    if image.GetDimension() == 3 and isinstance(given, str | Path) and is_nifti(given):
        return nifti_grid(given) is not None
    return image.GetDimension() == 3


def as_array(values: Any, name: str) -> np.ndarray:
    """Finite real numbers as a float32 array of their shape.

    Args:
        values: an array, a tensor, or what NumPy makes an array of.
        name: what they are called in errors.

    Raises:
        InputError: when they are of another kind, such as sparse, complex, dates or texts; of rows that differ in
            length; not finite; or too large for float32.
    """
    expected = f"{name}: expected an array of real numbers"
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            array = (values.float() if values.is_floating_point() else values).numpy()  # NumPy has no bfloat16
        else:
            array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OSError, EOFError) as error:  # ragged, sparse, a file cut short
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{expected}, found {type(values).__name__}: {reason}") from error
    if array.dtype.kind not in "biuf" or np.ma.is_masked(values):
        kind = type(values).__name__ if array.dtype == object else f"values of type {array.dtype}"
        raise InputError(f"{expected}, found {kind}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    check_finite(array, name)
    return array


def pixels(image: sitk.Image) -> np.ndarray:
    """The slice of :func:`as_image` as float32 (H, W)."""
    return sitk.GetArrayFromImage(image).astype(np.float32).reshape(image.GetSize()[1::-1])


def _placed(array: np.ndarray, affine: np.ndarray, name: str) -> sitk.Image:
    """An array whose two axes an affine (index to RAS mm, 3x3 or 4x4) places, as a SimpleITK image (LPS)."""
    dims = len(affine) - 1
    lengths = np.linalg.norm(affine[:dims, :dims], axis=0)
    if not (np.isfinite(affine).all() and (lengths > 0).all() and (lengths <= LONGEST_PIXEL).all()):
        raise InputError(f"{name}: expected an affine of finite numbers with pixels above 0 mm, found {lengths} mm")
    lps = np.diag([-1.0, -1.0, 1.0][:dims])
    steps, origin = lps @ affine[:dims, :dims], lps @ affine[:dims, dims]
    steps = steps[:, [1, 0, *range(2, dims)]]  # SimpleITK's x runs along the array's second axis
    spacing = np.linalg.norm(steps, axis=0)
    placed = sitk.GetImageFromArray(array if dims == 2 else array[None])
    placed.SetSpacing(spacing.tolist())
    placed.SetDirection((steps / spacing).ravel().tolist())
    placed.SetOrigin(origin.tolist())
    check_place(placed, name)
    return placed
