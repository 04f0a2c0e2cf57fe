"""What result files are called; light, so that help and refusals come without loading torch."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError

__all__ = ["DICOM_RESULTS", "FORMATS", "RESULTS", "followed_files", "result_files"]

FORMATS: dict[str, tuple[str, ...]] = {  # how the files of each are called, after the registration's own name
    "nifti": ("warped.nii.gz", "ddf.nii.gz"),
    "picture": ("overview.png",),
    "itk": ("transform.h5",),
    "numpy": ("ddf.npy",),
    "dicom": ("warped.dcm", "registration.dcm"),
}
RESULTS = (
    "masks.nii.gz",
    "masks.json",
    "cycle.csv",
    "numbers.json",
    "cycle.png",
    "strain.png",
    "cine.gif",
)  # of a followed cine
DICOM_RESULTS = ("segmentation.dcm", "rtstruct.dcm")  # of one from DICOM files, besides


def result_files(name: str, formats: Sequence[str]) -> dict[str, list[str]]:
    """Names of the files of a registration called ``name``, by format.

    Raises:
        InputError: when there is no such format.
    """
    unknown = [form for form in formats if form not in FORMATS]
    if unknown or isinstance(formats, str):
        found = formats if isinstance(formats, str) else ", ".join(map(str, unknown))
        raise InputError(f"formats must be some of {', '.join(FORMATS)}; got {found}")
    return {form: [f"{name}_{part}" for part in FORMATS[form]] for form in formats}


def followed_files(name: str, dicom: bool) -> dict[str, str]:
    """Names of the files of a followed cine called ``name``, by result; ``dicom``: whether it is from DICOM files."""
    return {result: f"{name}_{result}" for result in (RESULTS + DICOM_RESULTS if dicom else RESULTS)}
