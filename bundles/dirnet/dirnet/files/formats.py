"""The formats of a registration's files; light, so that a command's help can name them without loading torch."""

from __future__ import annotations

__all__ = ["FORMATS"]

FORMATS: dict[str, tuple[str, ...]] = {  # how the files of each are called, after the registration's own name
    "nifti": ("warped.nii.gz", "ddf.nii.gz"),
    "picture": ("overview.png",),
    "itk": ("transform.h5",),
    "numpy": ("ddf.npy",),
    "dicom": ("warped.dcm", "registration.dcm"),
}
