"""Cine to pairs of frames: end-diastole with end-systole, or any two phases, drawn the same again for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Randomizable, Transform
from torch.utils.data import Sampler

__all__ = ["PairDataset", "PairPhasesd", "RandPhasesd", "RandTurnd", "RandWindowd", "RandomBatches", "check_shares"]


def _pair(cine: Mapping[str, Any], moving: int, fixed: int) -> dict[str, Any]:
    image = cine["image"]
    return {"moving": image[moving : moving + 1], "fixed": image[fixed : fixed + 1]}


class PairPhasesd(Transform):
    """A loaded cine to its two registrations [ED to ES, ES to ED], each a dictionary.

    Keys: ``moving``, ``fixed`` (1, H, W) float32; ``moving_lumen``, ``fixed_lumen`` (1, H, W) uint8, all zero where
    not drawn; ``direction`` ("ED-ES": end-diastole is moving); and the record's ``patient``, ``slice``,
    ``pathology``, ``spacing``, ``spacing_assumed``.

    Raises:
        ValueError: when the cine's ``ed`` or ``es`` is None or no frame of it.
    """

    def __call__(self, cine: Mapping[str, Any]) -> list[dict[str, Any]]:
        phases = {"ED": cine["ed"], "ES": cine["es"]}
        for name, phase in phases.items():
            if phase is None or not 0 <= phase < len(cine["image"]):
                raise ValueError(
                    f"patient {cine['patient']}, slice {cine['slice']}: {name} is {phase}, expected a frame index "
                    f"from 0 to {len(cine['image']) - 1}"
                )
        pairs = []
        for moving, fixed in (("ED", "ES"), ("ES", "ED")):
            pair: dict[str, Any] = {
                role: image.float() for role, image in _pair(cine, phases[moving], phases[fixed]).items()
            }
            blank = torch.zeros(pair["fixed"].shape[1:], dtype=torch.uint8)
            for role, name in (("moving", moving), ("fixed", fixed)):
                pair[f"{role}_lumen"] = cine["lumen"].get(phases[name], blank).unsqueeze(0)
            pair["direction"] = f"{moving}-{fixed}"
            for key in ("patient", "slice", "pathology", "spacing_assumed"):
                pair[key] = cine[key]
            pair["spacing"] = torch.tensor(cine["spacing"], dtype=torch.float64)  # collates to (B, 2)
            pairs.append(pair)
        return pairs


class RandPhasesd(Randomizable, Transform):
    """A loaded cine to one ordered pair of two of its phases, all pairs alike: 20 x 19 for a cine of 20.

    Keys: ``moving`` and ``fixed``, (1, H, W), views of the cine, in its float16.
    """

    def __call__(self, cine: Mapping[str, Any]) -> dict[str, Any]:
        phases = len(cine["image"])
        moving = int(self.R.randint(phases))
        fixed = (moving + 1 + int(self.R.randint(phases - 1))) % phases
        return _pair(cine, moving, fixed)


class RandTurnd(Randomizable, Transform):
    """One of the eight flips and right-angle turns of a square image, all alike, the same for all keys; of the four
    that keep the shape where it is not square.

    One copy of a plain tensor; MONAI's ``RandFlipd`` and ``RandRotate90d`` give the same images, but the bookkeeping
    of their ``MetaTensor`` takes longer than a training iteration can hide.

    Args:
        keys: of images (C, H, W).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        axes = [axis for axis in (1, 2) if self.R.randint(2)]
        transpose = bool(self.R.randint(2))
        turned = dict(data)
        for key in self.keys:
            image = turned[key].flip(axes)
            turned[key] = image.transpose(1, 2) if transpose and image.shape[1] == image.shape[2] else image
        return turned


class RandWindowd(Randomizable, Transform):
    """A window of the images, drawn near their middle, where the heart is; the same for all keys.

    Args:
        keys: of images (C, H, W).
        size: of the window, (rows, columns), cut to the image's where that is smaller.
        reach: how far in pixels the window's centre may lie from the image's, along each axis.
    """

    def __init__(self, keys: Sequence[str], size: Sequence[int], reach: int) -> None:
        if not isinstance(size, Sequence) or len(size) != 2 or min(size) < 1:
            raise ValueError(f"the size of a window (crop_size) must be two numbers of pixels, got {size!r}")
        self.keys = tuple(keys)
        self.size = tuple(size)
        self.reach = reach

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        window = [slice(None)]
        for image_size, size in zip(data[self.keys[0]].shape[1:], self.size, strict=True):
            room = max(0, image_size - size)
            first, last = max(0, room // 2 - self.reach), min(room, (room + 1) // 2 + self.reach)
            start = int(self.R.randint(first, last + 1))
            window.append(slice(start, start + size))
        return {**data, **{key: data[key][tuple(window)] for key in self.keys}}


class PairDataset(CacheDataset):
    """Cines in memory, and pairs drawn from them: MONAI's ``CacheDataset`` whose item (index, seed) is the random
    transforms' result for that seed, whatever was drawn before."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            index, seed = index
            self.transform.set_random_state(seed=seed)
        return super().__getitem__(index)


class RandomBatches(Sampler):
    """Batches of (item, seed) for :class:`PairDataset`, one an iteration, items drawn evenly.

    Batch i follows from (seed, i) alone, so a training that starts again at ``start`` sees what an unbroken one sees,
    and processes that take a share each see together what one alone would.

    Args:
        data_source: the dataset, for its length.
        batch_size: pairs a batch, of all processes together.
        iterations: batches in all.
        seed: of the draws.
        rank: of this process among those that share each batch.
        processes: their number.

    Raises:
        ValueError: as :func:`check_shares`.
    """

    def __init__(
        self, data_source: Any, batch_size: int, iterations: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        check_shares(batch_size, processes)
        self.data_source = data_source
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.start = 0

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for iteration in range(self.start, self.iterations):
            draw = np.random.default_rng((self.seed, iteration))
            items = draw.integers(len(self.data_source), size=self.batch_size)
            seeds = draw.integers(2**32, size=self.batch_size)
            batch = list(zip(items.tolist(), seeds.tolist(), strict=True))
            yield batch[self.rank :: self.processes]


def check_shares(batch_size: int, processes: int) -> None:
    """
    Raises:
        ValueError: when processes that share a batch would not have equally many pairs.
    """
    if batch_size % processes:
        raise ValueError(
            f"batch_size must be a multiple of the number of processes, {processes}, which share each batch; "
            f"got {batch_size}"
        )
