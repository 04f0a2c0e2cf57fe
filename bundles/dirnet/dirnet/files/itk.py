"""Registrations as ITK transforms, for every program that reads those: SimpleITK, 3D Slicer, ANTs, elastix.

An ITK transform takes a physical point (mm, LPS, x-y order) of the fixed image to the point of the moving image whose
intensity belongs there: it pulls back, as a DDF does. :func:`displacement_transform` holds a field of any origin, on
its grid; :func:`bspline_transform` holds the spline itself, a few hundred numbers instead of two a pixel, exact
between pixels too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from ..errors import InputError
from ..fields.displacement import BOUNDARIES, AffinePart, Part
from .aside import incomplete, write_aside

__all__ = [
    "affine_transform",
    "bspline_transform",
    "ddf_from_image",
    "displacement_image",
    "displacement_transform",
    "index_to_mm",
    "is_slice",
    "parts_transform",
    "write_transform",
]

SUFFIXES = (".tfm", ".txt", ".h5")
HDF5_OVERHEAD = 65536  # bytes beyond the numbers; 8.5 kB measured


def bspline_transform(
    control_points: Tensor | np.ndarray,
    spacing: int | Sequence[int],
    fixed: sitk.Image,
    moving: sitk.Image | None = None,
    order: int = 3,
    boundary: str = "zero",
) -> sitk.Transform:
    """The spline of :class:`dirnet.nets.splines.BSplineTransformer` as an ITK transform, exact at every pixel of
    ``fixed``.

    The coefficients are the control points times the image's axes in mm, with ``order`` more on each side: zeros, or
    the outermost repeated. ITK moves nothing where a coefficient is missing, and these are as many as keep that out of
    the image: with "zero" the spline has faded to nothing there, with "replicate" it breaks off, (order + 1) / 2
    cells beyond the outermost control point.

    Args:
        control_points: (dims, K_1, ...) in pixels, components in array order, no batch axis.
        spacing: between them in pixels, one for all axes or one each.
        fixed: gives spacing, origin and direction: a 2-D image, a 3-D image, or for 2-D control points a 3-D image of
            one slice, as SimpleITK reads a DICOM slice. The transform is then 3-D, moves nothing along the slice
            axis and is the same throughout the slice's thickness; beyond it ITK moves nothing.
        moving: only for its spacing, origin and direction; None where they equal those of ``fixed``.
        order: of the spline, 1, 2 or 3.
        boundary: as of the layer, "zero" or "replicate".

    Returns:
        ``sitk.BSplineTransform``; where ``moving`` lies elsewhere, ``sitk.CompositeTransform`` of it and the affine
        map that takes each index of ``fixed`` to the same index of ``moving``, which is exact as well.

    Raises:
        ValueError: when the control points do not fit ``spacing`` and ``fixed`` or do not reach over it, order or
            boundary are none of these, or ``moving`` has another number of dimensions.
    """
    if order not in (1, 2, 3) or boundary not in BOUNDARIES:
        raise InputError(f"order must be 1, 2 or 3 and boundary one of {BOUNDARIES}, got {order} and {boundary!r}")
    if isinstance(control_points, Tensor):
        control_points = control_points.detach().cpu().double().numpy()
    points = np.asarray(control_points, np.float64)
    dims = 2 if is_slice(fixed) else fixed.GetDimension()
    spacings = [spacing] * dims if isinstance(spacing, int) else list(spacing)
    _check_reach(points, spacings, fixed.GetSize()[:dims][::-1])

    outside = [(0, 0), *[(order, order)] * dims]
    points = np.pad(points, outside) if boundary == "zero" else np.pad(points, outside, mode="edge")
    first = [(s - 1) / 2 - order * s for s in spacings]  # index of the first coefficient, in array order
    if is_slice(fixed):  # equal coefficients across one cell, whose middle is the slice
        points = np.concatenate([np.zeros_like(points[:1]), points])
        points = np.repeat(points[:, None], order + 1, axis=1)
        first, spacings = [-order / 2, *first], [1, *spacings]

    coefficients = np.moveaxis(points[::-1], 0, -1) @ index_to_mm(fixed).T
    images = []
    for component in range(coefficients.shape[-1]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(coefficients[..., component]))
        image.SetSpacing([s * mm for s, mm in zip(spacings[::-1], fixed.GetSpacing(), strict=True)])
        image.SetOrigin(fixed.TransformContinuousIndexToPhysicalPoint(first[::-1]))
        image.SetDirection(fixed.GetDirection())
        images.append(image)
    spline = sitk.BSplineTransform(images, order)
    if moving is None or _geometry(moving) == _geometry(fixed):
        return spline
    return sitk.CompositeTransform([_same_index(fixed, moving), spline])  # the last is applied first


def affine_transform(part: AffinePart, fixed: sitk.Image) -> sitk.AffineTransform:
    """An affine map of pixels (a batch of one) as an ITK transform of points in mm, LPS.

    Args:
        part: as an affine network gives it.
        fixed: as in :func:`bspline_transform`; of one slice the transform is 3-D and moves nothing along the slice
            axis.

    Raises:
        InputError: when the map and the image have different numbers of dimensions.
    """
    dims = 2 if is_slice(fixed) else fixed.GetDimension()
    matrix = part.matrix[0].detach().cpu().double().numpy()[::-1, ::-1]  # array order to x, y[, z]
    translation = part.translation[0].detach().cpu().double().numpy()[::-1]
    centre = np.array(part.centre[::-1])
    if matrix.shape != (dims, dims):
        raise InputError(f"an affine map of {len(matrix)} dimensions, a fixed image {fixed.GetSize()}")
    if is_slice(fixed):
        matrix = np.block([[matrix, np.zeros((2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]])
        translation, centre = np.append(translation, 0.0), np.append(centre, 0.0)
    axes = index_to_mm(fixed)
    affine = sitk.AffineTransform(fixed.GetDimension())
    affine.SetMatrix((axes @ matrix @ np.linalg.inv(axes)).ravel().tolist())
    affine.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint(centre.tolist()))
    affine.SetTranslation((axes @ translation).tolist())
    return affine


def parts_transform(parts: Sequence[Part], fixed: sitk.Image, moving: sitk.Image | None = None) -> sitk.Transform:
    """The parts of one :class:`~dirnet.fields.displacement.Displacement` (a batch of one) as an ITK transform.

    Args:
        parts: one or more; the one that warps first before the others.
        fixed, moving: as in :func:`bspline_transform`.

    Returns:
        as :func:`bspline_transform` and :func:`affine_transform`; of several parts, ``sitk.CompositeTransform``. Where
        a point leaves the image on its way from one spline to the next, ITK moves it no further, and the project
        repeats the border.
    """
    transforms: list[sitk.Transform] = [
        affine_transform(part, fixed)
        if isinstance(part, AffinePart)
        else bspline_transform(part.control_points[0], part.spacing, fixed, None, part.order, part.boundary)
        for part in parts
    ]
    away = [] if moving is None or _geometry(moving) == _geometry(fixed) else [_same_index(fixed, moving)]
    chain = [*away, *transforms]
    return chain[0] if len(chain) == 1 else sitk.CompositeTransform(chain)  # the last is applied first


def displacement_transform(
    ddf: Tensor | np.ndarray, fixed: sitk.Image, moving: sitk.Image | None = None
) -> sitk.DisplacementFieldTransform:
    """One DDF as ``sitk.DisplacementFieldTransform``; arguments and errors as :func:`displacement_image`.

    Exact at the pixels of ``fixed``, linear between them; beyond the outermost ITK moves nothing.
    """
    return sitk.DisplacementFieldTransform(displacement_image(ddf, fixed, moving))


def write_transform(path: str | Path, transform: sitk.Transform) -> None:
    """Write an ITK transform, to be read by ``sitk.ReadTransform``: .tfm or .txt (text), or .h5 (HDF5).

    The file appears whole or not at all. It is read back, because ITK does not report a full disk.

    Raises:
        ValueError: when ``path`` ends otherwise.
        OSError: when it cannot be written.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"expected a path that ends in one of {', '.join(SUFFIXES)}, got {path}")
    numbers = _numbers(transform)
    with write_aside(path) as aside:
        # A disk that fills up while HDF5 writes to it ends the process: first see that there is room.
        room = numbers.nbytes + HDF5_OVERHEAD if path.suffix == ".h5" else 0
        aside.write_bytes(bytes(room))
        sitk.WriteTransform(transform, str(aside))
        try:
            found = _numbers(sitk.ReadTransform(str(aside)))
        except RuntimeError as error:
            raise incomplete(aside) from error
        ended = path.suffix == ".h5" or aside.read_bytes().endswith(b"\n")  # the last number may have lost digits
        if not ended or not np.array_equal(found, numbers, equal_nan=True):
            raise incomplete(aside)


def _numbers(transform: sitk.Transform) -> np.ndarray:
    """All that a transform and its parts are made of, float64."""
    parts = [transform]
    if isinstance(transform, sitk.CompositeTransform):
        parts = [transform.GetNthTransform(number) for number in range(transform.GetNumberOfTransforms())]
    return np.concatenate([numbers for part in parts for numbers in (part.GetParameters(), part.GetFixedParameters())])


def _check_reach(points: np.ndarray, spacings: Sequence[int], size: Sequence[int]) -> None:
    dims = len(size)
    if len(spacings) != dims or min(spacings) < 1:
        raise InputError(f"spacing must be a positive integer or {dims} of them, got {list(spacings)}")
    if points.ndim != dims + 1 or len(points) != dims:
        raise InputError(f"expected control points ({dims}, ...) with {dims + 1} axes, got {points.shape}")
    reach = [k * s for k, s in zip(points.shape[1:], spacings, strict=True)]
    if any(r < n for r, n in zip(reach, size, strict=True)):
        raise InputError(
            f"control points {points.shape[1:]}, {list(spacings)} px apart, reach over {reach} px, "
            f"not over an image of {list(size)}"
        )


def _geometry(image: sitk.Image) -> tuple[tuple[float, ...], ...]:
    return image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def _same_index(fixed: sitk.Image, moving: sitk.Image) -> sitk.AffineTransform:
    """From each physical point of ``fixed`` to the point of ``moving`` that has the same index."""
    if fixed.GetDimension() != moving.GetDimension():
        raise InputError(f"fixed {fixed.GetSize()} and moving {moving.GetSize()} differ in dimensions")
    matrix = index_to_mm(moving) @ np.linalg.inv(index_to_mm(fixed))
    affine = sitk.AffineTransform(fixed.GetDimension())
    affine.SetMatrix(matrix.ravel().tolist())
    affine.SetTranslation((np.array(moving.GetOrigin()) - matrix @ fixed.GetOrigin()).tolist())
    return affine


def displacement_image(ddf: Tensor | np.ndarray, fixed: sitk.Image, moving: sitk.Image | None = None) -> sitk.Image:
    """One DDF as the displacement field that ``sitk.DisplacementFieldTransform`` takes.

    Args:
        ddf: (2, H, W) or (3, D, H, W) in pixels, components in array order, pull-back; no batch axis; left as it is.
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
        raise InputError(f"expected a DDF of shape {expected} for a fixed image {fixed.GetSize()}, got {ddf.shape}")
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
        float64 (2, H, W) or (3, D, H, W) in pixels, components in array order, pull-back; a 3-D image of one slice
        gives (2, H, W).

    Raises:
        ValueError: when the components do not match the dimensions, ``moving`` has another number of
            dimensions, or a field of one slice leaves the plane of ``moving`` (of ``image``, if None) by over
            0.01 slices.
    """
    if image.GetNumberOfComponentsPerPixel() != image.GetDimension():
        raise InputError(
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
        raise InputError(
            f"the field leaves its slice by {leaves:.3g} slices: pass moving, for the geometry it leads to"
        )
    return ddf[1:, 0]


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
        raise InputError(f"fixed {fixed.GetSize()} and moving {moving.GetSize()} differ in dimensions")
    index = np.moveaxis(np.indices(fixed.GetSize()[::-1])[::-1], 0, -1)
    origins = np.subtract(moving.GetOrigin(), fixed.GetOrigin())
    return index @ (index_to_mm(moving) - index_to_mm(fixed)).T + origins
