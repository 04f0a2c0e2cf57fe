"""What was drawn on a cine in a program that saves it as DICOM Segmentation: 3D Slicer, OHIF, an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.misc import is_dicom
from pydicom.uid import SegmentationStorage

from .errors import InputError
from .grids import on_grid, slice_grid

if TYPE_CHECKING:
    from .cine_files import CineStack

__all__ = ["is_segmentation", "read_segmentation"]

GEOMETRY = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
SAME_PLACE = 0.01  # mm


def is_segmentation(path: str | Path) -> bool:
    """Whether a file is a DICOM Segmentation."""
    return is_dicom(path) and (
        pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).get("SOPClassUID")
        == SegmentationStorage
    )


def read_segmentation(path: str | Path, cine: CineStack) -> np.ndarray:
    """What a DICOM Segmentation (PS3.3 A.51) marks on a cine: bool (S, T, H, W), or (S, 1, H, W) where none of its
    frames has a time.

    Its frames are known by the images that they refer to (Derivation Image, C.7.6.16.2.6); one that refers to none of
    the cine's stands for every time, and goes to the slice nearest to whose plane it lies. Where its pixels are others
    than the slice's, the nearest are taken. Frames on which nothing is marked say nothing of time.

    Args:
        path: an object of one segment, BINARY.
        cine: on which it was drawn.

    Raises:
        ValueError: when it cannot be read, holds several segments, marks frames that lie where no slice does, marks
            some that refer to the cine's images and some that refer to none, or refers to none and holds two at one
            place.
    """
    found, pixels = _read(path)
    shared = (found.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    known = _instances(cine)
    timed, timeless = [], []
    for item, marked in zip(found.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        refers = {known[uid] for uid in (*_sources(item), *_sources(shared)) if uid in known}
        if not refers:
            timeless.append((item, marked))
        elif marked.any():
            timed.append((item, marked, refers))
    drawn = sum(bool(marked.any()) for _, marked in timeless)
    if timed and drawn:
        raise InputError(
            f"{path}: {len(timed)} frames refer to the cine's images and {drawn} to none: of which time are those?"
        )
    if not timed:
        return _by_place(path, [_image(path, found, shared, *frame) for frame in timeless], cine)
    masks = np.zeros(cine.images.shape, bool)
    used = 0
    for item, marked, refers in timed:
        there = False
        for number, time in refers:
            grid = cine.grids[number]
            mask = on_grid(_image(path, found, shared, item, marked, grid), grid) != 0
            masks[number, time] |= mask
            there = there or bool(mask.any())
        used += there
    _check_used(path, len(timed), used)
    return masks


def _by_place(path: str | Path, images: list[sitk.Image], cine: CineStack) -> np.ndarray:
    """Frames without time on the slices that they lie nearest to, (S, 1, H, W)."""
    slices, _, height, width = cine.images.shape
    masks = np.zeros((slices, 1, height, width), bool)
    used, finer = set(), False
    for number, grid in enumerate(cine.grids):
        near = _near(path, images, grid)
        finer = finer or len(near) > 1
        if near:
            masks[number, 0] = on_grid(images[near[0]], grid) != 0
        if masks[number].any():
            used.add(near[0])
    if not finer:  # frames closer than the slices may lie between them, or beyond
        _check_used(path, sum(bool(sitk.GetArrayViewFromImage(image).any()) for image in images), len(used))
    return masks


def _check_used(path: str | Path, drawn: int, used: int) -> None:
    if 0 < used < drawn:  # none: what is read is empty, which its reader says
        raise InputError(f"{path}: drawn on {drawn} frames, of which only {used} lie where the cine's slices do")


def _read(path: str | Path) -> tuple[pydicom.Dataset, np.ndarray]:
    found = pydicom.dcmread(path)
    segments = [str(segment.get("SegmentLabel") or "without name") for segment in found.get("SegmentSequence") or []]
    if len(segments) != 1:
        raise InputError(
            f"{path}: expected a segmentation of one segment, found {len(segments)}: {', '.join(segments)}"
        )
    if found.get("SegmentationType") != "BINARY":
        raise InputError(f"{path}: expected a BINARY segmentation, found {found.get('SegmentationType')}")
    try:
        pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    except Exception as error:  # pydicom's decoders have their own errors for damaged pixels
        raise InputError(f"{path}: cannot be read as DICOM: {type(error).__name__}: {error}") from error
    groups = found.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != len(pixels):
        raise InputError(f"{path}: expected {len(pixels)} frames to be described, found {len(groups)}")
    return found, pixels


def _instances(cine: CineStack) -> dict[str, tuple[int, int]]:
    """Slice and frame by SOP Instance UID."""
    tags = ["SOPInstanceUID"]
    return {
        pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags).get("SOPInstanceUID"): (number, time)
        for number, files in enumerate(cine.files)
        for time, file in enumerate(files)
    }


def _sources(item: pydicom.Dataset) -> list[str]:
    return [
        source.get("ReferencedSOPInstanceUID")
        for derivation in item.get("DerivationImageSequence") or []
        for source in derivation.get("SourceImageSequence") or []
    ]


def _image(
    path: str | Path,
    found: pydicom.Dataset,
    shared: pydicom.Dataset,
    item: pydicom.Dataset,
    marked: np.ndarray,
    source: sitk.Image | None = None,
) -> sitk.Image:
    """One frame at its place; at that of its source, where it has none of its own (A.51.5.1)."""
    header = pydicom.Dataset()
    header.Rows, header.Columns = found.Rows, found.Columns
    for group in (shared, item):
        for name in GEOMETRY:
            for part in group.get(name) or []:
                header.update(part)
    if all(name in header for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        grid = slice_grid(header, path)
    elif source is not None and source.GetSize()[1::-1] == marked.shape:
        grid = source
    else:
        raise InputError(f"{path}: its frames lack their place in space, and are not drawn on the cine's pixels")
    image = sitk.GetImageFromArray(marked[None])
    image.CopyInformation(grid)
    return image


def _near(path: str | Path, images: list[sitk.Image], grid: sitk.Image) -> list[int]:
    """Which of some images lie within half a slice of a grid's plane, the nearest first."""
    depths = []
    for image in images:
        centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
        depths.append(grid.TransformPhysicalPointToContinuousIndex(centre)[2])
    near = sorted((index for index, depth in enumerate(depths) if abs(depth) <= 0.5), key=lambda n: abs(depths[n]))
    if sum(abs(depths[n] - depths[near[0]]) * grid.GetSpacing()[2] < SAME_PLACE for n in near) > 1:
        raise InputError(
            f"{path}: two frames lie at one place and refer to none of the cine's images: of which time are they?"
        )
    return near
