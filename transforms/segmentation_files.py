"""What was drawn on a cine in a program that saves it as DICOM Segmentation: 3D Slicer, OHIF, an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.misc import is_dicom
from pydicom.uid import SegmentationStorage

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
    than the slice's, the nearest are taken.

    Args:
        path: an object of one segment, BINARY.
        cine: on which it was drawn.

    Raises:
        ValueError: when it cannot be read, holds several segments, or refers to no frame of the cine and holds two at
            one place.
    """
    found, pixels = _read(path)
    shared = (found.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    known = _instances(cine)
    masks = np.zeros(cine.images.shape, bool)
    timeless, timed = [], False
    for item, marked in zip(found.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        refers = {known[uid] for uid in (*_sources(item), *_sources(shared)) if uid in known}
        timed = timed or bool(refers)
        if not refers:
            timeless.append(_image(path, found, shared, item, marked))
        for number, time in refers:
            image = _image(path, found, shared, item, marked, cine.grids[number])
            masks[number, time] |= on_grid(image, cine.grids[number]) != 0
    if not timed:
        masks = masks[:, :1]
    for number, grid in enumerate(cine.grids):
        for image in _nearest(path, timeless, grid):
            masks[number] |= on_grid(image, grid) != 0
    return masks


def _read(path: str | Path) -> tuple[pydicom.Dataset, np.ndarray]:
    found = pydicom.dcmread(path)
    segments = [str(segment.get("SegmentLabel") or "without name") for segment in found.get("SegmentSequence") or []]
    if len(segments) != 1:
        raise ValueError(
            f"{path}: expected a segmentation of one segment, found {len(segments)}: {', '.join(segments)}"
        )
    if found.get("SegmentationType") != "BINARY":
        raise ValueError(f"{path}: expected a BINARY segmentation, found {found.get('SegmentationType')}")
    try:
        pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    except Exception as error:  # pydicom's decoders have their own errors for damaged pixels
        raise ValueError(f"{path}: cannot be read as DICOM: {type(error).__name__}: {error}") from error
    groups = found.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != len(pixels):
        raise ValueError(f"{path}: expected {len(pixels)} frames to be described, found {len(groups)}")
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
        raise ValueError(f"{path}: its frames lack their place in space, and are not drawn on the cine's pixels")
    image = sitk.GetImageFromArray(marked[None])
    image.CopyInformation(grid)
    return image


def _nearest(path: str | Path, images: list[sitk.Image], grid: sitk.Image) -> list[sitk.Image]:
    """Of images that lie within half a slice of a grid's plane the nearest; none where none does."""
    depths = []
    for image in images:
        centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
        depths.append(grid.TransformPhysicalPointToContinuousIndex(centre)[2])
    offsets = np.array(depths) * grid.GetSpacing()[2]
    if not len(offsets) or np.abs(depths).min() > 0.5:
        return []
    nearest = int(np.abs(offsets).argmin())
    if (np.abs(offsets - offsets[nearest]) < SAME_PLACE).sum() > 1:
        raise ValueError(
            f"{path}: two frames lie at one place and refer to none of the cine's images: of which time are they?"
        )
    return [images[nearest]]
