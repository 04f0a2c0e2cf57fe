"""A registration to the files that other programs read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .aside import buffered, write_set_aside
from .dicom import write_deformable_registration, write_derived_series
from .formats import result_files
from .itk import write_transform
from .nifti import write_displacement, write_image
from .pictures import picture, save_picture

if TYPE_CHECKING:
    from ..registration import Registration, RegistrationResult

__all__ = ["save_registration"]


def save_registration(
    registration: RegistrationResult,
    folder: str | Path,
    name: str,
    formats: Sequence[str],
    overwrite: bool = False,
) -> list[Path]:
    """Write a registration, of slices, stacks or volumes, as ``<name>_…`` in each of some formats: all files or none.

    ========= =========================================================================================================
    nifti     ``_warped.nii.gz``, moving image on the fixed one's grid; ``_ddf.nii.gz``, the field in mm (ITK's, LPS)
    itk       ``_transform.h5``: the exact B-splines and affine maps for ``sitk.ReadTransform``; of a network without,
              its field
    numpy     ``_ddf.npy``: the field (2, H, W) in pixels, (row, column); of a stack or volume (3, S, H, W), (slice,
              row, column)
    dicom     ``_warped.dcm``, a derived image in the fixed one's study; ``_registration.dcm``, a Deformable Spatial
              Registration; both images must be DICOM files, of one slice each
    picture   ``_overview.png``: fixed, moving, warped, differences and the warped grid; of a stack eight slices at
              most, of a volume three planes
    ========= =========================================================================================================

    Returns:
        the paths that were written.

    Raises:
        ValueError: when there is no such format, or an image has no DICOM file or no place in space, but needs one.
        FileExistsError: before anything is written, when one of the files exists and may not be replaced.
    """
    files = result_files(name, formats)
    if "dicom" in formats:
        registration.dicom_files()
    names = [file for written in files.values() for file in written]
    with write_set_aside(folder, names, overwrite) as aside:
        for form, written in files.items():
            WRITERS[form](registration, *(aside / file for file in written))
    return [Path(folder) / file for file in names]


def _nifti(registration: RegistrationResult, warped: Path, field: Path) -> None:
    # the field first: it is the one that an image's geometry can rule out
    write_displacement(field, registration.ddf, registration.fixed, registration.ddf_ends_in)
    write_image(warped, registration.warped_image)


def _itk(registration: RegistrationResult, path: Path) -> None:
    write_transform(path, registration.itk_transform())


def _numpy(registration: RegistrationResult, path: Path) -> None:
    with buffered(path) as stream:
        np.save(stream, registration.ddf)


def _dicom(registration: Registration, warped: Path, field: Path) -> None:
    files = registration.dicom_files()
    moving = None if registration.resampled_from is None else registration.moving
    objects: tuple[Any, ...] = (
        (write_deformable_registration, field, registration.ddf, *files, moving),
        (write_derived_series, warped, registration.warped, *files),
    )
    for write, *arguments in objects:
        write(*arguments)  # the same line for both: Python shows a warning once a line


def _picture(registration: RegistrationResult, path: Path) -> None:
    save_picture(picture(registration.shown()), path)


WRITERS: dict[str, Callable[..., None]] = {
    "nifti": _nifti,
    "picture": _picture,
    "itk": _itk,
    "numpy": _numpy,
    "dicom": _dicom,
}
