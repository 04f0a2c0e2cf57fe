"""A first contour of the left ventricle on each slice of a cine, for a reader to accept or to mend."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from transforms.augmentation import take_windows
from transforms.cine import scale_intensity
from transforms.cine_files import CineStack
from transforms.drawn_frames import centred_places, window_grid

from .errors import InputError
from .models import drawing_weights_file
from .nets.inference import default_device
from .nets.segmentation import DrawingNetwork
from .nets.weights import load_network

__all__ = ["FirstContours"]

PERCENTILES = (1.0, 99.0)  # of a slice's frames, those that the training scales by
BATCH = 16  # windows at once: more are no faster on a CPU
OFF_CENTRE = 25.0  # mm from the window's middle to the heart, from which on the window is moved there
REACH = 30.0  # mm from the heart's axis to the middle of a lumen, at most
SMALLEST = 30.0  # mm² of a lumen
SEEN = 3  # slices by which end-diastole is found
OUTSIDE = -20.0  # logit beyond the window


class FirstContours:
    """Draws the lumen and the epicardium of the left ventricle on short-axis slices, by a network that learned it from
    the drawings of the Sunnybrook data.

    It may be shared by several threads; it computes for one at a time.

    Args:
        network: a trained :class:`~dirnet.nets.segmentation.DrawingNetwork`; its first structure is the lumen.
        device: where it computes; a GPU, if there is one, by default.

    Example::

        >>> first = FirstContours.load()
        >>> frame = first.end_diastole(cine)
        >>> first.draw(cine, frame)["lumen"]  # (S, H, W) bool
    """

    def __init__(self, network: DrawingNetwork, device: torch.device | str | None = None) -> None:
        if not isinstance(network, DrawingNetwork) or network.structures[0] != "lumen":
            raise InputError(f"expected a network that draws the lumen, found {type(network).__name__}")
        self.device = torch.device(device or default_device())
        ready: Any = network.eval().requires_grad_(False).to(self.device)
        self.network: DrawingNetwork = ready.to(memory_format=torch.channels_last)
        self._computing = threading.Lock()

    @classmethod
    def load(cls, path: str | Path | None = None, device: torch.device | str | None = None) -> FirstContours:
        """
        Args:
            path: a checkpoint, or the folder of a training or of a bundle; by default the weights shipped in the bundle
                ``lv_contour``.
            device: see the class.

        Raises:
            FileNotFoundError: when there is no such file, or no weights in the folder.
            InputError: when the file holds no weights of a network that draws.
        """
        return cls(load_network(drawing_weights_file(path)), device)

    def draw(
        self, cine: CineStack, frame: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, np.ndarray]:
        """Draw on one frame of each slice.

        Args:
            cine: of short-axis slices, in order.
            frame: index in time; :meth:`end_diastole` by default.
            progress: is told how many images the network has looked at, and of how many.

        Returns:
            by structure, (S, H, W) bool, empty on slices where none was found, beyond base and apex; the lumen lies in
            the epicardium. Of a structure that was found nowhere there is nothing.

        Raises:
            InputError: when there is no such frame, no lumen is found on it, or the cine is a long-axis view.
        """
        if frame is None:
            frame = self.end_diastole(cine)
        cine.check_frame(frame)
        _check_view(cine)
        images = np.stack([scale_intensity(slice_, PERCENTILES)[frame] for slice_ in cine.images])
        logits = self._logits(torch.from_numpy(images), cine.spacing, _Count(len(images), progress))
        found = dict(zip(self.network.structures, logits.transpose(1, 0, 2, 3), strict=True))
        drawn = _plausible(found, cine.spacing)
        if not drawn:
            raise InputError(f"no left ventricle was found on frame {frame}; expected short-axis slices of a heart")
        return drawn

    def end_diastole(self, cine: CineStack, progress: Callable[[int, int], None] | None = None) -> int:
        """The frame on which the lumen, as found on the three slices where it is largest on the first, is largest.

        Args:
            cine: of short-axis slices.
            progress: see :meth:`draw`.

        Raises:
            InputError: when no lumen is found, or the cine is a long-axis view.
        """
        _check_view(cine)
        slices, frames = cine.images.shape[:2]
        count = _Count(slices + min(SEEN, slices) * frames, progress)
        scaled = np.stack([scale_intensity(slice_, PERCENTILES) for slice_ in cine.images])
        first = self._areas(scaled[:, 0], cine.spacing, count)
        if not first.any():
            raise InputError("no left ventricle was found on the first frame; expected short-axis slices of a heart")
        chosen = np.argsort(first)[::-1][:SEEN]
        areas = self._areas(scaled[chosen].reshape(-1, *scaled.shape[2:]), cine.spacing, count)
        return int(areas.reshape(len(chosen), -1).sum(0).argmax())

    def _areas(self, images: np.ndarray, spacing: tuple[float, float], count: _Count) -> np.ndarray:
        """Of the lumen on each image (N, H, W), in pixels, small ones too."""
        logits = self._logits(torch.from_numpy(images), spacing, count)[:, 0]
        return np.array([_largest(one > 0).sum() for one in logits])

    @torch.no_grad()
    def _logits(self, images: Tensor, spacing: tuple[float, float], count: _Count) -> np.ndarray:
        """Of slices (N, H, W) of one heart, in windows about it: (N, structures, H, W)."""
        middle = (torch.tensor(images.shape[1:]) - 1) / 2
        logits = self._in_window(images, spacing, middle, count)
        offset = _heart_offset(logits[:, 0]) * self.network.pixel
        if offset.norm() > OFF_CENTRE:
            middle = middle + offset / torch.tensor(spacing)
            logits = self._in_window(images, spacing, middle, count)
        else:
            count.add(len(images))  # they need no second look
        rows, columns = images.shape[1:]
        places = window_grid((rows, columns), spacing, middle, self.network.side, self.network.pixel)
        whole = F.grid_sample(
            logits - OUTSIDE, places.expand(len(images), -1, -1, -1), padding_mode="zeros", align_corners=False
        )
        return (whole + OUTSIDE).numpy()

    def _in_window(self, images: Tensor, spacing: tuple[float, float], middle: Tensor, count: _Count) -> Tensor:
        """Logits (N, structures, side, side) in the window about a place of the images."""
        rows, columns = images.shape[1:]
        places = centred_places((rows, columns), spacing, middle, self.network.side, self.network.pixel)
        windows = take_windows(
            _smoothed(images[:, None], spacing, self.network.pixel), places.expand(len(images), -1, -1, -1)
        )
        parts = []
        with self._computing:
            for part in windows.split(BATCH):
                parts.append(self.network(part.to(self.device).contiguous(memory_format=torch.channels_last)).cpu())
                count.add(len(part))
        return torch.cat(parts)


def _check_view(cine: CineStack) -> None:
    if cine.view == "long axis":
        raise InputError("first contours are drawn on short-axis slices; by its description this is a long-axis view")


class _Count:
    """How many images the network has looked at; at each up to two times."""

    def __init__(self, images: int, progress: Callable[[int, int], None] | None) -> None:
        self.images, self.looks, self.progress = images, 0, progress
        self.add(0)

    def add(self, looks: int) -> None:
        self.looks += looks
        if self.progress is not None:
            self.progress(self.looks // 2, self.images)


def _smoothed(images: Tensor, spacing: tuple[float, float], pixel: float) -> Tensor:
    """Images (N, 1, H, W) as fine as windows of ``pixel`` mm show them, so that nothing finer is aliased."""
    for axis, size in enumerate(spacing):
        width = 2 * int(pixel / size / 2) + 1  # of a mean over so many pixels: of 1 it changes nothing
        if width > 1:
            kernel, padding = ((width, 1), (width // 2, 0)) if axis == 0 else ((1, width), (0, width // 2))
            images = F.avg_pool2d(images, kernel, stride=1, padding=padding, count_include_pad=False)
    return images


def _heart_offset(logits: Tensor) -> Tensor:
    """From the window's middle to the heart's, (row, column) in its pixels: where most slices have their lumen."""
    everywhere = logits.sigmoid().mean(0)
    if everywhere.max() < 0.05:
        return torch.zeros(2)
    near = _component_at_peak(everywhere.numpy())
    rows, columns = np.nonzero(near)
    return torch.tensor([rows.mean(), columns.mean()], dtype=torch.float32) - (torch.tensor(logits.shape[1:]) - 1) / 2


def _component_at_peak(chance: np.ndarray) -> np.ndarray:
    parts, _ = ndimage.label(chance > 0.3 * chance.max())
    sums = np.bincount(parts.ravel(), chance.ravel())
    sums[0] = 0
    return parts == sums.argmax()


def _plausible(logits: dict[str, np.ndarray], spacing: tuple[float, float]) -> dict[str, np.ndarray]:
    """Of each slice the one lumen that goes on from slice to slice, and the epicardium around it; see
    :meth:`FirstContours.draw`."""
    lumens = logits["lumen"] > 0
    candidates = [_candidates(one, spacing) for one in lumens]
    largest = [max(parts, key=lambda part: part.sum()) for parts in candidates if parts]
    drawn = {"lumen": np.zeros(lumens.shape, bool)}
    if not largest:
        return {}
    centres = np.array([_centre(part, spacing) for part in largest])
    axis = np.median(np.repeat(centres, [max(1, int(part.sum()) // 50) for part in largest], axis=0), 0)
    for number, parts in enumerate(candidates):
        near = [part for part in parts if np.linalg.norm(_centre(part, spacing) - axis) < REACH]
        if near:
            drawn["lumen"][number] = ndimage.binary_fill_holes(max(near, key=lambda part: part.sum()))
    _keep_longest_run(drawn["lumen"])
    if "epicardium" in logits:
        drawn["epicardium"] = np.stack(
            [_around(lumen, one > 0) for lumen, one in zip(drawn["lumen"], logits["epicardium"], strict=True)]
        )
    return {name: masks for name, masks in drawn.items() if masks.any()}


def _candidates(mask: np.ndarray, spacing: tuple[float, float]) -> list[np.ndarray]:
    parts, count = ndimage.label(mask)
    found = [parts == number for number in range(1, count + 1)]
    return [part for part in found if part.sum() * spacing[0] * spacing[1] >= SMALLEST]


def _centre(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    return np.argwhere(mask).mean(0) * spacing


def _keep_longest_run(masks: np.ndarray) -> None:
    """Empty the slices (S, H, W) beyond a gap: a ventricle has none."""
    runs, count = ndimage.label(masks.any((1, 2)))
    if count > 1:
        areas = [masks[runs == number].sum() for number in range(1, count + 1)]
        masks[runs != 1 + int(np.argmax(areas))] = False


def _around(lumen: np.ndarray, epicardium: np.ndarray) -> np.ndarray:
    """The epicardium's part that holds the lumen, with all of it; empty where there is none or it adds nothing."""
    parts, _ = ndimage.label(epicardium)
    inside = np.bincount(parts[lumen], minlength=2)[1:] if lumen.any() else np.zeros(1, int)
    if not inside.any():
        return np.zeros_like(lumen)
    return ndimage.binary_fill_holes((parts == 1 + inside.argmax()) | lumen)


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts[mask], minlength=2)[1:].argmax() if count else mask
