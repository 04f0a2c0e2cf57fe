"""Label images as volumes by time, from NIfTI, NRRD and MetaImage; segments that overlap, as layers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .errors import InputError
from .itk_files import read_itk
from .nifti_files import is_nifti, read_nifti

__all__ = ["read_layers", "read_volumes"]

Size = tuple[int, int, int]
MOST_SEGMENTS = 30  # in layers


def read_volumes(path: str | Path, slice_cine: Size | None = None) -> tuple[list[sitk.Image], bool, dict[int, str]]:
    """A label image's volumes (W, H, D) by time, or the one without.

    Args:
        path: (x, y), (x, y, slice) or (x, y, slice, time); a sequence of 3D Slicer (.seq.nrrd) too.
        slice_cine: (W, H, T) of a cine of one slice: a file of this size is (x, y, time).

    Returns:
        the volumes; whether they have a place in the patient; what the file calls its values, where it does.

    Raises:
        InputError: when it cannot be read, or a pixel has several labels: see :func:`read_layers`.
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
        if image.GetDimension() != 3 or not _is_sequence(image):
            layers = image.GetNumberOfComponentsPerPixel()
            raise InputError(f"{path}: expected one label a pixel, found {layers} layers that it does not describe")
        times = range(image.GetNumberOfComponentsPerPixel())
        return [sitk.VectorIndexSelectionCast(image, time) for time in times], _is_placed(image), {}
    if image.GetDimension() == 2:
        return [sitk.JoinSeries(image)], False, {}
    if slice_cine is not None and image.GetSize() == slice_cine:
        volumes = [image[:, :, frame : frame + 1] for frame in range(slice_cine[2])]
        for volume in volumes:
            volume.SetOrigin(volumes[0].GetOrigin())  # the third axis is time
    else:
        volumes = _by_time(image)
    names = {value: name for _, value, name in _segments(image)}
    return volumes, _is_placed(volumes[0]), names


def _by_time(image: sitk.Image) -> list[sitk.Image]:
    return [image] if image.GetDimension() == 3 else [image[..., time] for time in range(image.GetSize()[3])]


def read_layers(path: str | Path) -> tuple[sitk.Image, bool, dict[int, str]] | None:
    """What overlaps in a file of 3D Slicer, .seg.nrrd: its segments, each in one of several layers.

    Returns:
        a volume (W, H, D) in which bit n stands for the n-th segment, from 0; whether it has a place in the patient;
        what the segments are called, by their label's value where these differ, else by number from 1. None of a file
        without layers.

    Raises:
        InputError: when it cannot be read, or does not say which segment is in which layer.
    """
    image = read_itk(path)
    layers = image.GetNumberOfComponentsPerPixel()
    segments = _segments(image)
    if layers == 1 or image.GetDimension() != 3 or not segments:
        return None
    if len(segments) > MOST_SEGMENTS or any(layer >= layers for layer, _, _ in segments):
        raise InputError(
            f"{path}: expected {MOST_SEGMENTS} segments at most, in {layers} layers; found {len(segments)} segments, "
            f"in layers up to {max(layer for layer, _, _ in segments)} from 0"
        )
    values = sitk.GetArrayViewFromImage(image)
    bits = np.zeros(values.shape[:3], np.int32)
    for number, (layer, value, _) in enumerate(segments):
        bits[values[..., layer] == value] |= 1 << number
    volume = sitk.GetImageFromArray(bits)
    volume.CopyInformation(image)
    labels = [value for _, value, _ in segments]
    numbers = labels if len(set(labels)) == len(labels) else range(1, len(labels) + 1)
    return volume, _is_placed(image), {number: name for number, (_, _, name) in zip(numbers, segments, strict=True)}


def _is_placed(image: sitk.Image) -> bool:
    return any(image.GetOrigin()) or not np.allclose(np.abs(image.GetDirection()), np.eye(3).ravel())


def _is_sequence(image: sitk.Image) -> bool:
    """Whether several values of each pixel are times, as 3D Slicer's .seq.nrrd has them."""
    return any(re.fullmatch(r"axis \d index type", key) for key in image.GetMetaDataKeys())


def _segments(image: sitk.Image) -> list[tuple[int, int, str]]:
    """Layer, value and name of each segment that 3D Slicer's .seg.nrrd describes."""
    found = []
    for number in range(len(image.GetMetaDataKeys())):
        keys = [f"Segment{number}_{part}" for part in ("Layer", "LabelValue", "Name")]
        if not image.HasMetaDataKey(keys[1]):
            continue
        layer, value, name = (image.GetMetaData(key) if image.HasMetaDataKey(key) else "" for key in keys)
        if value.isdecimal() and len(value) < 10 and (layer or "0").isdecimal() and len(layer) < 10:
            found.append((int(layer or 0), int(value), name or "without name"))
    return found
