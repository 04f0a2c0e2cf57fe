"""Where slices lie in the patient, and what lies there in other images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from .dicom import MAX_PIXELS, numbers
from .errors import InputError

__all__ = [
    "PLANES_APART",
    "check_edges",
    "check_lost",
    "check_place",
    "known_grid",
    "on_grid",
    "on_slices",
    "slice_distance",
    "slice_grid",
]

logger = logging.getLogger(__name__)

LONGEST_PIXEL = 1000.0  # mm
FARTHEST = 1e6  # mm from the origin
# What is drawn beyond the edge of the images, and how differently planes lie
MOST_LOST, LOSS_SAID = 0.05, 0.01
PLANES_APART, PLANES_TILTED = 1.0, 2.0  # mm, degrees: said from here on


def slice_grid(header: pydicom.Dataset, path: str | Path) -> sitk.Image:
    """The pixel grid of a DICOM slice in the patient (PS3.3 C.7.6.2.1.1): an image (W, H, 1) without content.

    Its third spacing is that between slices, else the slice's thickness, else 1 mm.

    Args:
        header: with rows, columns, pixel spacing, position and orientation.
        path: what it is called in errors.

    Raises:
        InputError: when one of them is missing, no number, not finite or out of range, or row and column are no unit
            vectors at right angles; names file and attribute.
    """
    needed = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
    known = {name: numbers(header, name, path) for name in needed}
    found = {name: values for name, values in known.items() if values is not None}
    if missing := [name for name in needed if name not in found]:
        raise InputError(f"{path}: has no place in space: lacks {', '.join(missing)}")
    (rows,), (columns,) = found["Rows"], found["Columns"]
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{path}: Rows x Columns = {rows:g} x {columns:g}; a slice may have {MAX_PIXELS} pixels")
    row, column = np.array(found["ImageOrientationPatient"][:3]), np.array(found["ImageOrientationPatient"][3:])
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=0.01):
        raise InputError(f"{path}: ImageOrientationPatient is no pair of unit vectors at right angles")
    down, across = found["PixelSpacing"]
    image = sitk.Image([int(columns), int(rows), 1], sitk.sitkUInt8)
    image.SetSpacing([across, down, slice_distance(header, path) or 1.0])
    image.SetOrigin(found["ImagePositionPatient"])
    image.SetDirection(np.stack([row, column, np.cross(row, column)], 1).ravel().tolist())
    return image


def known_grid(header: pydicom.Dataset, path: str | Path) -> sitk.Image | None:
    """:func:`slice_grid` of a slice whose header says where it lies, else None.

    Raises:
        InputError: as there, but for what is missing.
    """
    place = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    return slice_grid(header, path) if all(numbers(header, name, path) for name in place) else None


def slice_distance(header: pydicom.Dataset, path: str | Path) -> float | None:
    """Between slices in mm, as a slice's own header has it: that of their middles, else the thickness; or None.

    Raises:
        InputError: as :func:`transforms.dicom.numbers`.
    """
    between, thickness = (numbers(header, name, path) for name in ("SpacingBetweenSlices", "SliceThickness"))
    found = between or thickness
    return abs(found[0]) if found else None


def check_place(image: sitk.Image, name: str | Path) -> None:
    """Check that an image's spacing, origin and direction are ones that a resampling comes to an end with.

    Args:
        image: of any size.
        name: what it is called in errors.

    Raises:
        ValueError: when one is not finite, a spacing is not above 0, or an axis leads nowhere.
    """
    spacing, direction = np.array(image.GetSpacing()), np.reshape(image.GetDirection(), (image.GetDimension(), -1))
    if not ((spacing > 0) & (spacing <= LONGEST_PIXEL))[:3].all():  # nan too
        raise InputError(f"{name}: expected a pixel spacing above 0 mm, found {' x '.join(f'{s:g}' for s in spacing)}")
    if not (np.abs(image.GetOrigin()) <= FARTHEST).all():
        raise InputError(f"{name}: expected an origin in mm, found {image.GetOrigin()}")
    if not np.allclose(direction.T @ direction, np.eye(len(direction)), atol=0.01):
        raise InputError(f"{name}: expected axes of length 1 at right angles, found {image.GetDirection()}")


def on_slices(
    volume: sitk.Image, placed: bool, grids: Sequence[sitk.Image], known: bool, name: str | Path
) -> np.ndarray:
    """What a volume holds where each slice of a cine lies: nearest values, (S, H, W).

    Where both have a place in space, that decides. Where one has none, pixel by pixel if they have the same size.

    Args:
        volume: (W', H', D) with values of 0 where nothing is drawn.
        placed: whether it has a place in space.
        grids: of each slice, (W, H, 1), parallel.
        known: whether those have.
        name: of the volume's file, in errors and warnings.

    Raises:
        InputError: when it has no place and another size, or when more than a few per cent of what is drawn lie
            beyond the slices or their edges.
    """
    size, sizes = volume.GetSize(), (*grids[0].GetSize()[:2], len(grids))
    if not (placed and known):
        lacks = f"{name}: has no place in space" if not placed else "the cine has no place in space"
        if size != sizes:
            found, expected = (" x ".join(map(str, each)) for each in (size, sizes))
            raise InputError(f"{lacks}, and {name} has {found} pixels where the cine has {expected} (x, y, slice)")
        if placed != known:
            logger.warning("%s; %s is taken pixel by pixel, whichever way its rows run", lacks, Path(name).name)
        return sitk.GetArrayFromImage(volume)
    drawn = sitk.GetArrayViewFromImage(volume) != 0
    if not drawn.any():
        return np.zeros((len(grids), *grids[0].GetSize()[1::-1]), drawn.dtype)
    masks = np.stack([on_grid(volume, grid) for grid in grids])
    planes, hit = int(drawn.any((1, 2)).sum()), int(masks.any((1, 2)).sum())
    if not hit:
        return masks
    if hit < planes and size[2] <= len(grids):
        raise InputError(f"{name}: drawn on {planes} slices, of which only {hit} lie where the cine's slices do")
    check_edges(volume, grids[0], name)
    if volume.GetSpacing()[2] > 0.75 * grids[0].GetSpacing()[2]:  # else it has planes enough for any slice
        _compare_planes(volume, drawn, grids, masks, name)
    return masks


def check_edges(volume: sitk.Image, grid: sitk.Image, name: str | Path) -> None:
    """Check that what is drawn in a volume does not leave a cine's images within their planes.

    Raises:
        InputError: when more than 5 % do; from 1 % on it is said.
    """
    index = np.argwhere(sitk.GetArrayViewFromImage(volume))[:, ::-1] * volume.GetSpacing()
    points = index @ np.reshape(volume.GetDirection(), (3, 3)).T + volume.GetOrigin() - grid.GetOrigin()
    there = points @ np.reshape(grid.GetDirection(), (3, 3))[:, :2] / grid.GetSpacing()[:2]
    outside = float(((there < -0.5) | (there > np.subtract(grid.GetSize()[:2], 0.5))).any(1).mean())
    check_lost(outside, len(index) * volume.GetSpacing()[0] * volume.GetSpacing()[1], name)


def check_lost(outside: float, area: float, name: str | Path) -> None:
    """Check that of what is drawn, ``area`` mm², not too large a part lies outside a cine's images.

    Raises:
        InputError: when more than 5 % do; from 1 % on it is said.
    """
    lost = (
        f"{100 * outside:.1f} % of what is drawn, {outside * area:.0f} of {area:.0f} mm², lie outside the cine's images"
    )
    if outside > MOST_LOST:
        raise InputError(f"{name}: {lost}; was it drawn on another cine?")
    if outside > LOSS_SAID:
        logger.warning("%s: %s", name, lost)


def _compare_planes(
    volume: sitk.Image, drawn: np.ndarray, grids: Sequence[sitk.Image], masks: np.ndarray, name: str | Path
) -> None:
    """Say how far a volume's planes lie off the slices, and whether another area is left of what is drawn."""
    normals = [np.reshape(image.GetDirection(), (3, 3))[:, 2] for image in (volume, grids[0])]
    tilt = np.degrees(np.arccos(min(1.0, abs(float(normals[0] @ normals[1])))))
    depths = np.array([np.dot(normals[1], grid.GetOrigin()) for grid in grids])
    offsets = []
    for plane in np.flatnonzero(drawn.any((1, 2))):
        row, column = np.argwhere(drawn[plane]).mean(0)
        point = volume.TransformContinuousIndexToPhysicalPoint((float(column), float(row), float(plane)))
        offsets.append(np.abs(depths - normals[1] @ point).min())
    if tilt > PLANES_TILTED or max(offsets) > PLANES_APART:
        logger.warning(
            "%s: its planes are not the cine's slices: up to %.1f mm apart, tilted by %.0f degrees",
            name,
            max(offsets),
            tilt,
        )
    before = drawn.sum() * volume.GetSpacing()[0] * volume.GetSpacing()[1]
    after = (masks != 0).sum() * grids[0].GetSpacing()[0] * grids[0].GetSpacing()[1]
    if abs(after - before) > MOST_LOST * before:
        logger.warning(
            "%s: %.0f mm² are drawn, of which %.0f mm² come to lie on the cine's slices", name, before, after
        )


def on_grid(volume: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """A volume's nearest values on a slice's grid, (H, W): its own pixels, where the two share one."""
    volume = sitk.ConstantPad(volume, [0, 0, 1], [0, 0, 1])  # ITK has a volume of one slice hold its own plane alone
    sampled = sitk.Resample(volume, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, volume.GetPixelID())
    return sitk.GetArrayFromImage(sampled)[0]
