"""Single frames with what is drawn on them, in windows of one pixel size, for a network that draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .augmentation import random_contrast, random_windows, take_windows
from .errors import InputError

__all__ = [
    "UNKNOWN",
    "DrawnFrame",
    "DrawnFrameDataset",
    "RandomFrameDataset",
    "centred_places",
    "drawn_frames",
    "window_grid",
]

UNKNOWN = -1.0  # in a mask of what is not drawn on a frame but may be there


@dataclass(frozen=True)
class DrawnFrame:
    """
    Attributes:
        layers: (1 + structures, H, W) float32: the image in [0, 1], and the mask of each structure, 0 and 1, or
            :data:`UNKNOWN` all over.
        spacing: (row mm, column mm).
        centre: (2,) of the patient's heart in pixels, (row, column); of the image where nothing is drawn.
    """

    layers: Tensor
    spacing: tuple[float, float]
    centre: Tensor

    @property
    def empty(self) -> bool:
        """Whether it is known that there is nothing to draw."""
        return bool((self.layers[1:] == 0).all())


def drawn_frames(data: Sequence[Mapping[str, Any]], structures: Sequence[str], absent: bool = True) -> list[DrawnFrame]:
    """Frames of loaded cines on which something is drawn.

    Args:
        data: cines, see :class:`transforms.loading.LoadCined`, with the masks of ``structures``.
        structures: the network's, in its order.
        absent: whether slices without any drawing, of patients with others, count as slices in which there is nothing
            to draw, on all of their frames: a reader who drew a whole heart left them out.
    """
    centres: dict[str, list[np.ndarray]] = {}
    for cine in data:
        for mask in cine[structures[0]].values():
            if mask.any():
                centres.setdefault(cine["patient"], []).append(np.argwhere(mask.numpy() > 0).mean(0))
    found = []
    for cine in data:
        masks = [cine[structure] for structure in structures]
        times: Any = set().union(*masks)
        if not times and (not absent or cine["patient"] not in centres):
            continue
        size = cine["image"].shape[1:]
        middle = np.mean(centres[cine["patient"]], 0) if cine["patient"] in centres else (np.array(size) - 1) / 2
        spacing = (float(cine["spacing"][0]), float(cine["spacing"][1]))
        for time in sorted(times) or range(len(cine["image"])):
            unknown = torch.full(size, UNKNOWN if times else 0.0)
            drawn = [mask[time].float() if time in mask else unknown for mask in masks]
            layers = torch.stack([cine["image"][time].float(), *drawn])
            found.append(DrawnFrame(layers, spacing, torch.from_numpy(np.asarray(middle)).float()))
    if not found:
        raise InputError(f"no frame has {' or '.join(structures)} drawn, which this training needs")
    return found


def centred_places(
    size: tuple[int, int], spacing: tuple[float, float], centre: Tensor, side: int, pixel: float
) -> Tensor:
    """Where a square window lies in an image, (1, side, side, 2) as :func:`torch.nn.functional.grid_sample` takes it.

    Args:
        size: (rows, columns) of the image.
        spacing: of the image, (row mm, column mm).
        centre: (2,) of the window in pixels of the image, (row, column).
        side: of the window in its own pixels.
        pixel: side of these in mm.
    """
    offsets = (torch.arange(side, dtype=torch.float32) - (side - 1) / 2) * pixel
    axes = [
        (2 * (offsets / spacing[axis] + centre[axis]) + 1) / size[axis] - 1 for axis in (0, 1)
    ]  # without aligned corners
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([columns, rows], -1)[None]


def window_grid(size: tuple[int, int], spacing: tuple[float, float], centre: Tensor, side: int, pixel: float) -> Tensor:
    """Where an image's pixels lie in a window, (1, H, W, 2): the way back from :func:`centred_places`, whose arguments
    it takes."""
    axes = [
        (torch.arange(size[axis], dtype=torch.float32) - centre[axis]) * spacing[axis] / pixel * 2 / side
        for axis in (0, 1)
    ]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([columns, rows], -1)[None]


class DrawnFrameDataset(Dataset):
    """Frames as a network sees them in use: about the image's centre, as they are.

    Args:
        frames: see :func:`drawn_frames`.
        side: of the window in its pixels.
        pixel: side of these in mm.

    Item: ``image`` (1, side, side) and ``label`` (structures, side, side), 0 to 1 or :data:`UNKNOWN`, float32.
    """

    def __init__(self, frames: Sequence[DrawnFrame], side: int, pixel: float) -> None:
        self.frames, self.side, self.pixel = frames, side, pixel

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        frame = self.frames[index]
        rows, columns = frame.layers.shape[1:]
        centre = torch.tensor([(rows - 1) / 2, (columns - 1) / 2])
        places = centred_places((rows, columns), frame.spacing, centre, self.side, self.pixel)
        taken = _take(frame, places)
        return {"image": taken[0, :1], "label": taken[0, 1:]}


class RandomFrameDataset(Dataset):
    """Item i is batch i of frames, which follows from (seed, i) alone, each in a random window and contrast.

    Args:
        frames: see :func:`drawn_frames`.
        side: of the window in its pixels.
        pixel: side of these in mm.
        batch_size: frames a batch.
        iterations: batches in all, the dataset's length.
        seed: of the draws.
        reach: how far in mm the heart may lie from the window's centre, along each axis.
        empty: share of frames with nothing to draw, where there are such.

    Item: ``image`` (B, 1, side, side) and ``label`` (B, structures, side, side), as of :class:`DrawnFrameDataset`.
    """

    def __init__(
        self,
        frames: Sequence[DrawnFrame],
        side: int,
        pixel: float,
        batch_size: int,
        iterations: int,
        seed: int,
        reach: float = 55.0,
        empty: float = 0.12,
    ) -> None:
        self.side, self.pixel, self.reach = side, pixel, reach
        self.batch_size, self.iterations, self.seed = batch_size, iterations, seed
        self.drawn = [frame for frame in frames if not frame.empty]
        self.blank = [frame for frame in frames if frame.empty]
        self.empty = empty

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:
        draw = np.random.default_rng((self.seed, iteration))
        generator = torch.Generator().manual_seed(int(draw.integers(2**62)))
        windows = [self._window(self._frame(draw), generator) for _ in range(self.batch_size)]
        taken, inside = (torch.cat(parts) for parts in zip(*windows, strict=True))
        return {"image": random_contrast(taken[:, :1], inside, generator), "label": taken[:, 1:]}

    def _frame(self, draw: np.random.Generator) -> DrawnFrame:
        frames = self.blank if self.blank and draw.random() < self.empty else self.drawn
        return frames[draw.integers(len(frames))]

    def _window(self, frame: DrawnFrame, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows, columns = frame.layers.shape[1:]
        pixel = self.pixel / torch.tensor([frame.spacing])
        places, _ = random_windows(
            frame.centre[None], self.side, (rows, columns), generator, self.reach / self.pixel, pixel
        )
        return _take(frame, places), take_windows(torch.ones(1, 1, rows, columns), places)


def _take(frame: DrawnFrame, places: Tensor) -> Tensor:
    """Image and masks at places of the image: nothing is beyond its border, and what is unknown stays so."""
    taken = take_windows(frame.layers[None], places)
    unknown = frame.layers.amin((1, 2)) < 0
    taken[:, unknown] = UNKNOWN
    return taken
