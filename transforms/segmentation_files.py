"""What was drawn on a cine in a program that saves it as DICOM Segmentation: 3D Slicer, OHIF, an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import SimpleITK as sitk

from .dicom import SEGMENTATIONS, is_compressed, named_errors, read_dicom, sop_class
from .errors import InputError
from .grids import check_edges, on_grid, slice_grid
from .nifti_files import MOST_DATA, MOST_DATA_PER_BYTE
from .references import Reference, check_times, check_used, instances, referred, slices_of

if TYPE_CHECKING:
    from .cine_files import CineStack

__all__ = ["DRAWN", "FOLLOWED", "is_segmentation", "read_segmentation"]

GEOMETRY = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
SAME_PLACE = 0.01  # mm
DRAWN, FOLLOWED = "drawn", "followed"
"""Frame Comments of what was drawn by hand, and of what was followed from it."""


def is_segmentation(path: str | Path) -> bool:
    """Whether a file is a DICOM Segmentation or Label Map Segmentation."""
    return sop_class(path) in SEGMENTATIONS


def read_segmentation(
    path: str | Path, cine: CineStack
) -> tuple[dict[int, np.ndarray], dict[int, str], dict[int, np.ndarray]]:
    """What a DICOM Segmentation (PS3.3 A.51) marks on a cine, by segment.

    Its frames are known by the images, or frames of images, that they refer to (Derivation Image, C.7.6.16.2.6). Beside
    such, one that refers to another image and lies on none of the slices is passed over: the file may be that of a
    whole study. Where no frame refers to the cine's images, each stands for every time, and goes to the slice nearest
    to whose plane it lies. Where its pixels are others than the slice's, the nearest are taken. Frames on which nothing
    is marked say nothing of time.

    Args:
        path: a BINARY, FRACTIONAL (from half on) or LABELMAP object.
        cine: on which it was drawn.

    Returns:
        of each segment by number, if it marks anything, bool (S, T, H, W), or (S, 1, H, W) where none of its frames
        has a time; the segments' names; and which of their frames were drawn by hand, (S, T) bool by segment, where
        this project wrote them, which comments them as :data:`DRAWN`.

    Raises:
        InputError: when it cannot be read; when it marks frames that lie where no slice does, or beyond the images;
            when it marks some that refer to the cine's images and, on its slices, some that refer to none, or refers to
            none and holds two at one place; when the cine's images cannot be told apart.
    """
    found, frames = _read(path)
    with named_errors(path):
        names = {
            int(segment.get("SegmentNumber") or 0): str(segment.get("SegmentLabel") or "without name")
            for segment in found.get("SegmentSequence") or []
        }
    known = instances(cine)
    segments = {}
    for number in sorted({number for _, _, number in frames}):
        masks = _segment(path, found, [frame[:2] for frame in frames if frame[2] == number], cine, known)
        if masks.any():
            segments[number] = masks
    by_hand: dict[int, np.ndarray] = {}
    for item, _, number in frames:
        if _comment(item) == DRAWN:
            places = tuple(np.array([known[image] for image in _sources(item) if image in known], int).reshape(-1, 2).T)
            by_hand.setdefault(number, np.zeros(cine.images.shape[:2], bool))[places] = True
    return segments, names, by_hand


def _segment(
    path: str | Path,
    found: pydicom.Dataset,
    frames: list[tuple[pydicom.Dataset, np.ndarray]],
    cine: CineStack,
    known: dict[Reference, tuple[int, int]],
) -> np.ndarray:
    """What frames of one segment mark, (S, T, H, W) or (S, 1, H, W)."""
    shared = (found.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    timed, timeless = [], []
    for item, marked in frames:
        refers = {known[image] for image in (*_sources(item), *_sources(shared)) if image in known}
        if not refers:
            timeless.append((item, marked))
        elif marked.any():
            timed.append((item, marked, refers))
    if not timed:
        return _by_place(path, [_image(path, found, shared, *frame) for frame in timeless], cine)
    doubtful = sum(
        bool(marked.any()) and not (_refers(item, shared) and _apart(_image(path, found, shared, item, marked), cine))
        for item, marked in timeless
    )
    check_times(str(path), "frames", len(timed), doubtful)
    masks = np.zeros(cine.images.shape, bool)
    used = 0
    for item, marked, refers in timed:
        there = False
        for number, time in refers:
            grid = cine.grids[number]
            image = _image(path, found, shared, item, marked, grid)
            mask = on_grid(image, grid) != 0
            if mask.any():
                check_edges(image, grid, path)
            masks[number, time] |= mask
            there = there or bool(mask.any())
        used += there
    check_used(path, f"drawn on {len(timed)} frames", len(timed), used)
    return masks


def _refers(item: pydicom.Dataset, shared: pydicom.Dataset) -> bool:
    """Whether a frame refers to any image."""
    return next(_sources(item), None) is not None or next(_sources(shared), None) is not None


def _apart(image: sitk.Image, cine: CineStack) -> bool:
    """Whether an image lies on none of the slices."""
    return not any(slices_of(np.array([[_depth(image, grid)] for grid in cine.grids]), cine))


def _by_place(path: str | Path, images: list[sitk.Image], cine: CineStack) -> np.ndarray:
    """Frames without time on the slices that they lie nearest to, (S, 1, H, W)."""
    slices, _, height, width = cine.images.shape
    masks = np.zeros((slices, 1, height, width), bool)
    used, finer = set(), False
    depths = np.array([[_depth(image, grid) for image in images] for grid in cine.grids]).reshape(slices, len(images))
    for number, (grid, near) in enumerate(zip(cine.grids, slices_of(depths, cine), strict=True)):
        if sum(abs(depths[number, n] - depths[number, near[0]]) < SAME_PLACE for n in near) > 1:
            raise InputError(
                f"{path}: two frames lie at one place and refer to none of the cine's images: of which time are they?"
            )
        finer = finer or len(near) > 1
        if not near:
            continue
        masks[number, 0] = on_grid(images[near[0]], grid) != 0
        if masks[number].any():
            check_edges(images[near[0]], grid, path)
            used.add(near[0])
    if not finer:  # frames closer than the slices may lie between them, or beyond
        drawn = sum(bool(sitk.GetArrayViewFromImage(image).any()) for image in images)
        check_used(path, f"drawn on {drawn} frames", drawn, len(used))
    return masks


def _read(path: str | Path) -> tuple[pydicom.Dataset, list[tuple[pydicom.Dataset, np.ndarray, int]]]:
    """The object, and of each of its frames and segments the description, what is marked, bool, and the number."""
    with named_errors(path):
        found = read_dicom(path)
        found.walk(lambda dataset, element: element.value)  # pydicom converts them as they are asked for
        groups = found.get("PerFrameFunctionalGroupsSequence") or []
        _check_length(path, found, len(groups))
        pixels = found.pixel_array.reshape(-1, found.Rows, found.Columns)
        return found, list(_marked(path, found, groups, pixels))


def _marked(
    path: str | Path, found: pydicom.Dataset, groups: Sequence[pydicom.Dataset], pixels: np.ndarray
) -> Iterator[tuple[pydicom.Dataset, np.ndarray, int]]:
    kind = found.get("SegmentationType")
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(f"{path}: expected a segmentation BINARY, FRACTIONAL or LABELMAP, found {kind}")
    shared = (found.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    for item, frame in zip(groups, pixels, strict=True):
        if kind == "LABELMAP":
            yield from ((item, frame == number, int(number)) for number in np.unique(frame[frame != 0]))
            continue
        least = found.MaximumFractionalValue / 2 if kind == "FRACTIONAL" else 0.5
        (segment,) = item.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        yield item, frame >= least, int(segment.ReferencedSegmentNumber)


def _check_length(path: str | Path, found: pydicom.Dataset, described: int) -> None:
    """Before memory is taken on the header's word."""
    frames = int(found.get("NumberOfFrames") or 1)
    if frames != described:
        raise InputError(f"{path}: expected {frames} frames to be described, found {described}")
    claimed, held = -(-frames * found.Rows * found.Columns * found.BitsAllocated // 8), len(found.PixelData)
    if claimed > (max(MOST_DATA, MOST_DATA_PER_BYTE * held) if is_compressed(found, path) else held):
        raise InputError(f"{path}: truncated: its header says {claimed} bytes of pixels, the file holds {held}")


def _comment(item: pydicom.Dataset) -> str:
    return str((item.get("FrameContentSequence") or [pydicom.Dataset()])[0].get("FrameComments") or "")


def _sources(item: pydicom.Dataset) -> Iterator[Reference]:
    for derivation in item.get("DerivationImageSequence") or []:
        yield from referred(derivation.get("SourceImageSequence") or [])


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
    image = sitk.GetImageFromArray(marked[None].astype(np.uint8))
    image.CopyInformation(grid)
    return image


def _depth(image: sitk.Image, grid: sitk.Image) -> float:
    """How far in mm an image's middle lies from a grid's plane, along its normal."""
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return grid.TransformPhysicalPointToContinuousIndex(centre)[2] * grid.GetSpacing()[2]
