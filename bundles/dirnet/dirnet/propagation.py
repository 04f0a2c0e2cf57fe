"""What was drawn on some frames of a cine, on all its frames.

A structure follows as a signed distance to its contour, which the displacement field carries along: sub-pixel, so that
the contour stays smooth. A frame between two that were drawn on blends the signed distances from both (Sethian's level
sets), each weighted by how near its frame is in time; the cycle is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from contourpy import contour_generator
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from transforms.structures import STRUCTURES

from .errors import InputError
from .fields.resampling import warp
from .fields.windows import beyond

__all__ = [
    "Drawing",
    "Propagation",
    "drawn_frames",
    "follow_structures",
    "leading",
    "nearest_drawn",
    "neighbours",
]

Drawing = Mapping[str, np.ndarray]
"""By structure, masks (T, H, W) bool of one slice; a frame without any of it was not drawn on."""

SMOOTHING = 1.0  # pixels, of a Gaussian on the signed distance: the drawing's pixels are not to be seen in the contour


@dataclass(frozen=True, eq=False)
class Propagation:
    """What was drawn on some frames of a cine of one slice, on all its frames.

    Attributes:
        drawn: frames on which each structure was drawn, in order.
        structures: (T, H, W) bool by structure; on those frames as it was drawn, except that the lumen is always part
            of the epicardium.
        window: rows and columns of the images that were registered, around what is drawn.
        levels: by structure (T, h, w) float32 in :attr:`window`: signed distance to the contour in pixels, positive
            inside, smoothed.
        origins: (T,) of each frame the nearest one drawn on, of the lumen where there is one.
        registered: (T, 2, h, w) float32 in pixels, from ``origins`` to each, in :attr:`window`.
        folded_percent: (T,), pixels of the window where each field folds, 0 to 100.
        ncc_before, ncc_after: (T,), similarity of the drawn frame with each in the window, as it is and warped.
        estimated_dice: (T,), how well the contours probably fit, 0 to 1, see :mod:`dirnet.trust`; 1 on ``origins``.
    """

    drawn: dict[str, tuple[int, ...]]
    structures: dict[str, np.ndarray]
    window: tuple[slice, slice]
    levels: dict[str, np.ndarray]
    origins: np.ndarray
    registered: np.ndarray
    folded_percent: np.ndarray
    ncc_before: np.ndarray
    ncc_after: np.ndarray
    estimated_dice: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """Of the lumen, or without one of the first structure: (T, H, W) bool."""
        return self.structures[leading(self.structures)]

    @property
    def ddf(self) -> np.ndarray:
        """(T, 2, H, W) float32 in pixels, from ``origins`` to each: ``warped_t(x) = drawn(x + ddf_t(x))``.

        Only the window was registered. Beyond it each field falls to zero, see :func:`dirnet.fields.windows.beyond`.
        """
        return beyond(torch.from_numpy(self.registered), self.window, self.masks.shape[1:]).numpy()

    def contours(self, structure: str) -> list[list[np.ndarray]]:
        """Of each frame the rings (N, 2) of (x, y) in pixels, sub-pixel and smooth; none where it has closed.

        Raises:
            KeyError: when the structure was not drawn.
        """
        return [self.rings(structure, frame) for frame in range(len(self.levels[structure]))]

    def rings(self, structure: str, frame: int) -> list[np.ndarray]:
        """:meth:`contours` of one frame."""
        start = np.array([part.start for part in self.window[::-1]], float)
        level = np.pad(self.levels[structure][frame], 1, constant_values=-1)  # rings end at the border
        return [np.asarray(ring)[:-1] + start - 1 for ring in contour_generator(z=level).lines(0.0) if len(ring) > 3]


def leading(structures: Mapping[str, object]) -> str:
    """The lumen, or without one the first structure."""
    return "lumen" if "lumen" in structures else next(iter(structures))


def drawn_frames(drawing: Drawing) -> dict[str, tuple[int, ...]]:
    """Frames on which each structure was drawn, those alone that were; in the order of STRUCTURES.

    Raises:
        InputError: when a structure has no such name.
    """
    unknown = [structure for structure in drawing if structure not in STRUCTURES]
    if unknown:
        raise InputError(f"expected drawings of {', '.join(STRUCTURES)}, found {', '.join(map(repr, unknown))}")
    frames = {
        structure: tuple(np.flatnonzero(drawing[structure].any((1, 2))).tolist())
        for structure in STRUCTURES
        if structure in drawing
    }
    return {structure: drawn for structure, drawn in frames.items() if drawn}


def neighbours(drawn: Sequence[int], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each frame of a closed cycle the last one drawn on, the next one, and the next one's weight from 0 to 1, (T,).

    A frame that was drawn on is both its neighbours.
    """
    frames, keys = np.arange(count), np.asarray(drawn)
    back, ahead = (frames[:, None] - keys) % count, (keys - frames[:, None]) % count
    before, after = back.min(1), ahead.min(1)
    weights = np.divide(before, before + after, out=np.zeros(count), where=before > 0)
    return keys[back.argmin(1)], keys[ahead.argmin(1)], weights


def nearest_drawn(drawn: Sequence[int], count: int) -> np.ndarray:
    """Of each frame of a closed cycle the nearest one drawn on, of two the earlier: (T,)."""
    last, following, weights = neighbours(drawn, count)
    return np.where(weights <= 0.5, last, following)


def follow_structures(
    drawing: Drawing, drawn: Mapping[str, Sequence[int]], fields: Mapping[tuple[int, int], Tensor]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Masks and signed distances of structures on all frames, the lumen part of the epicardium: (T, H, W) by structure,
    as :class:`Propagation` has them.

    Args:
        drawing: of the frames that were drawn on.
        drawn: those frames, by structure.
        fields: see :func:`follow_levels`.
    """
    levels = {name: follow_levels(drawing[name], where, fields) for name, where in drawn.items()}
    masks = {name: level > 0 for name, level in levels.items()}
    for name, where in drawn.items():
        masks[name][list(where)] = drawing[name][list(where)]
    join(masks, levels, drawn)
    return masks, levels


def follow_levels(masks: np.ndarray, drawn: Sequence[int], fields: Mapping[tuple[int, int], Tensor]) -> np.ndarray:
    """Signed distances of a structure on all frames, positive inside: (T, H, W) float32.

    Args:
        masks: (T, H, W) bool, of the frames that were drawn on.
        drawn: those frames.
        fields: DDF (2, H, W) by frames, from one that was drawn on to another: of each frame from its two neighbours.
    """
    own = {frame: signed_distance(masks[frame]) for frame in drawn}
    last, following, weights = neighbours(drawn, len(masks))
    found = np.zeros(masks.shape, np.float32)
    for keys, parts in ((last, 1 - weights), (following, weights)):
        frames = np.flatnonzero(parts > 0)
        if len(frames):
            pairs = list(zip(keys[frames].tolist(), frames.tolist(), strict=True))
            levels = torch.stack([own[key] for key, _ in pairs])[:, None]
            moved = warp(levels, torch.stack([fields[pair] for pair in pairs]))[:, 0].numpy()
            found[frames] += moved * parts[frames, None, None].astype(np.float32)
    return found


def join(masks: dict[str, np.ndarray], levels: dict[str, np.ndarray], drawn: Mapping[str, Sequence[int]]) -> None:
    """Make the lumen part of the epicardium, in place: where the epicardium alone was drawn, the lumen ends at it."""
    if not {"lumen", "epicardium"} <= set(masks):
        return
    outer_alone = np.isin(np.arange(len(masks["lumen"])), list({*drawn["epicardium"]} - {*drawn["lumen"]}))
    for parts, lesser, greater in ((masks, np.logical_and, np.logical_or), (levels, np.minimum, np.maximum)):
        lumen, epicardium = parts["lumen"], parts["epicardium"]
        lumen[outer_alone] = lesser(lumen, epicardium)[outer_alone]
        epicardium[~outer_alone] = greater(lumen, epicardium)[~outer_alone]


def signed_distance(mask: np.ndarray) -> Tensor:
    """Distance in pixels to the border of a mask (H, W), positive inside, smoothed without making it smaller."""
    inside = np.asarray(distance_transform_edt(np.pad(mask, 1)))[1:-1, 1:-1]  # beyond the image nothing is inside
    distance = np.where(mask, inside - 0.5, 0.5 - np.asarray(distance_transform_edt(~mask))).astype(np.float32)
    smooth = gaussian_filter(distance, SMOOTHING)
    # twice: one pass moves a contour towards the centre of its curvature, the second takes that back (Taubin)
    return torch.from_numpy(2 * smooth - gaussian_filter(smooth, SMOOTHING))
