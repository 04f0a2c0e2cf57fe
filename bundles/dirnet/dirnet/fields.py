"""Displacement fields: do they fold, and how they enter and leave files.

Inside the project a dense displacement field (DDF) has shape (B, dims, H, W[, D]), components in array order
(row, column[, depth]), is in pixels of the fixed grid and pulls back: ``warped(x) = moving(x + ddf(x))``.
Outside, it is what ITK takes for one: a vector image on the fixed image's grid, in mm, LPS, components
x, y[, z], pulling back too. There, component k of a DDF goes with array axis k of ``sitk.GetArrayFromImage``,
whose axes run opposite to SimpleITK's indices: array[row, column] is image[column, row], and
array[slice, row, column] is image[column, row, slice].
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .files import write_aside

__all__ = [
    "ddf_from_image",
    "displacement_image",
    "folded_percent",
    "index_to_mm",
    "is_slice",
    "jacobian_determinant",
    "read_displacement",
    "write_displacement",
]

_NOTE = "displacement in mm, LPS"
_NOTE_SLICE = _NOTE + "; one slice, stored twice"


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """Determinant of the Jacobian of ``x + ddf(x)``: (B, dims, H, W[, D]) -> (B, 1, H-1, W-1[, D-1]).

    Above 1 where a region is larger in the moving image than in the fixed, 0 or less where the field folds.
    By forward differences, hence one fewer along each axis. Central differences average folds away; forward
    ones find more, though no single kind finds all (Liu et al., "On finite difference Jacobian computation in
    deformable image registration", IJCV 2024). Not clipped; at least float32.

    Raises:
        ValueError: when ``ddf`` is not a batch of 2-D or 3-D fields with at least 2 pixels along each axis.
    """
    dims = ddf.ndim - 2
    if dims not in (2, 3) or ddf.shape[1] != dims or min(ddf.shape[2:]) < 2:
        raise ValueError(
            "expected a DDF (B, 2, H, W) or (B, 3, H, W, D) of at least 2 pixels along each axis, "
            f"got {list(ddf.shape)}"
        )
    ddf = ddf.to(torch.promote_types(ddf.dtype, torch.float32))
    here = ddf[(..., *[slice(-1)] * dims)]
    columns = []
    for axis in range(dims):
        ahead = [slice(-1)] * dims
        ahead[axis] = slice(1, None)
        identity = torch.eye(dims, dtype=ddf.dtype, device=ddf.device)[axis].view(-1, *[1] * dims)
        columns.append(ddf[(..., *ahead)] - here + identity)
    if dims == 2:
        (a, b), (c, d) = (column.unbind(1) for column in columns)
        return (a * d - b * c).unsqueeze(1)
    return (torch.linalg.cross(columns[0], columns[1], dim=1) * columns[2]).sum(1, keepdim=True)


def folded_percent(ddf: Tensor) -> Tensor:
    """Percentage of the pixels of each field where it folds: (B, dims, H, W[, D]) -> (B,), 0 to 100.

    A pixel folds where :func:`jacobian_determinant` is not positive, or not a number; the last pixel of each
    axis has no forward difference and is not counted. Raises the same errors.
    """
    folded = ~(jacobian_determinant(ddf) > 0)
    return 100.0 * folded.flatten(1).float().mean(1)


def displacement_image(ddf: Tensor | np.ndarray, fixed: sitk.Image, moving: sitk.Image | None = None) -> sitk.Image:
    """One DDF as the displacement field that ``sitk.DisplacementFieldTransform`` takes.

    Args:
        ddf: (2, H, W) or (3, D, H, W) in pixels, no batch axis; left as it is.
        fixed: gives the grid, spacing, origin and direction: a 2-D image, a 3-D image, or for a 2-D DDF a 3-D
            image of one slice, as SimpleITK reads a DICOM slice.
        moving: only for its spacing, origin and direction; None where they equal those of ``fixed``. The
            displacement is ``moving``'s physical point of index ``x + ddf(x)`` less ``fixed``'s of index
            ``x``, so that resampling equals the warp pixel by pixel wherever the two images lie.

    Returns:
        float64 vector image in the geometry of ``fixed``, with one component per dimension of ``fixed``.

    Raises:
        ValueError: when the DDF does not fit ``fixed``, or ``moving`` has another number of dimensions.
    """
    ddf = ddf.detach().cpu().double().numpy() if isinstance(ddf, Tensor) else np.asarray(ddf, np.float64)
    dims = 2 if is_slice(fixed) else fixed.GetDimension()
    expected = (dims, *fixed.GetSize()[:dims][::-1])
    if ddf.shape != expected:
        raise ValueError(f"expected a DDF of shape {expected} for a fixed image {fixed.GetSize()}, got {ddf.shape}")
    if is_slice(fixed):  # no step along the slice axis, which comes first in array order
        ddf = np.concatenate([np.zeros_like(ddf[:1]), ddf])[:, None]

    moving = fixed if moving is None else moving
    offset = _offset(fixed, moving)
    steps = np.moveaxis(ddf[::-1], 0, -1)  # array order to x, y[, z]
    image = sitk.GetImageFromArray(steps @ index_to_mm(moving).T + offset, isVector=True)
    image.CopyInformation(fixed)
    return image


def ddf_from_image(image: sitk.Image, moving: sitk.Image | None = None) -> np.ndarray:
    """A displacement field in mm, of whatever origin, as a DDF in pixels; inverts :func:`displacement_image`.

    Args:
        image: vector image on the fixed image's grid, in mm, LPS, with one component per dimension.
        moving: only for its spacing, origin and direction; None where they equal those of ``image``.

    Returns:
        float64 (2, H, W) or (3, D, H, W); a 3-D image of one slice gives (2, H, W).

    Raises:
        ValueError: when the components do not match the dimensions, ``moving`` has another number of
            dimensions, or a field of one slice leaves the plane of ``moving`` (of ``image``, if None) by over
            0.01 slices.
    """
    if image.GetNumberOfComponentsPerPixel() != image.GetDimension():
        raise ValueError(
            f"expected one component per dimension, got {image.GetNumberOfComponentsPerPixel()} components "
            f"in a {image.GetDimension()}-D image of size {image.GetSize()}"
        )
    moving = image if moving is None else moving
    offset = _offset(image, moving)
    steps = (sitk.GetArrayFromImage(image) - offset) @ np.linalg.inv(index_to_mm(moving)).T
    ddf = np.ascontiguousarray(np.moveaxis(steps, -1, 0)[::-1])
    if not is_slice(image):
        return ddf
    if (leaves := np.abs(ddf[0]).max()) > 0.01:
        raise ValueError(
            f"the field leaves its slice by {leaves:.3g} slices: pass moving, for the geometry it leads to"
        )
    return ddf[1:, 0]


def write_displacement(
    path: str | Path, ddf: Tensor | np.ndarray, fixed: sitk.Image, moving: sitk.Image | None = None
) -> None:
    """Write one DDF as a displacement field in NIfTI (.nii or .nii.gz), float32.

    Arguments as in :func:`displacement_image`. To apply the file in SimpleITK::

        transform = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
        warped = sitk.Resample(moving, fixed, transform, sitk.sitkLinear)

    That equals the warp by pixels wherever ``x + ddf(x)`` lies in the moving image; beyond it MONAI's
    ``Warp`` can repeat the border, where ``sitk.Resample`` fills with 0.

    The file is as ITK writes it: array (W, H, D, 1, dims), intent code 1007 (vector). Its vectors are LPS,
    and neither ITK nor nibabel turns them, while the affine that nibabel shows is RAS as in every NIfTI:
    readers that think in RAS negate the first two components. (Under intent 1006 ITK takes vectors for RAS;
    SimpleITK reads such files but cannot write them.) A 3-D image of one slice is stored as two equal slices,
    because ITK would read a lone one back as 2-D, without its place in space; the header's ``descrip``
    says so.

    The file appears whole or not at all.

    Raises:
        ValueError: as :func:`displacement_image`; when ``path`` is not named .nii or .nii.gz; when the axes
            of ``fixed`` are not orthonormal, which NIfTI cannot hold.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"expected a path that ends in .nii or .nii.gz, got {path}")
    axes = np.reshape(fixed.GetDirection(), (fixed.GetDimension(), -1))
    if not np.allclose(axes.T @ axes, np.eye(len(axes)), atol=1e-4):
        raise ValueError(
            f"the axes of the fixed image are not orthonormal: {fixed.GetDirection()}; "
            "a slice cut from a tilted volume has to stay 3-D: volume[:, :, k:k+1]"
        )
    image = sitk.Cast(displacement_image(ddf, fixed, moving), sitk.sitkVectorFloat32)
    note = _NOTE
    if is_slice(fixed):
        image, note = sitk.ZeroFluxNeumannPad(image, [0, 0, 0], [0, 0, 1]), _NOTE_SLICE
    image.SetMetaData("ITK_FileNotes", note)
    with write_aside(path) as aside:
        sitk.WriteImage(image, str(aside))


def read_displacement(path: str | Path, moving: sitk.Image | None = None) -> np.ndarray:
    """Read a displacement field file, by :func:`write_displacement` or another program, as a DDF in pixels.

    ``moving``, result and errors as in :func:`ddf_from_image`, with the path named; SimpleITK's RuntimeError
    when the file is missing or not an image.
    """
    image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    if image.HasMetaDataKey("ITK_FileNotes") and image.GetMetaData("ITK_FileNotes") == _NOTE_SLICE:
        image = image[:, :, :1]
    try:
        return ddf_from_image(image, moving)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_slice(image: sitk.Image) -> bool:
    """Whether an image is one slice with a place in space, (W, H, 1)."""
    return image.GetDimension() == 3 and image.GetSize()[2] == 1


def index_to_mm(image: sitk.Image) -> np.ndarray:
    """Matrix (dims, dims) from a step in index (x, y[, z]) to one in mm (LPS)."""
    dims = image.GetDimension()
    return np.reshape(image.GetDirection(), (dims, dims)) * image.GetSpacing()


def _offset(fixed: sitk.Image, moving: sitk.Image) -> np.ndarray:
    """Physical point of ``moving`` less that of ``fixed`` at each index: (H, W, 2) or (D, H, W, 3)."""
    if fixed.GetDimension() != moving.GetDimension():
        raise ValueError(f"fixed {fixed.GetSize()} and moving {moving.GetSize()} differ in dimensions")
    index = np.moveaxis(np.indices(fixed.GetSize()[::-1])[::-1], 0, -1)
    origins = np.subtract(moving.GetOrigin(), fixed.GetOrigin())
    return index @ (index_to_mm(moving) - index_to_mm(fixed)).T + origins
