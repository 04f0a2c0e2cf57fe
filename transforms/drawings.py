"""What is drawn on a cine: masks from NIfTI, DICOM Segmentations, pictures and contour texts, by slice and frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .cine import check_file, one_structure, read_mask
from .cine_files import CineStack
from .errors import InputError
from .grids import on_grid
from .nifti_files import is_nifti, read_nifti
from .segmentation_files import is_segmentation, read_segmentation

__all__ = ["read_drawing", "read_drawn", "read_masks"]


def read_drawn(path: str | Path, cine: CineStack, frame: int) -> np.ndarray:
    """What was drawn on one frame of a cine, on each slice: bool (S, H, W); see :func:`read_drawing`."""
    return read_drawing(path, cine, frame)[0]


def read_drawing(path: str | Path, cine: CineStack, frame: int | None = None) -> tuple[np.ndarray, int]:
    """What was drawn on one frame of a cine, on each slice, and the frame.

    Args:
        path: see :func:`read_masks`.
        cine: on which it was drawn.
        frame: index in time; by default the one frame that the file has something drawn on.

    Returns:
        bool (S, H, W), and the frame.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when there is no such frame, the file cannot be read, does not fit the cine, holds several
            structures, or nothing on that frame; without ``frame``, also when the file has no time, or several frames
            are drawn on.
    """
    frames = cine.images.shape[1]
    if frame is not None and not 0 <= frame < frames:
        raise InputError(f"frame must be 0 to {frames - 1}, got {frame}")
    masks = read_masks(path, cine)
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


def read_masks(path: str | Path, cine: CineStack) -> np.ndarray:
    """What was drawn on a cine: bool (S, T, H, W), or (S, 1, H, W) where the file has no time.

    Args:
        path: a NIfTI file of one structure, placed in space as the cine is: (x, y), (x, y, slice),
            (x, y, slice, time), or for a cine of one slice (x, y, time); a DICOM Segmentation of one segment; or, for
            a cine of one slice, a picture or SCD's contour text.
        cine: on which it was drawn.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read, does not fit the cine, holds several structures or nothing.
    """
    path = Path(path)
    check_file(path)
    slices, _, height, width = cine.images.shape
    if is_nifti(path):
        masks = _read_nifti_masks(path, cine)
    elif is_segmentation(path):
        masks = read_segmentation(path, cine)
    elif slices == 1:
        masks = read_mask(path, (height, width))[None, None] != 0
    else:
        raise InputError(
            f"{path}: a cine of {slices} slices takes a NIfTI file or a DICOM Segmentation of what is drawn on them"
        )
    if not masks.any():
        raise InputError(f"{path}: nothing is drawn where the cine's slices lie")
    return masks


def _frames_drawn(masks: np.ndarray) -> str:
    frames = np.flatnonzero(masks.any((0, 2, 3)))
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, frames))}"


def _read_nifti_masks(path: Path, cine: CineStack) -> np.ndarray:
    volume = read_nifti(path).image
    values = sitk.GetArrayViewFromImage(volume)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds values that are not finite")
    if not values.any():
        raise InputError(f"{path}: is empty: nothing is drawn in it")
    slices, frames, height, width = cine.images.shape
    volumes = [volume]
    if volume.GetDimension() == 4:
        if volume.GetSize()[3] != frames:
            raise InputError(f"{path}: drawn on {volume.GetSize()[3]} frames; the cine has {frames}")
        volumes = [volume[..., frame] for frame in range(frames)]
    elif slices == 1 and volume.GetSize() == (width, height, frames):  # (x, y, time), as the cine may have it
        volumes = [sitk.GetImageFromArray(array) for array in sitk.GetArrayFromImage(volume)]
    masks = np.stack([_on_slices(path, volume, cine) for volume in volumes], axis=1)
    return one_structure(masks, path)


def _on_slices(path: Path, volume: sitk.Image, cine: CineStack) -> np.ndarray:
    """A volume's values on each slice of a cine, (S, H, W); of a 2-D one the slice's own pixels."""
    slices, _, height, width = cine.images.shape
    array = sitk.GetArrayViewFromImage(volume)
    if volume.GetDimension() == 2:
        if slices != 1 or array.shape != (height, width):
            raise InputError(
                f"{path}: one slice of {array.shape[0]}x{array.shape[1]} pixels (rows x columns); the cine has "
                f"{slices} of {height}x{width}"
            )
        return array[None].copy()
    drawn = int((array != 0).any((1, 2)).sum())
    if not drawn:  # nothing to look for
        return np.zeros((slices, height, width), array.dtype)
    masks = np.stack([on_grid(volume, grid) for grid in cine.grids])
    found = int(masks.any((1, 2)).sum())
    if 0 < found < drawn and volume.GetSize()[2] <= slices:
        raise InputError(f"{path}: drawn on {drawn} slices, of which only {found} lie where the cine's slices do")
    return masks
