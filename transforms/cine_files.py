"""A whole short-axis cine, all slices and frames, from a folder of DICOM or a NIfTI file; and what is drawn on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError

from .cine import dicom_image
from .errors import InputError
from .grids import slice_grid
from .nifti_files import check_time_axis, is_nifti, read_nifti

__all__ = ["CineStack", "hold_dicom", "read_cine_stack"]


Item = tuple[Path, pydicom.Dataset]


@dataclass(frozen=True, eq=False)
class CineStack:
    """A cine of one slice or several.

    Attributes:
        images: (S, T, H, W) float32, intensities as stored; slices by their place along their normal, frames by time.
        grids: of each slice, a SimpleITK image (W, H, 1) without content of its own: its place in space.
        spacing: [row mm, column mm].
        distance: between the middles of neighbouring slices in mm: their places', or the thickness where there is one
            slice; None where neither is known.
        times: (T,) ms after the first frame's trigger; None where unknown.
        files: the DICOM file of each slice and frame; empty for NIfTI.
        source: the NIfTI file's image, for its layout; None for DICOM.
        placed: whether the slices' places in the patient are known; NIfTI may lack them.
    """

    images: np.ndarray
    grids: list[sitk.Image]
    spacing: tuple[float, float]
    distance: float | None
    times: np.ndarray | None = None
    files: list[list[Path]] = field(default_factory=list)
    source: sitk.Image | None = None
    placed: bool = True


def read_cine_stack(path: str | Path) -> CineStack:
    """Read a folder with the DICOM files of one series, or a NIfTI file (x, y, time) or (x, y, slice, time).

    Raises:
        FileNotFoundError: when there is nothing there.
        ValueError: when it is no cine: several series, slices of different numbers of frames or not parallel, a file
            that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _read_series(path)
    if not path.is_file():
        raise FileNotFoundError(f"cine '{path}' does not exist; expected a folder of DICOM files or a NIfTI file")
    if is_nifti(path):
        return _read_nifti(path)
    raise InputError(f"{path}: expected a folder of DICOM files, or a NIfTI file (.nii, .nii.gz)")


def hold_dicom(files: Iterable[Path]) -> bool:
    """Whether two of the files or more are DICOM: one frame is no cine."""
    found = 0
    for path in files:
        try:
            with path.open("rb") as file:
                file.seek(128)
                found += file.read(4) == b"DICM" and path.name != "DICOMDIR"
        except OSError:
            continue
        if found == 2:
            return True
    return False


def _read_nifti(path: Path) -> CineStack:
    nifti = read_nifti(path)
    image, size = nifti.image, nifti.image.GetSize()
    check_time_axis(path, nifti)
    array = sitk.GetArrayViewFromImage(image)  # (T, y, x) or (T, slice, y, x)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: holds values that are not finite")
    if len(size) == 4:
        volume, distance = image[..., 0], image.GetSpacing()[2]
        images = np.array(array.transpose(1, 0, 2, 3), np.float32, order="C")
    else:
        volume, distance = image[:, :, :1], None  # the third axis is time
        images = np.array(array[None], np.float32)
    grids = [volume[:, :, k : k + 1] for k in range(volume.GetSize()[2])]
    column, row = image.GetSpacing()[:2]
    return CineStack(images, grids, (row, column), distance, source=image, placed=nifti.placed)


def _read_series(folder: Path) -> CineStack:
    headers = _datasets(folder)
    slices = _slices(headers)
    counts = Counter(len(frames) for frames in slices)
    if len(counts) > 1 or set(counts) == {1}:
        raise InputError(
            f"{folder}: expected slices of equally many frames, two or more; found "
            + ", ".join(f"{number} of {frames}" for frames, number in sorted(counts.items()))
        )
    ordered = [_in_time(frames) for frames in slices]
    images = [[_frame(*item) for item in frames] for frames in ordered]
    if len({image.shape for frames in images for image in frames}) > 1:
        raise InputError(f"{folder}: its images differ in size")
    first = ordered[0][0][1]
    return CineStack(
        np.array(images, np.float32),
        [slice_grid(header, path) for (path, header), *_ in ordered],
        tuple(map(float, first.PixelSpacing)),
        _distance(folder, [frames[0][1] for frames in ordered]),
        _times(folder, ordered),
        [[path for path, _ in frames] for frames in ordered],
    )


def _slices(headers: list[Item]) -> list[list[Item]]:
    """Files by slice, the slices by their place along the normal."""
    path, first = headers[0]
    for other, header in headers:
        for name in ("ImageOrientationPatient", "PixelSpacing"):
            if not np.allclose(np.array(header[name].value, float), np.array(first[name].value, float), atol=1e-3):
                raise InputError(
                    f"{other}: {name} differs from that of {path}; expected parallel slices of one pixel size"
                )
    normal = np.cross(*np.reshape(first.ImageOrientationPatient, (2, 3)).astype(float))
    places = np.array([np.dot(normal, np.array(header.ImagePositionPatient, float)) for _, header in headers])
    order = np.argsort(places, kind="stable")
    # places of the frames of one slice may differ by rounding
    cuts = np.flatnonzero(np.diff(places[order]) > 0.1) + 1
    return [[headers[index] for index in part] for part in np.split(order, cuts)]


def _distance(folder: Path, slices: list[pydicom.Dataset]) -> float | None:
    """Between neighbouring slices in mm; the thickness of a lone one.

    Raises:
        ValueError: when the slices lie unequally far apart, or not above each other.
    """
    if len(slices) == 1:
        thickness = slices[0].get("SpacingBetweenSlices") or slices[0].get("SliceThickness")
        return float(thickness) if thickness else None
    corners = np.array([header.ImagePositionPatient for header in slices], float)
    steps = np.diff(corners, axis=0)
    normal = np.cross(*np.reshape(slices[0].ImageOrientationPatient, (2, 3)).astype(float))
    gaps = steps @ normal
    aside = np.linalg.norm(steps - gaps[:, None] * normal, axis=1).max()
    if np.ptp(gaps) > 0.05 * gaps.mean() or aside > 0.5 * float(min(slices[0].PixelSpacing)):
        raise InputError(
            f"{folder}: expected slices equally far apart and above each other; found gaps of {gaps.min():.2f} to "
            f"{gaps.max():.2f} mm, and {aside:.2f} mm aside. Is a slice missing?"
        )
    return float(gaps.mean())


def _times(folder: Path, ordered: list[list[Item]]) -> np.ndarray | None:
    """Trigger times of the frames of the first slice in ms; None where they are not known.

    Raises:
        ValueError: when a slice has two frames at one time.
    """
    for frames in ordered:
        times = _triggers(frames)
        if times is None or not any(times):
            return None
        if (np.diff(times) <= 0).any():
            raise InputError(f"{folder}: a slice has two frames at one trigger time; is it one series, acquired once?")
    return np.array(_triggers(ordered[0]))


def _triggers(frames: list[Item]) -> list[float] | None:
    """Trigger times of the frames of a slice in ms; None where one has none."""
    times = [header.get("TriggerTime") for _, header in frames]
    return None if None in times or "" in times else [float(time) for time in times]


def _in_time(frames: list[Item]) -> list[Item]:
    """Frames of a slice by trigger time, where all have one, then by number."""
    numbered = sorted(frames, key=lambda item: int(item[1].InstanceNumber))
    return numbered if _triggers(frames) is None else sorted(numbered, key=lambda item: float(item[1].TriggerTime))


def _datasets(folder: Path) -> list[Item]:
    headers = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            header = pydicom.dcmread(path)
        except InvalidDicomError:
            continue  # such as a DICOMDIR's neighbours, thumbnails
        missing = [
            name
            for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "InstanceNumber")
            if header.get(name) in (None, "")
        ]
        if missing:
            raise InputError(f"{path}: a frame of a cine needs {', '.join(missing)}")
        headers.append((path, header))
    if not headers:
        raise FileNotFoundError(f"'{folder}' holds no DICOM file")
    series = Counter(header.get("SeriesInstanceUID") for _, header in headers)
    if len(series) > 1:
        raise InputError(
            f"{folder}: expected the files of one series, found {len(series)} series; put each in a folder"
        )
    return headers


def _frame(path: Path, dataset: pydicom.Dataset) -> np.ndarray:
    try:
        image, _ = dicom_image(dataset)
    except Exception as error:  # pydicom's decoders have their own errors for damaged pixels
        raise InputError(f"{path}: cannot be read as DICOM: {type(error).__name__}: {error}") from error
    if image.ndim != 2:
        raise InputError(f"{path}: expected one frame, found {len(image)}")
    if not np.isfinite(image).all():
        raise InputError(f"{path}: holds values that are not finite")
    return image
