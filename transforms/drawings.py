"""What is drawn on a cine: masks from NIfTI, NRRD, DICOM Segmentations and RT Structure Sets, pictures and contours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .cine import read_labels
from .cine_files import CineStack
from .errors import InputError
from .grids import on_slices
from .itk_files import is_itk
from .nifti_files import is_nifti
from .paths import check_file
from .segmentation_files import is_segmentation, read_segmentation
from .structure_set_files import is_structure_set, read_structure_set
from .structures import Labels, from_labels, from_segments, parse_labels
from .values import check_finite
from .volumes import read_volumes

__all__ = ["NothingDrawnError", "read_drawing", "read_drawn", "read_masks", "read_structures"]


class NothingDrawnError(InputError):
    """A file in which nothing is drawn, or nothing where the cine lies."""


def read_drawn(path: str | Path, cine: CineStack, frame: int, labels: Labels = None) -> np.ndarray:
    """The lumen drawn on one frame of a cine, on each slice: bool (S, H, W); see :func:`read_drawing`."""
    return read_drawing(path, cine, frame, labels)[0]


def read_drawing(
    path: str | Path, cine: CineStack, frame: int | None = None, labels: Labels = None
) -> tuple[np.ndarray, int]:
    """The lumen drawn on one frame of a cine, on each slice, and the frame.

    Args:
        path: see :func:`read_structures`.
        cine: on which it was drawn.
        frame: index in time; by default the one frame that the file has something drawn on.
        labels: which value is the lumen, of a file with several; see :func:`transforms.structures.parse_labels`.

    Returns:
        bool (S, H, W), and the frame.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when there is no such frame, the file cannot be read, does not fit the cine, holds several values
            without ``labels``, or nothing on that frame; without ``frame``, also when the file has no time, or several
            frames are drawn on.
    """
    if frame is not None:
        cine.check_frame(frame)
    masks = read_masks(path, cine, labels)
    frame = _only_frame(path, masks) if frame is None else frame
    drawn = masks[:, frame if masks.shape[1] > 1 else 0]
    if not drawn.any():
        raise InputError(f"{path}: drawn on {_frames_drawn(masks)} of the cine, not on frame {frame}")
    return drawn, frame


def _only_frame(path: str | Path, masks: np.ndarray) -> int:
    if masks.shape[1] == 1:
        raise InputError(f"{path}: does not say on which frame of the cine it was drawn; name the frame (--frame)")
    frames = np.flatnonzero(masks.any((0, 2, 3)))
    if len(frames) > 1:
        raise InputError(f"{path}: drawn on {_frames_drawn(masks)}; name the one to start from")
    return int(frames[0])


def read_masks(path: str | Path, cine: CineStack, labels: Labels = None) -> np.ndarray:
    """The lumen drawn on a cine: bool (S, T, H, W), or (S, 1, H, W) where the file has no time.

    Arguments and errors as of :func:`read_structures`.
    """
    return read_structures(path, cine, labels)["lumen"]


def read_structures(
    path: str | Path, cine: CineStack, labels: Labels = None, lumen_needed: bool = True
) -> dict[str, np.ndarray]:
    """What is drawn on a cine: by structure, bool (S, T, H, W), or (S, 1, H, W) where the file has no time.

    A file lies where it says; see :func:`transforms.grids.on_slices` for files that do not say it.

    Args:
        path: a label image in NIfTI, NRRD (.seg.nrrd too) or MetaImage: (x, y), (x, y, slice), (x, y, slice, time),
            or for a cine of one slice (x, y, time); a DICOM Segmentation or RT Structure Set; or, for a cine of one
            slice, a picture or SCD's contour text.
        cine: on which it was drawn.
        labels: values by structure, of a file with several; see :func:`transforms.structures.parse_labels`. Without
            it a file has one value, the lumen.
        lumen_needed: whether to refuse what has no lumen; a slice of a heart may have none.

    Returns:
        ``lumen``, and those of ``epicardium`` and ``rv`` that are drawn.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read, does not fit the cine or holds several values without ``labels``;
            NothingDrawnError when it holds none.
    """
    path, known = Path(path), parse_labels(labels)
    check_file(path)
    slices, _, height, width = cine.images.shape
    if is_nifti(path) or is_itk(path):
        image, names = _read_label_image(path, cine)
        structures = from_labels(image, labels, path, names, lumen_needed) if image.any() else {}
    elif is_segmentation(path):
        segments, names = read_segmentation(path, cine)
        structures = from_segments(segments, labels, path, names, lumen_needed) if segments else {}
    elif is_structure_set(path):
        segments, names = read_structure_set(path, cine, None if known is None else known.values())
        structures = from_segments(segments, labels, path, names, lumen_needed) if segments else {}
    elif slices == 1:
        image = read_labels(path, (height, width), cine.grids[0] if cine.placed else None)
        structures = from_labels(image[None, None], labels, path, None, lumen_needed) if image.any() else {}
    else:
        raise InputError(
            f"{path}: a cine of {slices} slices takes a NIfTI file, a DICOM Segmentation or an RT Structure Set of "
            "what is drawn on them"
        )
    if not structures:
        raise NothingDrawnError(f"{path}: nothing is drawn where the cine's slices lie")
    return structures


def _frames_drawn(masks: np.ndarray) -> str:
    frames = np.flatnonzero(masks.any((0, 2, 3)))
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, frames))}"


def _read_label_image(path: Path, cine: CineStack) -> tuple[np.ndarray, dict[int, str]]:
    """Labels (S, T, H, W) or (S, 1, H, W) of a NIfTI, NRRD or MetaImage file, and their names."""
    slices, frames, height, width = cine.images.shape
    volumes, placed, names = read_volumes(path, (width, height, frames) if slices == 1 else None)
    if len(volumes) not in (1, frames):
        raise InputError(f"{path}: drawn on {len(volumes)} frames; the cine has {frames}")
    if not any(sitk.GetArrayViewFromImage(volume).any() for volume in volumes):
        raise NothingDrawnError(f"{path}: is empty: nothing is drawn in it")
    for volume in volumes:
        check_finite(sitk.GetArrayViewFromImage(volume), path)
    drawn = [on_slices(volume, placed, cine.grids, cine.placed, path) for volume in volumes]
    return np.stack(drawn, axis=1), names
