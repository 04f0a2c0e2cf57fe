"""Cine to pairs of frames: end-diastole with end-systole, or any two phases, drawn the same again for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Randomizable, Transform
from torch.utils.data import Sampler

__all__ = ["PairDataset", "PairPhasesd", "RandPhasesd", "RandomBatches"]


def _pair(cine: Mapping[str, Any], moving: int, fixed: int) -> dict[str, Any]:
    image = cine["image"]
    return {"moving": image[moving : moving + 1].float(), "fixed": image[fixed : fixed + 1].float()}


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
            pair = _pair(cine, phases[moving], phases[fixed])
            blank = torch.zeros(pair["fixed"].shape[1:], dtype=torch.uint8)
            for role, name in (("moving", moving), ("fixed", fixed)):
                pair[f"{role}_lumen"] = cine["lumen"].get(phases[name], blank).unsqueeze(0)
            pair["direction"] = f"{moving}-{fixed}"
            for key in ("patient", "slice", "pathology", "spacing", "spacing_assumed"):
                pair[key] = cine[key]
            pairs.append(pair)
        return pairs


class RandPhasesd(Randomizable, Transform):
    """A loaded cine to one ordered pair of two of its phases, all pairs alike: 20 x 19 for a cine of 20.

    Keys: ``moving`` and ``fixed``, (1, H, W) float32.
    """

    def __call__(self, cine: Mapping[str, Any]) -> dict[str, Any]:
        phases = len(cine["image"])
        moving = int(self.R.randint(phases))
        fixed = (moving + 1 + int(self.R.randint(phases - 1))) % phases
        return _pair(cine, moving, fixed)


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

    Batch i follows from (seed, i) alone, so a training that starts again at ``start`` sees what an unbroken one sees.

    Args:
        data_source: the dataset, for its length.
        batch_size: pairs a batch.
        iterations: batches in all.
        seed: of the draws.
    """

    def __init__(self, data_source: Any, batch_size: int, iterations: int, seed: int) -> None:
        self.data_source = data_source
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.start = 0

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for iteration in range(self.start, self.iterations):
            draw = np.random.default_rng((self.seed, iteration))
            items = draw.integers(len(self.data_source), size=self.batch_size)
            seeds = draw.integers(2**32, size=self.batch_size)
            yield list(zip(items.tolist(), seeds.tolist(), strict=True))
