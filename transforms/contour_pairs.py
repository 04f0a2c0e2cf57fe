"""Batches of pairs with contours, for a network that learns from drawings and needs none in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import ResizeWithPadOrCrop
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from .augmentation import random_contrast, random_windows, take_windows
from .contractions import FAR, contract, likely_epicardium, signed_distance
from .errors import InputError

__all__ = ["ContourPairDataset"]

SMALLEST = 60  # pixels of a lumen that is contracted
MORE_MOTION = 1.5  # how much oftener a pair is drawn whose lumen vanishes than one whose lumen stays
GUESSED = 0.5  # how much a guessed epicardium counts
WHOLE_CINE = 5  # frames; with more a cine is drawn from at any two phases


class ContourPairDataset(Dataset):
    """Item i is batch i of pairs, which follows from (seed, i) alone.

    A pair is one of three kinds: end-diastole with end-systole, as drawn, the oftener the more the lumen changes;
    end-diastole with a synthetic contraction of it (:func:`transforms.contractions.contract`), whose wall is known;
    any two phases of a whole cine, of which few or none are drawn. Each is seen through a random window near the
    heart, and three in four through a random contrast (:mod:`transforms.augmentation`).

    Args:
        data: loaded cines, see :class:`transforms.loading.LoadCined`, with ``lumen`` and ``epicardium``.
        spatial_size: (rows, columns) to which all are cropped or padded.
        crop_size: of the square window, (side, side).
        batch_size: pairs a batch.
        iterations: batches in all, the dataset's length.
        seed: of the draws.
        contractions: synthetic ones of each end-diastolic frame with both contours.
        contracted: share of such pairs in a batch.
        any_phases: share of pairs of any two phases in a batch, where there are whole cines.
        carry: a registration without contours, of a pair (1, 2, H, W) to its DDF (1, 2, H, W), such as
            :meth:`dirnet.registrar.Registrar.displacement`'s: it gives a likely epicardium at end-systole, known by
            half, where none is drawn. None leaves it unknown.

    Item, all (B, 1, side, side) float32: ``moving`` and ``fixed`` in a random contrast, ``moving_plain`` and
    ``fixed_plain`` as they are; the masks ``moving_lumen``, ``fixed_lumen``, ``moving_epicardium``,
    ``fixed_epicardium``, 0 to 1, and ``fixed_distance``, signed, from the fixed lumen's border in pixels, negative
    inside; and (B,) float32, 1 where they are drawn or known, a half where guessed, else 0, ``lumen_known``,
    ``epicardium_known`` (of both images) and ``wall_known`` (its area too).

    Raises:
        InputError: when no cine has a lumen drawn at end-diastole and at end-systole, or ``crop_size`` is no square.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        spatial_size: Sequence[int],
        crop_size: Sequence[int],
        batch_size: int,
        iterations: int,
        seed: int,
        contractions: int = 6,
        contracted: float = 0.3,
        any_phases: float = 0.15,
        carry: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if len(crop_size) != 2 or crop_size[0] != crop_size[1]:
            raise InputError(f"crop_size must be a square window, [side, side], got {crop_size!r}")
        self.side = int(crop_size[0])
        self.size = (int(spatial_size[0]), int(spatial_size[1]))
        self.batch_size, self.iterations, self.seed = batch_size, iterations, seed
        self.contracted, self.any_phases = contracted, any_phases
        self._fit = ResizeWithPadOrCrop(self.size)
        self._carry = carry
        self._layers: list[np.ndarray] = []  # image, lumen, epicardium, distance: (4, H, W) a frame
        self._known: list[tuple[float, float]] = []  # whether lumen and epicardium are, by frame
        self.drawn: list[tuple[int, int]] = []  # frames of end-diastole and end-systole
        self.change: list[float] = []  # of the lumen's area between them, as a share of the larger
        self.synthetic: list[tuple[int, list[int]]] = []  # frame of end-diastole, frames of its contractions
        self.cines: list[list[int]] = []  # frames of whole cines
        self.centres: dict[int, np.ndarray] = {}  # of the heart, by frame
        for number, cine in enumerate(tqdm(data, "cines with contours", leave=False)):
            self._add_cine(cine, np.random.default_rng((seed, number)), contractions)
        if not self.drawn:
            raise InputError("no cine has a lumen drawn at end-diastole and at end-systole, which this training needs")
        self.frames = torch.from_numpy(np.stack(self._layers))
        self.known = torch.tensor(self._known, dtype=torch.float32)
        self._layers = []

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:
        draw = np.random.default_rng((self.seed, iteration))
        generator = torch.Generator().manual_seed(int(draw.integers(2**62)))
        pairs = [self._pair(draw) for _ in range(self.batch_size)]
        moving, fixed = (torch.tensor(frames) for frames in zip(*(pair[:2] for pair in pairs), strict=True))
        whole = torch.tensor([pair[2] for pair in pairs], dtype=torch.float32)
        centres = torch.from_numpy(np.stack([self.centres[pair[0]] for pair in pairs])).float()
        places, zoom = random_windows(centres, self.side, self.size, generator)
        layers = torch.cat([self.frames[moving], self.frames[fixed]], 1).float()
        inside = take_windows(torch.ones(1, 1, *self.size).expand(self.batch_size, -1, -1, -1), places)
        taken = take_windows(layers, places)
        plain = taken[:, [0, 4]]
        seen = random_contrast(plain, inside, generator)
        known = self.known[moving] * self.known[fixed]
        distance = torch.where(inside > 0.5, taken[:, 7:8], FAR) / zoom.view(-1, 1, 1, 1)
        return {
            "moving": seen[:, :1],
            "fixed": seen[:, 1:],
            "moving_plain": plain[:, :1],
            "fixed_plain": plain[:, 1:],
            "moving_lumen": taken[:, 1:2],
            "fixed_lumen": taken[:, 5:6],
            "moving_epicardium": taken[:, 2:3],
            "fixed_epicardium": taken[:, 6:7],
            "fixed_distance": distance,
            "lumen_known": known[:, 0],
            "epicardium_known": known[:, 1],
            "wall_known": known[:, 1] * whole,
        }

    def _pair(self, draw: np.random.Generator) -> tuple[int, int, bool]:
        """Frames of moving and fixed, and whether the wall is known in both."""
        kind = draw.random()
        if kind < self.contracted and self.synthetic:
            first, contracted = self.synthetic[draw.integers(len(self.synthetic))]
            second = contracted[draw.integers(len(contracted))]
            pair = (first, second)
            known = True
        elif kind > 1 - self.any_phases and self.cines:
            cine = self.cines[draw.integers(len(self.cines))]
            moving, fixed = draw.choice(len(cine), 2, replace=False)
            return cine[moving], cine[fixed], False
        else:
            weights = 1 + MORE_MOTION * np.array(self.change)
            pair = self.drawn[draw.choice(len(self.drawn), p=weights / weights.sum())]
            known = all(self._known[frame][1] == 1 for frame in pair)  # drawn, not guessed
        moving, fixed = pair if draw.random() < 0.5 else pair[::-1]
        return moving, fixed, known

    def _add_cine(self, cine: Mapping[str, Any], draw: np.random.Generator, contractions: int) -> None:
        frames = range(len(self._known), len(self._known) + len(cine["image"]))
        masks = {name: cine.get(name, {}) for name in ("lumen", "epicardium")}
        for time, image in enumerate(cine["image"]):
            self._add_frame(image, *(masks[name].get(time) for name in ("lumen", "epicardium")))
        ed, es = cine["ed"], cine["es"]
        lumens = [self._layers[frames[time]][1] for time in masks["lumen"]]
        drawn = [lumen for lumen in lumens if lumen.any()]
        centre = np.argwhere(drawn[0] > 0.5).mean(0) if drawn else (np.array(self.size) - 1) / 2
        self.centres.update(dict.fromkeys(frames, centre))
        if len(frames) > WHOLE_CINE:
            self.cines.append(list(frames))
        if ed is None or es is None:
            return
        if self._known[frames[ed]][0] and self._known[frames[es]][0]:
            self.drawn.append((frames[ed], frames[es]))
            areas = sorted(float(self._layers[frames[phase]][1].sum(dtype=np.float32)) for phase in (ed, es))
            self.change.append(1 - areas[0] / max(areas[1], 1.0))
        if all(self._known[frames[ed]]):
            if self._carry is not None and self._known[frames[es]] == (1, 0):
                self._guess_epicardium(frames[ed], frames[es], self._carry)
            self._contract(frames[ed], centre, draw, contractions)

    def _guess_epicardium(self, ed: int, es: int, carry: Callable[[Tensor], Tensor]) -> None:
        (image_ed, lumen_ed, epicardium_ed, _), (image_es, lumen_es, _, _) = self._layers[ed], self._layers[es]
        pair = torch.from_numpy(np.stack([image_ed, image_es])[None]).float()
        places = np.indices(image_ed.shape) + carry(pair)[0].numpy()
        carried = map_coordinates(epicardium_ed.astype(np.float32), places, order=1)
        drawn = (layer > 0.5 for layer in (lumen_ed, epicardium_ed, lumen_es))
        self._layers[es][2] = likely_epicardium(carried, *drawn)
        self._known[es] = (1, GUESSED)

    def _contract(self, frame: int, centre: np.ndarray, draw: np.random.Generator, number: int) -> None:
        image, lumen, epicardium = self._layers[frame][:3]
        lumen, epicardium = lumen > 0.5, epicardium > 0.5
        if lumen.sum() < SMALLEST or not number:
            return
        made = []
        for _ in range(number):
            made.append(len(self._known))
            self._add_layers(*contract(image, lumen, epicardium | lumen, draw), known=(1, 1))
            self.centres[made[-1]] = centre
        self.synthetic.append((frame, made))

    def _add_frame(self, image: Tensor, lumen: Tensor | None, epicardium: Tensor | None) -> None:
        def fitted(array: Tensor | None) -> np.ndarray:
            blank = torch.zeros_like(image)
            return np.asarray(self._fit((blank if array is None else array)[None].float())[0], np.float32)

        known = (float(lumen is not None), float(epicardium is not None))
        self._add_layers(fitted(image), fitted(lumen), fitted(epicardium), known)

    def _add_layers(
        self, image: np.ndarray, lumen: np.ndarray, epicardium: np.ndarray, known: tuple[float, float]
    ) -> None:
        self._layers.append(np.stack([image, lumen, epicardium, signed_distance(lumen > 0.5)]).astype(np.float16))
        self._known.append(known)
