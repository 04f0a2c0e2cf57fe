"""What was drawn on a cine in a program that saves contours as DICOM RT Structure Set: by region of interest (ROI)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import RTStructureSetStorage

from .contours import enclosed
from .dicom import RANGES, named_errors, read_dicom, sop_class
from .errors import InputError
from .grids import PLANES_APART, check_lost
from .references import Reference, check_times, check_used, instances, referred, slices_of
from .values import listed

if TYPE_CHECKING:
    from .cine_files import CineStack

__all__ = ["is_structure_set", "read_structure_set"]

logger = logging.getLogger(__name__)

XOR = "CLOSEDPLANAR_XOR"
CLOSED = ("CLOSED_PLANAR", XOR)
# in the order of a file: pydicom passes over contours that are cut off, but not over the last of these
NEEDED = ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence")
SAME_PLANE = 0.01  # mm
LARGEST = 16  # times an image, the area in which a contour is drawn


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed contour: points (N, 3) in mm, LPS, the images that it refers to, and whether it says that what lies in
    two contours lies in none (PS3.3 C.8.8.6.3)."""

    points: np.ndarray
    images: list[Reference]
    xor: bool


@dataclass(frozen=True, eq=False)
class Region:
    """One ROI: what errors call it, its frame of reference (empty where unknown), and its contours."""

    name: str
    frame_of_reference: str
    contours: list[Contour]


def is_structure_set(path: str | Path) -> bool:
    """Whether a file is a DICOM RT Structure Set."""
    return sop_class(path) == RTStructureSetStorage


def read_structure_set(
    path: str | Path, cine: CineStack, numbers: Collection[int] | None = None
) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """What the contours of a DICOM RT Structure Set (PS3.3 A.19) enclose on a cine, by ROI: pixels whose centre lies
    inside.

    A contour that refers to one of the cine's images belongs to its slice and time. Beside such, one that refers to
    another image and lies on none of the slices is passed over: the file may be that of a whole study. Without such, a
    contour stands for every time, and goes to the slice within half a slice distance of its plane; of several planes,
    the nearest is taken. A contour within another of the same ROI is a hole, as most programs mean it; the standard has
    it so for CLOSEDPLANAR_XOR alone, and for others it is logged.

    Args:
        path: of the file.
        cine: on which it was drawn.
        numbers: of the ROIs to read; others may be of any kind. All by default.

    Returns:
        of each ROI by number, if it encloses anything, bool (S, T, H, W), or (S, 1, H, W) where none of its contours
        has a time; and the ROIs' names.

    Raises:
        InputError: when it cannot be read, or is cut short; when a contour is not closed and planar, or leaves the
            images, or two of them cross that are not CLOSEDPLANAR_XOR; when some lie on no slice, or of those on the
            slices some have a time and some have none; when those without time have another frame of reference than
            the cine.
    """
    names, regions = _read(path, numbers)
    known = instances(cine)
    segments = {}
    for number, region in sorted(regions.items()):
        masks = _masks(path, region, cine, known)
        if masks.any():
            segments[number] = masks
    return segments, names


def _read(path: str | Path, numbers: Collection[int] | None) -> tuple[dict[int, str], dict[int, Region]]:
    with named_errors(path):
        found = read_dicom(path)
        if missing := [name for name in NEEDED if name not in found]:
            raise InputError(f"{path}: truncated, or no structure set: lacks {', '.join(missing)}")
        items = {int(item.ROINumber): item for item in found.StructureSetROISequence}
        names = {number: str(item.get("ROIName") or "without name") for number, item in items.items()}
        if numbers is not None and not set(numbers) & set(names):
            wanted = ", ".join(map(str, numbers))
            raise InputError(f"{path}: has no ROI of the labels ({wanted}); it holds {listed(sorted(names), names)}")
        regions: dict[int, Region] = {}
        for item in found.ROIContourSequence:
            number = int(item.ReferencedROINumber)
            if number not in items:
                raise InputError(f"{path}: has contours of ROI {number}, which it does not describe")
            if numbers is None or number in numbers:
                name = f"ROI {number} ({names[number]})"
                uid = str(items[number].get("ReferencedFrameOfReferenceUID") or "")
                region = regions.setdefault(number, Region(name, uid, []))
                region.contours.extend(_contours(path, name, item.get("ContourSequence") or []))
    return names, regions


def _contours(path: str | Path, name: str, items: Sequence[pydicom.Dataset]) -> Iterator[Contour]:
    for item in items:
        if item.ContourGeometricType not in CLOSED:
            raise InputError(
                f"{path}: {name}: expected contours CLOSED_PLANAR, found {item.ContourGeometricType}; "
                "--labels lumen=NUMBER reads one ROI alone"
            )
        values = np.atleast_1d(np.array(item.ContourData, float))
        count = int(item.get("NumberOfContourPoints") or len(values) // 3)
        if len(values) != 3 * count or count < 3:
            raise InputError(
                f"{path}: {name}: expected a contour of {max(3, count)} points (x, y, z), found {len(values)} numbers"
            )
        _, low, high = RANGES["ImagePositionPatient"]
        if not ((values >= low) & (values <= high)).all():
            raise InputError(f"{path}: {name}: a contour's points are not in mm from {low:g} to {high:g}")
        images = list(referred(item.get("ContourImageSequence") or []))
        yield Contour(values.reshape(-1, 3), images, item.ContourGeometricType == XOR)


def _masks(path: str | Path, region: Region, cine: CineStack, known: dict[Reference, tuple[int, int]]) -> np.ndarray:
    """What a region encloses, (S, T, H, W) or (S, 1, H, W)."""
    refers = [{known[image] for image in contour.images if image in known} for contour in region.contours]
    timed = sum(map(bool, refers))
    if 0 < timed < len(refers):
        kept = [
            n
            for n, (contour, images) in enumerate(zip(region.contours, refers, strict=True))
            if images or not (contour.images and _apart(contour, cine))
        ]
        region = replace(region, contours=[region.contours[n] for n in kept])
        refers = [refers[n] for n in kept]
        check_times(f"{path}: {region.name}", "contours", timed, len(refers) - timed)
    slices, frames, height, width = cine.images.shape
    rings = _by_image(path, region, cine, refers) if timed else _by_place(path, region, cine)
    masks = np.zeros((slices, frames if timed else 1, height, width), bool)
    xor, nested = all(contour.xor for contour in region.contours), False
    for (number, time), drawn in rings.items():
        where = f"{path}: {region.name}, slice {number}"
        mask, within = _fill(path, where, drawn, cine.grids[number], xor)
        masks[number, time], nested = mask, nested or within
    if nested and not xor:
        logger.warning("%s: %s: a contour within another is taken as a hole", path, region.name)
    return masks


Rings = dict[tuple[int, int], list[np.ndarray]]  # (N, 2) of (x, y) in pixels, by slice and time


def _apart(contour: Contour, cine: CineStack) -> bool:
    """Whether a contour lies on none of the slices."""
    depths = np.array([[_depth(_index(contour.points, grid), grid)] for grid in cine.grids])
    return not any(slices_of(depths, cine))


def _by_image(
    path: str | Path, region: Region, cine: CineStack, refers: Sequence[Collection[tuple[int, int]]]
) -> Rings:
    rings = defaultdict(list)
    used = 0
    for contour, images in zip(region.contours, refers, strict=True):
        there = False
        for number, time in images:
            index = _index(contour.points, cine.grids[number])
            if (np.abs(index[:, 2]) <= 0.5).all():
                rings[number, time].append(index[:, :2])
                there = True
        used += there
    check_used(path, f"{region.name} has {len(region.contours)} contours", len(region.contours), used)
    return rings


def _by_place(path: str | Path, region: Region, cine: CineStack) -> Rings:
    """Contours without time on the slices that they lie nearest to; their time is 0."""
    if region.contours:
        _check_place(path, region, cine)
    rings: Rings = {}
    used, finer, farthest = set(), False, 0.0
    indices = [[_index(contour.points, grid) for contour in region.contours] for grid in cine.grids]
    depths = np.array(
        [[_depth(index, grid) for index in found] for found, grid in zip(indices, cine.grids, strict=True)]
    ).reshape(len(cine.grids), len(region.contours))
    for number, near in enumerate(slices_of(depths, cine)):
        if not near:
            continue
        nearest = depths[number, near[0]]
        on_plane = [n for n in near if abs(depths[number, n] - nearest) < SAME_PLANE]
        finer = finer or len(on_plane) < len(near)
        farthest = max(farthest, abs(float(nearest)))
        rings[number, 0] = [indices[number][n][:, :2] for n in on_plane]
        used.update(on_plane)
    if not finer:  # contours closer than the slices may lie between them, or beyond
        check_used(path, f"{region.name} has {len(region.contours)} contours", len(region.contours), len(used))
    if farthest > PLANES_APART:
        logger.warning("%s: %s: its contours lie up to %.1f mm off the cine's slices", path, region.name, farthest)
    return rings


def _check_place(path: str | Path, region: Region, cine: CineStack) -> None:
    """Whether contours that refer to no image of the cine can be put on it by their place."""
    if not cine.placed:
        raise InputError(f"{path}: its contours lie in space, where the cine has no place")
    headers = [read_dicom(files[0], pixels=False) for files in cine.files]
    frames = {str(header.get("FrameOfReferenceUID") or "") for header in headers} - {""}
    if region.frame_of_reference and frames and region.frame_of_reference not in frames:
        raise InputError(
            f"{path}: {region.name}: refers to none of the cine's images, and its frame of reference is "
            f"{region.frame_of_reference}, the cine's {min(frames)}; was it drawn in another study?"
        )


def _depth(index: np.ndarray, grid: sitk.Image) -> float:
    """How far in mm a contour's farthest point lies from a grid's plane, along its normal; by indices (N, 3)."""
    return float(index[np.abs(index[:, 2]).argmax(), 2]) * grid.GetSpacing()[2]


def _index(points: np.ndarray, grid: sitk.Image) -> np.ndarray:
    """Points (N, 3) in mm as continuous indices (x, y, z) of a grid; its plane is z = 0."""
    direction = np.reshape(grid.GetDirection(), (3, 3))
    return (points - grid.GetOrigin()) @ direction / grid.GetSpacing()


def _fill(
    path: str | Path, where: str, rings: list[np.ndarray], grid: sitk.Image, xor: bool
) -> tuple[np.ndarray, bool]:
    """What rings on a slice enclose, bool (H, W), and whether some lie within others."""
    width, height = grid.GetSize()[:2]
    points = np.concatenate(rings)
    first = np.minimum(np.floor(points.min(0)), 0).astype(int)
    columns, rows = np.maximum(np.ceil(points.max(0)) + 1, (width, height)).astype(int) - first
    if rows * columns > LARGEST * height * width:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        raise InputError(
            f"{where}: contour outside the image: x from {left:.0f} to {right:.0f}, y from {top:.0f} to "
            f"{bottom:.0f} pixels; the image has {width} columns and {height} rows"
        )
    masks = [enclosed([ring - first], (rows, columns)) for ring in rings]
    nested = _check_crossing(where, masks, xor)
    whole = np.logical_xor.reduce(masks)
    mask = whole[-first[1] : height - first[1], -first[0] : width - first[0]]
    if whole.any():
        area = float(whole.sum()) * grid.GetSpacing()[0] * grid.GetSpacing()[1]
        check_lost(1 - float(mask.sum() / whole.sum()), area, path)
    return mask, nested


def _check_crossing(where: str, masks: Sequence[np.ndarray], xor: bool) -> bool:
    """Contours of one ROI in one plane lie apart or one within another; else they are two drawings, unless they say
    what they mean where they cross. Whether one lies within another."""
    nested = False
    for one, other in combinations(masks, 2):
        common = int((one & other).sum())
        if not common:
            continue
        if common == one.sum() == other.sum() or (not xor and common < min(one.sum(), other.sum())):
            raise InputError(f"{where}: two contours cross; expected one drawing of each slice and time")
        nested = True
    return nested
