"""Displacement fields: do they fold, and how they enter and leave files.

Inside the project a dense displacement field (DDF) has shape (B, dims, H, W[, D]), components in array order
(row, column[, depth]), is in pixels of the fixed grid and pulls back: ``warped(x) = moving(x + ddf(x))``.
Outside, it is what ITK takes for one: a vector image on the fixed image's grid, in mm, LPS, components
x, y[, z], pulling back too. There, component k of a DDF goes with array axis k of ``sitk.GetArrayFromImage``,
whose axes run opposite to SimpleITK's indices: array[row, column] is image[column, row], and
array[slice, row, column] is image[column, row, slice].
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from torch import Tensor

from transforms.grids import check_place
from transforms.nifti_files import check_nifti, is_nifti
from transforms.paths import check_file

from ..errors import InputError
from .aside import incomplete, write_aside
from .itk import ddf_from_image, displacement_image, is_slice

__all__ = ["read_displacement", "write_displacement", "write_image"]

HEADER = 352  # bytes before the pixels, at least
CODES = slice(252, 256)  # of those, the codes of qform and sform
_NOTE = "displacement in mm, LPS"
_NOTE_SLICE = _NOTE + "; one slice, stored twice"


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
        raise InputError(f"expected a path that ends in .nii or .nii.gz, got {path}")
    axes = np.reshape(fixed.GetDirection(), (fixed.GetDimension(), -1))
    if not np.allclose(axes.T @ axes, np.eye(len(axes)), atol=1e-4):
        raise InputError(
            f"the axes of the fixed image are not orthonormal: {fixed.GetDirection()}; "
            "a slice cut from a tilted volume has to stay 3-D: volume[:, :, k:k+1]"
        )
    image = sitk.Cast(displacement_image(ddf, fixed, moving), sitk.sitkVectorFloat32)
    note = _NOTE
    if is_slice(fixed):
        image, note = sitk.ZeroFluxNeumannPad(image, [0, 0, 0], [0, 0, 1]), _NOTE_SLICE
    image.SetMetaData("ITK_FileNotes", note)
    write_image(path, image)


def write_image(path: str | Path, image: sitk.Image, placed: bool = True) -> None:
    """Write an image as NIfTI (.nii or .nii.gz). The file appears whole or not at all.

    It is read back, because ITK does not report a full disk.

    Args:
        path: where to write.
        image: with its geometry.
        placed: whether that is a place in space; else the codes of sform and qform are 0.

    Raises:
        OSError: when it cannot be written.
    """
    with write_aside(path) as aside:
        aside.touch()  # where the folder cannot be written to, this says why
        sitk.WriteImage(image, str(aside))
        if _length(aside) < HEADER + sitk.GetArrayViewFromImage(image).nbytes:
            raise incomplete(aside)
        if not placed:
            _forget_place(aside)


def _forget_place(path: Path) -> None:
    """Set the codes of sform and qform to 0, which ITK has no means to."""
    packed = path.suffix.lower() == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    content[CODES] = bytes(4)
    path.write_bytes(gzip.compress(content, 6, mtime=0) if packed else content)


def _length(path: Path) -> int:
    """Bytes of a file's content, unpacked; 0 where it cannot be unpacked, or its checksum is another."""
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            return sum(map(len, iter(lambda: stream.read(1 << 20), b"")))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return 0


def read_displacement(path: str | Path, moving: sitk.Image | None = None) -> np.ndarray:
    """Read a displacement field file, by :func:`write_displacement` or another program, as a DDF in pixels.

    ``moving`` and result as in :func:`ddf_from_image`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: as :func:`ddf_from_image`, or when the file cannot be read, not whole, or holds a displacement that
            is not finite; names the file.
    """
    check_file(path)
    if is_nifti(path):
        check_nifti(path)  # ITK fills up what is missing, and ends the process on colours
    try:
        image = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as a field: {str(error).strip().splitlines()[-1]}") from error
    check_place(image, path)
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise InputError(f"{path}: holds displacements that are not finite")
    if image.HasMetaDataKey("ITK_FileNotes") and image.GetMetaData("ITK_FileNotes") == _NOTE_SLICE:
        image = image[:, :, :1]
    try:
        return ddf_from_image(image, moving)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
