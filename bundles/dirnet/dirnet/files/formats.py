"""What result files are called; light, so that help and refusals come without loading torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import InputError

__all__ = ["FOLLOWED", "FORMATS", "first_files", "followed_files", "followed_formats", "result_files"]

FORMATS: dict[str, tuple[str, ...]] = {  # of a registration: how the files of each are called, after its own name
    "nifti": ("warped.nii.gz", "ddf.nii.gz"),
    "picture": ("overview.png",),
    "itk": ("transform.h5",),
    "numpy": ("ddf.npy",),
    "dicom": ("warped.dcm", "registration.dcm"),
}
FOLLOWED: dict[str, tuple[str, ...]] = {  # of a followed cine, likewise
    "masks": ("masks.nii.gz", "masks.json"),
    "seg": ("segmentation.dcm",),
    "rtstruct": ("rtstruct.dcm",),
    "slicer": ("ed.seg.nrrd", "es.seg.nrrd"),
    "table": ("cycle.csv", "numbers.json"),
    "pictures": ("cycle.png", "strain.png", "cine.gif"),
    "report": ("report.html",),
}
OF_DICOM = ("seg", "rtstruct")  # need a cine of DICOM files
IF_ASKED = ("slicer", "report")  # not written by default


def result_files(name: str, formats: Sequence[str]) -> dict[str, list[str]]:
    """Names of the files of a registration called ``name``, by format.

    Raises:
        InputError: when there is no such format.
    """
    _check(formats, FORMATS)
    return {form: [f"{name}_{part}" for part in FORMATS[form]] for form in formats}


def followed_formats(formats: Sequence[str] | None, dicom: bool) -> list[str]:
    """The formats of a followed cine that are written, in the order of :data:`FOLLOWED`.

    Args:
        formats: those that are asked for; by default all that its cine can have, except ``slicer`` and ``report``.
        dicom: whether the cine is of DICOM files.

    Raises:
        InputError: when there is no such format, or the cine cannot have it.
    """
    if formats is None:
        return [form for form in FOLLOWED if form not in IF_ASKED and (dicom or form not in OF_DICOM)]
    _check(formats, FOLLOWED)
    if not dicom and (lacking := [form for form in OF_DICOM if form in formats]):
        raise InputError(f"the format {' and '.join(lacking)} refers to the cine's DICOM files, and this cine has none")
    return [form for form in FOLLOWED if form in formats]


def followed_files(name: str, formats: Sequence[str]) -> dict[str, str]:
    """Names of the files of a followed cine called ``name``, by result; ``formats`` as :func:`followed_formats` has
    them."""
    return {result: f"{name}_{result}" for form in formats for result in FOLLOWED[form]}


def first_files(name: str) -> dict[str, str]:
    """Names of the files of first contours on a cine called ``name``, by result."""
    return {result: f"{name}_first_contours.{result}" for result in ("nii.gz", "json", "png")}


def _check(formats: Sequence[str], known: Collection[str]) -> None:
    unknown = [form for form in formats if form not in known]
    if unknown or isinstance(formats, str) or not formats:
        found = formats if isinstance(formats, str) else ", ".join(map(repr, unknown)) or "none"
        raise InputError(f"formats must be some of {', '.join(known)}; got {found}")
