"""Cine to pairs of frames: end-diastole with end-systole, or any two phases, drawn the same again for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Transform
from torch import Tensor
from torch.utils.data import Sampler

from .errors import InputError
from .structures import STRUCTURES

__all__ = ["PairDataset", "PairPhasesd", "RemainingBatches", "check_shares", "check_window"]


def _pair(cine: Mapping[str, Any], moving: int, fixed: int) -> dict[str, Any]:
    image = cine["image"]
    return {"moving": image[moving : moving + 1], "fixed": image[fixed : fixed + 1]}


class PairPhasesd(Transform):
    """A loaded cine to its two registrations [ED to ES, ES to ED], each a dictionary.

    Keys: ``moving``, ``fixed`` (1, H, W) float32; ``moving_lumen``, ``fixed_lumen`` (1, H, W) uint8, all zero where
    not drawn, and so each of ``structures``; ``direction`` ("ED-ES": end-diastole is moving); and the record's
    ``patient``, ``slice``, ``pathology``, ``spacing``, ``spacing_assumed``.

    Args:
        structures: those whose masks are wanted, the lumen among them.

    Raises:
        ValueError: when there is no such structure, or the cine's ``ed`` or ``es`` is None or no frame of it.
    """

    def __init__(self, structures: Sequence[str] = ("lumen",)) -> None:
        self.structures = tuple(structures)
        if "lumen" not in self.structures or not set(self.structures) <= set(STRUCTURES):
            raise InputError(f"structures: expected some of {STRUCTURES}, the lumen among them, got {structures!r}")

    def __call__(self, cine: Mapping[str, Any]) -> list[dict[str, Any]]:
        phases = {"ED": cine["ed"], "ES": cine["es"]}
        for name, phase in phases.items():
            if phase is None or not 0 <= phase < len(cine["image"]):
                raise InputError(
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
                for structure in self.structures:
                    pair[f"{role}_{structure}"] = cine[structure].get(phases[name], blank).unsqueeze(0)
            pair["direction"] = f"{moving}-{fixed}"
            for key in ("patient", "slice", "pathology", "spacing_assumed"):
                pair[key] = cine[key]
            pair["spacing"] = torch.tensor(cine["spacing"], dtype=torch.float64)  # collates to (B, 2)
            pairs.append(pair)
        return pairs


class PairDataset(CacheDataset):
    """Cines in memory, and batches of pairs drawn from them: item i is batch i, which follows from (seed, i) alone.

    MONAI's ``CacheDataset`` loads the cines; their frames then lie in one tensor, from which all pairs of a batch are
    taken at once: two different phases of one cine, all cines and phases alike; a window near the images' middle,
    where the heart is; and, with ``turn``, one of the eight flips and right-angle turns of a square window, of the four
    that keep the shape of another. Window and turn are the same for both images.

    Args:
        data: records, or what ``transform`` takes.
        transform: to cines, dictionaries with ``image`` (T, H, W), of one size.
        crop_size: of the window, (rows, columns), cut to the images' where that is smaller.
        batch_size: pairs a batch, of all processes together.
        iterations: batches in all, the dataset's length.
        seed: of the draws.
        reach: how far in pixels the window's centre may lie from the images', along each axis.
        turn: whether to flip and turn.
        rank: of this process among those that share each batch.
        processes: their number.
        device: on which the frames lie.
        num_workers, progress: as in ``CacheDataset``.

    Item: ``moving`` and ``fixed``, (B, 1, h, w) in the cines' type, on the device.

    Raises:
        ValueError: when cines differ in size, one has a single phase, or as :func:`check_window` and
            :func:`check_shares`.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Any,
        crop_size: Sequence[int],
        batch_size: int,
        iterations: int,
        seed: int,
        reach: int = 24,
        turn: bool = True,
        rank: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        num_workers: int = 1,
        progress: bool = True,
    ) -> None:
        check_window(crop_size, 2)
        check_shares(batch_size, processes)
        super().__init__(data, transform, copy_cache=False, num_workers=num_workers, progress=progress)
        self.frames, self.phases = _one_tensor(self._cache, device)
        self._cache = []  # each frame is kept once
        self.first = np.cumsum(self.phases) - self.phases
        self.size = tuple(min(pair) for pair in zip(crop_size, self.frames.shape[1:], strict=True))
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.reach = reach
        self.turn = turn
        self.share = slice(rank, None, processes)

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:  # type: ignore[override]
        draw = np.random.default_rng((self.seed, iteration))
        cine = draw.integers(len(self.phases), size=self.batch_size)
        phases = self.phases[cine]
        moving = draw.integers(phases)
        fixed = (moving + 1 + draw.integers(phases - 1)) % phases
        corners = [draw.integers(*self._starts(axis), size=self.batch_size) for axis in (0, 1)]
        turns = draw.integers(2, size=(3, self.batch_size)) * self.turn

        def share(numbers: np.ndarray) -> Tensor:
            return torch.from_numpy(numbers[self.share]).to(self.frames.device)

        top, left = map(share, corners)
        where = self._places(top, left, share(turns.T).bool())
        _, rows, columns = self.frames.shape
        where += (share(self.first[cine] + moving) * rows * columns)[:, None, None]
        pair = {"moving": self._take(where)}
        where += (share(fixed - moving) * rows * columns)[:, None, None]
        return pair | {"fixed": self._take(where)}

    def _starts(self, axis: int) -> tuple[int, int]:
        """Where a window may start along an axis: the first place, and the one after the last."""
        room = self.frames.shape[axis + 1] - self.size[axis]
        return max(0, room // 2 - self.reach), min(room, (room + 1) // 2 + self.reach) + 1

    def _places(self, top: Tensor, left: Tensor, turns: Tensor) -> Tensor:
        """Of each pixel of each window (B, h, w) its place in a frame that is laid out in one row."""
        ahead = [torch.arange(n, device=top.device) for n in self.size]
        flip_rows, flip_columns, transpose = turns.T[:, :, None]
        rows = top[:, None] + torch.where(flip_rows, ahead[0].flip(0), ahead[0])
        columns = left[:, None] + torch.where(flip_columns, ahead[1].flip(0), ahead[1])
        rows = rows * self.frames.shape[2]
        if self.size[0] == self.size[1]:
            rows, columns = torch.where(transpose, columns, rows), torch.where(transpose, rows, columns)
        return rows[:, :, None] + columns[:, None, :]

    def _take(self, where: Tensor) -> Tensor:
        # not frames.take(where): on a CPU it takes twice as long
        return self.frames.flatten().index_select(0, where.flatten()).view(-1, 1, *where.shape[1:])


def _one_tensor(cines: Sequence[Mapping[str, Any]], device: torch.device | str) -> tuple[Tensor, np.ndarray]:
    """The frames of all cines, (N, H, W), one cine after the other, and how many each has."""
    for cine in cines:
        if len(cine["image"]) < 2:
            name = f"patient {cine.get('patient')}, slice {cine.get('slice')}"
            raise InputError(f"{name}: one frame, expected two phases of a cine or more")
    sizes = sorted({tuple(cine["image"].shape[1:]) for cine in cines})
    if len(sizes) != 1:
        raise InputError(f"expected cines of one size to draw batches of, found {sizes}")
    frames = torch.cat([torch.as_tensor(cine["image"]) for cine in cines]).as_subclass(Tensor).to(device)
    return frames, np.array([len(cine["image"]) for cine in cines])


class RemainingBatches(Sampler):
    """The numbers of the batches from ``start``, 0 at first, to ``iterations``: a training that goes on there sees what
    an unbroken one sees."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.start = 0

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.iterations))


def check_shares(batch_size: int, processes: int) -> None:
    """
    Raises:
        ValueError: when processes that share a batch would not have equally many pairs.
    """
    if not isinstance(batch_size, int) or batch_size < 1 or batch_size % processes:
        raise InputError(
            f"batch_size must be a multiple of the number of processes, {processes}, which share each batch; "
            f"got {batch_size}"
        )


def check_window(crop_size: Sequence[int], dims: int) -> None:
    """
    Raises:
        ValueError: when a window's size is not a whole number from 1 for each of 2 or 3 axes.
    """
    good = isinstance(crop_size, Sequence) and len(crop_size) == dims
    if not good or any(not isinstance(n, int) or n < 1 for n in crop_size):
        many = {2: "two", 3: "three"}[dims]
        raise InputError(f"the size of a window (crop_size) must be {many} numbers of pixels, got {crop_size!r}")
