"""Label images as volumes by time, from NIfTI, NRRD and MetaImage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .itk_files import read_itk
from .nifti_files import is_nifti, read_nifti

__all__ = ["read_volumes"]

Size = tuple[int, int, int]


def read_volumes(path: str | Path, slice_cine: Size | None = None) -> tuple[list[sitk.Image], bool, dict[int, str]]:
    """A label image's volumes (W, H, D) by time, or the one without.

    Args:
        path: (x, y), (x, y, slice) or (x, y, slice, time).
        slice_cine: (W, H, T) of a cine of one slice: a file of this size is (x, y, time).

    Returns:
        the volumes; whether they have a place in the patient; what the file calls its values, where it does.

    Raises:
        InputError: when it cannot be read, or a pixel has several labels.
    """
    path = Path(path)
    return _of_nifti(path, slice_cine) if is_nifti(path) else _of_itk(path, slice_cine)


def _of_nifti(path: Path, slice_cine: Size | None) -> tuple[list[sitk.Image], bool, dict[int, str]]:
    nifti = read_nifti(path)
    image = nifti.image
    if image.GetDimension() == 2:
        volumes = [nifti.at_place(sitk.GetArrayFromImage(image)[None])]
    elif image.GetSize() == slice_cine:
        volumes = [nifti.at_place(frame[None]) for frame in sitk.GetArrayFromImage(image)]
    else:
        volumes = _by_time(image)
    return volumes, nifti.placed, {}


def _of_itk(path: Path, slice_cine: Size | None) -> tuple[list[sitk.Image], bool, dict[int, str]]:
    image = read_itk(path)
    if image.GetNumberOfComponentsPerPixel() != 1:
        layers = image.GetNumberOfComponentsPerPixel()
        raise InputError(
            f"{path}: expected one label a pixel, found {layers} layers; save segments that do not overlap"
        )
    if image.GetDimension() == 2:
        return [sitk.JoinSeries(image)], False, {}
    if slice_cine is not None and image.GetSize() == slice_cine:
        volumes = [image[:, :, frame : frame + 1] for frame in range(slice_cine[2])]
        for volume in volumes:
            volume.SetOrigin(volumes[0].GetOrigin())  # the third axis is time
    else:
        volumes = _by_time(image)
    first = volumes[0]
    placed = any(first.GetOrigin()) or not np.allclose(np.abs(first.GetDirection()), np.eye(3).ravel())
    return volumes, placed, _segment_names(image)


def _by_time(image: sitk.Image) -> list[sitk.Image]:
    return [image] if image.GetDimension() == 3 else [image[..., time] for time in range(image.GetSize()[3])]


def _segment_names(image: sitk.Image) -> dict[int, str]:
    """What 3D Slicer's .seg.nrrd calls its labels."""
    names = {}
    for number in range(len(image.GetMetaDataKeys())):
        value, name = f"Segment{number}_LabelValue", f"Segment{number}_Name"
        if image.HasMetaDataKey(value) and image.HasMetaDataKey(name) and image.GetMetaData(value).isdecimal():
            names[int(image.GetMetaData(value))] = image.GetMetaData(name)
    return names
