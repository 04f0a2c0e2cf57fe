"""A registration to the files that other programs read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from transforms.cine import scale_intensity
from transforms.dicom import is_dicom

from ..errors import InputError
from ..fields.resampling import warp
from ..registration import Registration, RegistrationResult
from ..stack import StackRegistration
from ..volume import VolumeRegistration
from .aside import buffered, write_set_aside
from .dicom import write_deformable_registration, write_derived_series
from .formats import result_files
from .images import pixels
from .itk import (
    ddf_from_image,
    displacement_image,
    displacement_transform,
    parts_transform,
    write_transform,
)
from .nifti import write_displacement, write_image
from .pictures import picture, planes_of, save_picture

__all__ = ["save_registration"]

MOST_SHOWN = 8  # slices of a stack in a picture


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
        if not isinstance(registration, Registration):
            raise InputError(
                "the format dicom is of single slices; stacks and volumes are written as nifti, itk, numpy and picture"
            )
        _check_dicom(registration)
    names = [file for written in files.values() for file in written]
    with write_set_aside(folder, names, overwrite) as aside:
        for form, written in files.items():
            WRITERS[form](registration, *(aside / file for file in written))
    return [Path(folder) / file for file in names]


def _check_dicom(registration: Registration) -> None:
    for role, file in (("moving", registration.moving_file), ("fixed", registration.fixed_file)):
        if file is None or not is_dicom(file):
            raise InputError(
                "the format dicom names both images and keeps their study; "
                f"{role} is no DICOM file: {file or 'an array'}"
            )


def _nifti(registration: RegistrationResult, warped: Path, field: Path) -> None:
    # the field first: it is the one that an image's geometry can rule out
    moving = None if isinstance(registration, VolumeRegistration) else registration.moving
    write_displacement(field, registration.ddf, registration.fixed, moving)
    write_image(warped, registration.warped_image)


def _itk(registration: RegistrationResult, path: Path) -> None:
    images = registration.fixed, registration.moving
    if isinstance(registration, VolumeRegistration):
        transform = registration.transform
    elif isinstance(registration, Registration) and registration.parts:
        transform = parts_transform(registration.parts, *images)
    else:
        transform = displacement_transform(registration.ddf, *images)
    write_transform(path, transform)


def _numpy(registration: RegistrationResult, path: Path) -> None:
    with buffered(path) as stream:
        np.save(stream, registration.ddf)


def _dicom(registration: Registration, warped: Path, field: Path) -> None:
    files: Any = registration.fixed_file, registration.moving_file  # both there, as _check_dicom has seen to
    moving = None if registration.resampled_from is None else registration.moving
    objects = (
        (write_deformable_registration, field, registration.ddf, *files, moving),
        (write_derived_series, warped, registration.warped, *files),
    )
    for write, *arguments in objects:
        write(*arguments)  # the same line for both: Python shows a warning once a line


def _picture(registration: RegistrationResult, path: Path) -> None:
    if isinstance(registration, VolumeRegistration):
        rows = _planes(registration)
    elif isinstance(registration, StackRegistration):
        moving, fixed = (sitk.GetArrayFromImage(image) for image in (registration.moving, registration.fixed))
        shown = np.unique(np.linspace(0, len(fixed) - 1, MOST_SHOWN).round().astype(int)).tolist()
        rows = [_row(moving[n], fixed[n], registration.ddf[1:, n], f"slice {n}") for n in shown]
    else:
        rows = [_row(pixels(registration.moving), pixels(registration.fixed), registration.ddf)]
    save_picture(picture(rows), path)


def _planes(registration: VolumeRegistration) -> list[dict[str, Any]]:
    """Three planes, their axes turned to those of the patient; moving as the network saw it."""
    fixed = sitk.DICOMOrient(registration.fixed, "LPS")
    images = {
        "fixed": fixed,
        "moving": sitk.DICOMOrient(registration.seen, "LPS"),
        "warped": sitk.DICOMOrient(registration.warped_image, "LPS"),
    }
    arrays = {name: scale_intensity(sitk.GetArrayViewFromImage(image)) for name, image in images.items()}
    field = sitk.DICOMOrient(displacement_image(registration.ddf, registration.fixed), "LPS")
    planes = planes_of({**arrays, "ddf": ddf_from_image(field)}, fixed.GetSpacing()[::-1])
    return [{**plane, "title": name} for name, plane in planes.items()]


def _row(moving: np.ndarray, fixed: np.ndarray, ddf: np.ndarray, title: str = "") -> dict[str, Any]:
    # each by its own scale, as the network sees them: two files need not be on one
    moving, fixed = (scale_intensity(image) for image in (moving, fixed))
    warped = warp(torch.from_numpy(moving)[None, None], torch.from_numpy(ddf)[None])[0, 0].numpy()
    return {"moving": moving, "fixed": fixed, "warped": warped, "ddf": ddf, "title": title}


WRITERS: dict[str, Callable[..., None]] = {
    "nifti": _nifti,
    "picture": _picture,
    "itk": _itk,
    "numpy": _numpy,
    "dicom": _dicom,
}
