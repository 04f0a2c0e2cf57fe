"""A whole short-axis cine, all slices and frames, from a folder of DICOM or a NIfTI file; and what is drawn on it."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .dicom import SEGMENTATIONS, is_dicom, named_errors, numbers, read_dicom
from .dicom_series import (
    Series,
    as_series,
    choose_series,
    dicom_frames,
    find_series,
    read_pixels,
    slice_gaps,
    trigger_times,
    unequal,
    usual_gap,
)
from .errors import InputError
from .grids import slice_distance, slice_grid
from .nifti_files import check_time_axis, is_nifti, read_nifti
from .values import check_finite

__all__ = ["CineStack", "dicom_study", "read_cine_stack", "read_stack", "study_folders"]


logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CineStack:
    """A cine of one slice or several.

    Attributes:
        images: (S, T, H, W) float32, intensities as stored; slices by their place along their normal, frames by time.
        grids: of each slice, a SimpleITK image (W, H, 1) without content of its own: its place in space.
        spacing: [row mm, column mm].
        distance: between the middles of neighbouring slices in mm, the usual one where they differ; of one slice its
            thickness; None where unknown.
        times: (T,) ms after the first frame's trigger; None where unknown.
        files: the DICOM file of each slice and frame; empty for NIfTI.
        frame_numbers: of each slice and frame in its file, from 1; empty where each file holds one frame.
        source: the NIfTI file's image, for its layout; None for DICOM.
        placed: whether the slices' places in the patient are known; NIfTI may lack them.
        positions: (S,) of the slices along their normal in mm, from the first; None of one slice, or where unknown.
        view: "short axis" or "long axis" by the series' description; "" where it says neither.
    """

    images: np.ndarray
    grids: list[sitk.Image]
    spacing: tuple[float, float]
    distance: float | None
    times: np.ndarray | None = None
    files: list[list[Path]] = field(default_factory=list)
    frame_numbers: list[list[int]] = field(default_factory=list)
    source: sitk.Image | None = None
    placed: bool = True
    positions: np.ndarray | None = None
    view: str = ""

    @property
    def even(self) -> bool:
        """Whether the slices are equally far apart, as far as is known."""
        return self.positions is None or not unequal(np.diff(self.positions))

    @property
    def one_plane(self) -> bool:
        """Whether no volumes follow from areas: of one slice, and of a long-axis view, whose slices are no discs."""
        return len(self.images) == 1 or self.view == "long axis"

    def check_frame(self, frame: int) -> None:
        """
        Raises:
            InputError: when there is no such frame.
        """
        frames = self.images.shape[1]
        if not 0 <= frame < frames:
            raise InputError(f"frame must be 0 to {frames - 1}, got {frame}")


def read_cine_stack(path: str | Path, series: str | None = None) -> CineStack:
    """Read the cine in a folder of DICOM files, a DICOM file of several frames, or a NIfTI file (x, y, time) or
    (x, y, slice, time).

    Of several series in a folder the one cine is read, or the short-axis stack; what is passed over is logged.

    Args:
        path: folder, searched with its sub-folders, or file.
        series: Series Number or Series Instance UID of the one to read in a folder.

    Raises:
        FileNotFoundError: when there is nothing there.
        InputError: when it is no cine, or it is left open which of several series is meant: see
            :func:`transforms.dicom_series.arrange` and :func:`transforms.dicom_series.choose_series`; or a file cannot
            be read.
    """
    path = Path(path)
    if path.is_dir():
        return _read_series(path, series)
    if not path.is_file():
        raise FileNotFoundError(f"cine '{path}' does not exist; expected a folder of DICOM files or a NIfTI file")
    if is_nifti(path):
        return _read_nifti(path)
    if is_dicom(path):
        return _read_multiframe(path)
    raise InputError(f"{path}: expected a folder of DICOM files, or a NIfTI file (.nii, .nii.gz)")


def dicom_study(files: Iterable[Path]) -> str | None:
    """Study Instance UID of files that may hold a cine: two of DICOM, or one of several frames; None of others.

    Empty where the first of them says none or is damaged. One header is read.
    """
    found: list[Path] = []
    for path in files:
        try:
            if path.name != "DICOMDIR" and is_dicom(path):
                found.append(path)
        except OSError:
            continue
        if len(found) == 2:
            break
    if not found:
        return None
    try:
        with named_errors(found[0]):
            header = read_dicom(found[0], pixels=False)
            study = str(header.get("StudyInstanceUID") or "")
            frames = numbers(header, "NumberOfFrames", found[0]) or (1,)
            several = frames[0] > 1 and header.get("SOPClassUID") not in SEGMENTATIONS
    except InputError:
        study, several = "", False
    return study if len(found) == 2 or several else None


def study_folders(studies: Mapping[Path, str]) -> list[Path]:
    """Folders that hold several folders of one study, and of no other: a cine may have a folder for each slice.

    Args:
        studies: folders that hold DICOM files themselves, and their Study Instance UIDs by :func:`dicom_study`.
    """
    folders: dict[str, list[Path]] = defaultdict(list)
    within: dict[Path, set[str]] = defaultdict(set)
    for path, study in studies.items():
        folders[study].append(path)
        for parent in path.parents:
            within[parent].add(study)
    parents = [Path(os.path.commonpath(paths)) for study, paths in folders.items() if study and len(paths) > 1]
    return [parent for parent in parents if parent not in studies and len(within[parent]) == 1]


def _read_nifti(path: Path) -> CineStack:
    nifti = read_nifti(path)
    image, size = nifti.image, nifti.image.GetSize()
    check_time_axis(path, nifti)
    array = sitk.GetArrayViewFromImage(image)  # (T, y, x) or (T, slice, y, x)
    check_finite(array, path)
    if len(size) == 4:
        volume, distance = image[..., 0], image.GetSpacing()[2]
        images = np.array(array.transpose(1, 0, 2, 3), np.float32, order="C")
    else:
        volume, distance = image[:, :, :1], None  # the third axis is time
        images = np.array(array[None], np.float32)
    grids = [volume[:, :, k : k + 1] for k in range(volume.GetSize()[2])]
    column, row = image.GetSpacing()[:2]
    positions = None if distance is None or len(grids) == 1 else np.arange(len(grids)) * distance
    return CineStack(images, grids, (row, column), distance, source=image, placed=nifti.placed, positions=positions)


def _read_series(folder: Path, series: str | None) -> CineStack:
    return read_stack(choose_series(folder, find_series(folder), series))


def _read_multiframe(path: Path) -> CineStack:
    dataset = read_dicom(path)
    with named_errors(path):
        drawing = dataset.get("SOPClassUID") in SEGMENTATIONS
    if drawing:
        raise InputError(f"{path}: a DICOM Segmentation, which is drawn on a cine, and no cine")
    return read_stack(as_series(dicom_frames(path, dataset)))


def read_stack(series: Series) -> CineStack:
    """The cine that a series of DICOM files is; what was left out of it is logged.

    Raises:
        InputError: when it is none, or its pixels cannot be read.
    """
    if series.reason:
        raise InputError(series.reason)
    for note in series.notes:
        logger.warning(note)
    pixels = read_pixels([frame for frames in series.slices for frame in frames])
    firsts = [frames[0] for frames in series.slices]
    gaps = slice_gaps(firsts)
    row, column = firsts[0].sure("PixelSpacing")
    classic = all(len(frame.headers) == 1 for frame in pixels)
    return CineStack(
        np.stack([[pixels[frame] for frame in frames] for frames in series.slices]),
        [slice_grid(frame.header, frame.path) for frame in firsts],
        (row, column),
        usual_gap(gaps) if len(gaps) else slice_distance(firsts[0].header, firsts[0].path),
        trigger_times(series.slices[0]),
        [[frame.path for frame in frames] for frames in series.slices],
        [] if classic else [[frame.index + 1 for frame in frames] for frames in series.slices],
        positions=np.concatenate([[0.0], np.cumsum(gaps)]) if len(gaps) else None,
        view=series.view,
    )
