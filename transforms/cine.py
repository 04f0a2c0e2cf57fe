"""Record to cine: frames, masks and spacing from DICOM, NIfTI and PNG."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image, ImageDraw

from .dicom import (
    MAX_PIXELS,
    BoundedFile,
    dicom_pixels,
    frame_headers,
    is_dicom,
    named_errors,
    pixel_spacing,
    read_dicom,
)
from .dicom_series import Frame, arrange, dicom_frames
from .errors import InputError
from .grids import known_grid, on_slices
from .itk_files import is_itk
from .nifti_files import check_time_axis, is_nifti, nifti_grid, read_nifti
from .paths import check_file
from .records import files_of
from .values import check_finite, listed
from .volumes import read_volumes

__all__ = [
    "ASSUMED_SPACING",
    "contour_area",
    "fingerprint",
    "frame_numbers",
    "is_picture",
    "one_structure",
    "rasterise",
    "read_contour",
    "read_frames",
    "read_grid",
    "read_image",
    "read_labels",
    "read_mask",
    "scale_intensity",
]

ASSUMED_SPACING = (1.28, 1.28)  # mm; the 2017 paper's figure, for images that carry none


def fingerprint(record: Mapping[str, Any]) -> bytes:
    """Hash of a cine's or a volume's record and of its files' sizes and times: the key of a cache that a changed file
    does not match.

    Raises:
        FileNotFoundError: when there is no such file.
    """
    states = []
    for path in files_of(record):
        check_file(path)
        state = Path(path).stat()
        states.append((str(path), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(json.dumps([dict(record), states], sort_keys=True, default=str).encode()).hexdigest().encode()


def scale_intensity(image: np.ndarray, percentiles: tuple[float, float] = (1.0, 95.0)) -> np.ndarray:
    """Intensities scaled linearly so that the two percentiles become 0 and 1, clipped; a constant image becomes 0."""
    low, high = np.percentile(image, percentiles)
    if high <= low:  # nearly all pixels alike
        low, high = float(image.min()), float(image.max())
    if high <= low:
        return np.zeros(image.shape, np.float32)
    return np.clip((image - low) / (high - low), 0.0, 1.0).astype(np.float32)


def read_frames(paths: list[str]) -> tuple[np.ndarray, tuple[float, float] | None]:
    """A cine from time-ordered images or from one file with all frames: (T, H, W) float32, spacing in mm or None.

    Raises:
        ValueError: for fewer than two frames, frames of different sizes, or what :func:`read_image` raises.
    """
    images = [read_image(path) for path in paths]
    if len(images) == 1 and images[0][0].ndim == 3:
        return images[0]
    if len(images) < 2:
        raise InputError(f"{paths[0] if paths else 'no file'}: a cine needs two frames or more, found {len(images)}")
    for path, (image, _) in zip(paths, images, strict=True):
        if image.ndim != 2:
            raise InputError(f"{path}: expected one frame of a cine of {len(paths)} files, found {len(image)}")
        if image.shape != images[0][0].shape:
            raise InputError(
                f"{path}: frame of {_size(image)} in a cine whose first frame, {paths[0]}, has {_size(images[0][0])}"
            )
    return np.stack([image for image, _ in images]), images[0][1]


def read_image(path: str | Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """A DICOM, NIfTI or image file: array (H, W) or (T, H, W), float32, and [row, column] spacing in mm or None.

    NIfTI keeps x and y first and time last, which become (T, y, x); an axis of one slice is dropped.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read whole, or is no single slice.
    """
    path = Path(path)
    check_file(path)
    if is_nifti(path):
        return _read_nifti(path)
    if is_picture(path):
        with named_errors(path, "a picture"):
            array, spacing = _read_picture(path), None
    else:  # DICOM files often have no extension
        array, spacing = _read_dicom(path)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: expected one slice, at one time or several, found an array of {array.shape}")
    if spacing is not None and not (min(spacing) > 0 and np.isfinite(spacing).all()):
        raise InputError(f"{path}: expected a pixel spacing above 0, found {spacing[0]:g} x {spacing[1]:g} mm")
    array = array.astype(np.float32, copy=False)
    check_finite(array, path)
    return array, spacing


def is_picture(path: str | Path) -> bool:
    """Whether a file's name is that of a picture, which has no place in space."""
    return Path(path).name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))


def _read_dicom(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    dataset = read_dicom(path)
    frames = _slice_frames(path, dataset)
    headers = frames[0].headers
    array = dicom_pixels(dataset, headers, path)
    if array.ndim == 3:
        array = array[[frame.index for frame in frames]]
    return array, pixel_spacing(headers, path)


def _slice_frames(path: Path, dataset: pydicom.Dataset) -> list[Frame]:
    """The frames of one slice in a DICOM file, by time."""
    frames = dicom_frames(path, dataset)
    if len(frames) == 1 or "PerFrameFunctionalGroupsSequence" not in dataset:
        return frames
    slices = arrange(frames)  # they may lie anywhere, in any order
    if len(slices) > 1:
        raise InputError(f"{path}: expected one slice, at one time or several, found {len(slices)} slices")
    return slices[0]


def frame_numbers(path: str | Path) -> list[int]:
    """Of a DICOM file's frames, by time as :func:`read_frames` has them, the numbers in the file, from 1."""
    path = Path(path)
    return [frame.index + 1 for frame in _slice_frames(path, read_dicom(path, pixels=False))]


def _read_nifti(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    nifti = read_nifti(path)
    image = nifti.image
    array = sitk.GetArrayFromImage(image)  # (y, x), (n, y, x) or (time, slice, y, x)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 4:
        raise InputError(
            f"{path}: expected one slice (x, y, 1, time), found {image.GetSize()}; a datalist says which of several by "
            "'file_slice'"
        )
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    if array.ndim == 3:
        check_time_axis(path, nifti)
    check_finite(array, path)
    column, row = image.GetSpacing()[:2]
    return array.astype(np.float32), (row, column)


def _read_picture(path: Path) -> np.ndarray:
    with BoundedFile(path) as file, Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise InputError(f"{path}: expected one image, found {frames}")
        if image.width * image.height > MAX_PIXELS:  # known before anything is unpacked
            raise InputError(
                f"{path}: {image.width} x {image.height} pixels: more than {MAX_PIXELS}, the most that a slice may have"
            )
        if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
            return np.asarray(image, dtype=np.float32)
        bands = np.asarray(image.convert("RGB"))
    if (bands != bands[..., :1]).any():
        raise InputError(f"{path}: expected a grey image, found colour")
    return bands[..., 0]


def read_mask(path: str | Path, size: tuple[int, ...], grid: sitk.Image | None = None) -> np.ndarray:
    """The mask of one structure, or a contour text rasterised, as uint8 (H, W) of 0 and 1.

    Args and errors as of :func:`read_labels`; InputError too when it has more than two values, 0 and one other.
    """
    return one_structure(read_labels(path, size, grid), path).astype(np.uint8)


def read_labels(path: str | Path, size: tuple[int, ...], grid: sitk.Image | None = None) -> np.ndarray:
    """A label image on one slice, (H, W), its values as they are; a contour text rasterised.

    Args:
        path: a picture or DICOM image of the slice's size, a contour text, or NIfTI, NRRD or MetaImage, which lie where
            they say; see :func:`transforms.grids.on_slices`.
        size: of the slice, (H, W).
        grid: the slice's place, (W, H, 1); None where it has none.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read, is of another size or lies elsewhere; or as :func:`read_contour`.
    """
    if Path(path).suffix == ".txt":
        return rasterise(read_contour(path, size), size)
    check_file(path)
    if not (is_nifti(path) or is_itk(path)):
        if not (is_picture(path) or is_dicom(path)):
            raise InputError(
                f"{path}: expected NIfTI, NRRD, MetaImage, a DICOM Segmentation, a picture or a contour text (.txt)"
            )
        labels = read_image(path)[0]
        if labels.shape != tuple(size):
            raise InputError(f"{path}: mask of {_size(labels)}, frames of {size[0]}x{size[1]} pixels (rows x columns)")
        return labels
    volumes, placed, _ = read_volumes(path)
    if len(volumes) > 1:
        raise InputError(f"{path}: expected what is drawn on one frame, found {len(volumes)} times")
    check_finite(sitk.GetArrayViewFromImage(volumes[0]), path)
    slice_ = sitk.Image([size[1], size[0], 1], sitk.sitkUInt8) if grid is None else grid
    return on_slices(volumes[0], placed, [slice_], grid is not None, path)[0]


def read_grid(path: str | Path) -> sitk.Image | None:
    """The place of a frame in the patient, (W, H, 1) without content; None of a picture, or where the file says none.

    Raises:
        FileNotFoundError, InputError: as :func:`read_image`.
    """
    check_file(path)
    if is_nifti(path):
        return nifti_grid(path)
    if not is_dicom(path):
        return None
    header = frame_headers(read_dicom(path, pixels=False), path)[0]
    return known_grid(header, path)


def one_structure(mask: np.ndarray, name: str | Path) -> np.ndarray:
    """Where a mask is not 0, bool.

    Raises:
        ValueError: when it has several values but 0: several structures, or soft edges, of which it is not ours to
            guess what belongs; names ``name``.
    """
    inside = mask != 0
    values = np.unique(mask[inside]).tolist()
    if len(values) > 1:
        raise InputError(
            f"{name}: expected the mask of one structure, 0 and one other value; found 0 and {listed(values)}"
        )
    return inside


def read_contour(path: str | Path, size: tuple[int, ...] | None = None) -> np.ndarray:
    """Vertices (N, 2) of a contour file: "x y" in pixels a line; what a pixel covers, :func:`rasterise` says.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is empty, holds other than pairs of numbers, or leaves an image of ``size`` (H, W).
    """
    path = Path(path)
    check_file(path)
    points = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            x, y = map(float, line.split())
        except ValueError:
            x = y = np.nan
        if not np.isfinite(x + y):
            raise InputError(f"{path}: line {number}: expected two numbers, 'x y' in pixels, found {line[:60]!r}")
        points.append((x, y))
    if len(points) < 3:
        raise InputError(f"{path}: expected three points or more, a line 'x y' each, found {len(points)}")
    contour = np.array(points)
    if size is not None and (contour.min() < 0 or (contour > (size[1], size[0])).any()):
        (left, top), (right, bottom) = contour.min(0), contour.max(0)
        raise InputError(
            f"{path}: contour outside the image: x from {left:g} to {right:g}, y from {top:g} to {bottom:g}; "
            f"the image has {size[1]} columns and {size[0]} rows"
        )
    return contour


def rasterise(contour: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Pixels inside or on a contour (N, 2) of (x, y), as uint8 (H, W): the rule that gives SCD's own masks.

    The pixel of row r and column c covers x from c up to c + 1 and y from r up to r + 1: each vertex is cut to the
    pixel that it lies in, so that nothing depends on how Pillow rounds.
    """
    mask = Image.new("L", (size[1], size[0]))
    ImageDraw.Draw(mask).polygon([(int(x), int(y)) for x, y in contour], fill=1, outline=1)
    return np.array(mask)


def contour_area(path: str | Path) -> float:
    """Area inside a contour file, in pixels.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_contour`.
    """
    x, y = read_contour(path).T
    return 0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))  # shoelace formula


def _size(image: np.ndarray) -> str:
    return f"{'x'.join(map(str, image.shape))} pixels{' (rows x columns)' if image.ndim == 2 else ''}"
