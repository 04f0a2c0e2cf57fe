"""What is drawn on a cine: masks from NIfTI, NRRD, DICOM Segmentations and RT Structure Sets, pictures and contours."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .authors import Authors, as_authors, entries
from .cine import read_labels
from .cine_files import CineStack
from .errors import InputError
from .grids import on_slices
from .itk_files import is_itk
from .nifti_files import is_nifti
from .numbered import numbered
from .paths import check_file
from .saved_masks import read_saved
from .segmentation_files import is_segmentation, read_segmentation
from .structure_set_files import is_structure_set, read_structure_set
from .structures import Labels, drawing_file, from_labels, from_segments, merge_walls, parse_labels
from .values import check_finite
from .volumes import read_layers, read_volumes

__all__ = [
    "NothingDrawnError",
    "read_authors",
    "read_drawing",
    "read_drawn",
    "read_keyframes",
    "read_masks",
    "read_structures",
]

logger = logging.getLogger(__name__)


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
    path: str | Path, cine: CineStack, labels: Labels = None, lumen_needed: bool = True, drawn_only: bool = False
) -> dict[str, np.ndarray]:
    """What is drawn on a cine: by structure, bool (S, T, H, W), or (S, 1, H, W) where the file has no time.

    A file lies where it says; see :func:`transforms.grids.on_slices` for files that do not say it.

    Args:
        path: a label image in NIfTI, NRRD (.seg.nrrd too) or MetaImage: (x, y), (x, y, slice), (x, y, slice, time),
            or for a cine of one slice (x, y, time); a DICOM Segmentation or RT Structure Set; or, for a cine of one
            slice, a picture or SCD's contour text.
        cine: on which it was drawn.
        labels: values by structure, of a file with several; see :func:`transforms.structures.parse_labels`. Without
            it the file's own names of them are used, or those beside it, see :mod:`transforms.saved_masks`; else it
            has one value, the lumen.
        lumen_needed: whether to refuse what has no lumen; a slice of a heart may have none.
        drawn_only: of what this project followed and saved, only the frames that had been drawn by hand.

    Returns:
        those of ``lumen``, ``epicardium`` and ``rv`` that are drawn.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it cannot be read, does not fit the cine or holds several values without ``labels``;
            NothingDrawnError when it holds none.
    """
    path, known = Path(path), parse_labels(labels)
    check_file(path)
    slices, frames, height, width = cine.images.shape
    if is_itk(path) and (layers := read_layers(path)) is not None:
        segments, names = _on_layers(path, cine, *layers)
        structures = from_segments(segments, labels, path, names, lumen_needed) if segments else {}
    elif is_nifti(path) or is_itk(path):
        saved = read_saved(path, (slices, frames)) if is_nifti(path) else None
        if saved is not None and saved.changed:
            logger.warning(f"{path.name} has changed since it was saved: all frames in it count as drawn")
        labels = saved.labels if saved is not None and labels is None else labels
        image, names = _read_label_image(path, cine)
        structures = from_labels(image, labels, path, names, lumen_needed) if image.any() else {}
        if drawn_only and saved is not None and saved.drawn and image.shape[1] == frames:
            structures = saved.only_drawn(structures)
    elif is_segmentation(path):
        segments, names, by_hand = read_segmentation(path, cine)
        structures = from_segments(segments, labels, path, names, lumen_needed) if segments else {}
        if drawn_only and by_hand:
            there = from_segments({n: at[..., None, None] for n, at in by_hand.items()}, labels, path, names, False)
            structures = {name: structures[name] & at for name, at in there.items()}
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


def read_keyframes(
    files: Sequence[str | Path], cine: CineStack, frames: Sequence[int] = (), labels: Labels = None
) -> dict[str, np.ndarray]:
    """What is drawn on a cine in several files, on any of its frames: by structure, bool (S, T, H, W).

    Args:
        files: see :func:`read_structures`; ``STRUCTURE=FILE`` says what the one value of a file is, such as
            ``epicardium=outer.nii.gz``; ``myocardium`` is the wall. Of what this project followed and saved, the frames
            that had been drawn by hand count.
        cine: on which they were drawn.
        frames: on which, from 0: one for all files, or of each file its own; of a single file several. Of a file with
            time those are taken alone; without them all that it has something on.
        labels: see :func:`read_structures`, of all files that do not say what they are.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when there is no such frame, or a file does not say on which it was drawn; when one has nothing on
            its frame; when two have the same structure on one slice and frame; else see :func:`read_structures`.
    """
    for frame in frames:
        cine.check_frame(frame)
    if len(files) > 1 and len(frames) not in (0, 1, len(files)):
        raise InputError(f"expected a frame for each of the {len(files)} files, or one for all; got {len(frames)}")
    found: dict[str, np.ndarray] = {}
    for number, file in enumerate(files):
        own = list(frames) if len(files) == 1 or len(frames) < 2 else [frames[number]]
        for structure, masks in _read_keyframes(str(file), cine, own, labels).items():
            if structure not in found:
                found[structure] = masks
                continue
            twice = np.argwhere(found[structure].any((2, 3)) & masks.any((2, 3)))
            if len(twice):
                slice_, time = twice[0]
                raise InputError(f"{file}: {structure} is drawn on slice {slice_}, frame {time} in another file too")
            found[structure] = found[structure] | masks
    return merge_walls(found)


def read_authors(files: Sequence[str | Path], drawn: Mapping[str, np.ndarray]) -> Authors:
    """Who drew what :func:`read_keyframes` has read of files, where that was not the reader alone; see
    :mod:`transforms.saved_masks`.

    Args:
        files: see there.
        drawn: what it gave.

    Raises:
        InputError: when what stands beside a file cannot be understood.
    """
    found = []
    for file in files:
        name, path = drawing_file(file)
        saved = read_saved(path, next(iter(drawn.values())).shape[:2]) if is_nifti(path) else None
        for structure, number, frame, author in entries(saved.authors) if saved else ():
            known = "epicardium" if name == "myocardium" else name or structure  # as walls are merged
            if known in drawn and drawn[known][number, frame].any():
                found.append((known, number, frame, author))
    return as_authors(found)


def _read_keyframes(file: str, cine: CineStack, frames: Sequence[int], labels: Labels) -> dict[str, np.ndarray]:
    """Of one file, (S, T, H, W) by structure, or by name of :data:`transforms.structures.LABELLED`."""
    structure, path = drawing_file(file)
    read = read_structures(path, cine, None if structure else labels, lumen_needed=False, drawn_only=True)
    if structure:
        if len(read) > 1:
            raise InputError(f"{path}: expected {structure} alone, found {', '.join(read)}")
        read = {structure: next(iter(read.values()))}
    placed = {}
    for name, masks in read.items():
        if masks.shape[1] == 1 and cine.images.shape[1] > 1:
            if len(frames) != 1:
                raise InputError(
                    f"{path}: does not say on which frame of the cine it was drawn; name the frame (--frame)"
                )
            placed[name] = np.zeros(cine.images.shape, bool)
            placed[name][:, frames[0]] = masks[:, 0]
        else:
            placed[name] = masks.copy()
            if frames:
                placed[name][:, np.setdiff1d(np.arange(masks.shape[1]), frames)] = False
    for frame in frames:
        if not any(masks[:, frame].any() for masks in placed.values()):
            drawn = _frames_drawn(np.logical_or.reduce([masks for masks in read.values() if masks.shape[1] > 1]))
            raise InputError(f"{path}: drawn on {drawn} of the cine, not on frame {frame}")
    return placed


def _frames_drawn(masks: np.ndarray) -> str:
    return numbered("frame", np.flatnonzero(masks.any((0, 2, 3))).tolist())


def _on_layers(
    path: Path, cine: CineStack, volume: sitk.Image, placed: bool, names: dict[int, str]
) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Segments that overlap, by number, (S, 1, H, W), those in which something is drawn, and their names."""
    if not sitk.GetArrayViewFromImage(volume).any():
        raise NothingDrawnError(f"{path}: is empty: nothing is drawn in it")
    drawn = on_slices(volume, placed, cine.grids, cine.placed, path)[:, None]
    segments = {number: (drawn >> bit) % 2 == 1 for bit, number in enumerate(names)}
    return {number: masks for number, masks in segments.items() if masks.any()}, names


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
