"""Pairs of three domains in one form: digits, cine slices and slices of the hippocampus, in windows of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, ResizeWithPadOrCropd
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from dirnet.errors import InputError
from transforms.loading import LoadCined
from transforms.mnist import digit_pairs, stacks_of_digits
from transforms.pairing import PairDataset, PairPhasesd
from transforms.records import records_of_split, sampled, with_ed_and_es
from transforms.sources import read_records
from transforms.volume_planes import plane_pairs, plane_stacks
from transforms.volume_records import read_volume_records

__all__ = ["DOMAINS", "SIDE", "MixedPairDataset", "pairs_of_test", "training_stacks", "validation_pairs"]

SIDE = 96  # pixels of the windows
DIGITS = range(10)
ENLARGED = 3  # times: a digit is 84 px
TRAINING_DIGITS = 1000  # images a class
PIXEL = 0.5  # mm, of the hippocampus's slices
TRAINING_PLANES = range(-4, 11)  # mm from the middle: where the training volumes have both structures
PLANES = (0, 4, 8)
REACH = 24  # of PairDataset, which draws windows of cines
VALIDATION_PAIRS = 120  # of each domain
DIGIT_PAIRS = {"validation": VALIDATION_PAIRS // 10, "test": 100}  # a class
PLANE_PAIRS = {"validation": VALIDATION_PAIRS // 3, "test": 100}  # a plane

VALIDATED = ("moving", "fixed", "moving_lumen", "fixed_lumen", "patient", "slice", "direction")


def training_stacks(
    domains: Sequence[str], folders: Mapping[str, str | None], seed: int
) -> dict[str, list[dict[str, Any]]]:
    """What training pairs are drawn from, by domain: stacks, ``image`` (T, H, W) float16, any two of which make one.

    Args:
        domains: some of :data:`DOMAINS`.
        folders: of their data, by domain, as its reader takes it.
        seed: of the digits' split.

    Raises:
        FileNotFoundError, ValueError: when the data are not as expected.
        InputError: when there is no such domain.
    """
    return {domain: TRAINING[_known(domain)](folders[domain], seed) for domain in domains}


def validation_pairs(domains: Sequence[str], folders: Mapping[str, str | None], seed: int) -> list[dict[str, Any]]:
    """Equally many pairs of each domain, where there are enough, to choose the best weights by.

    Keys as of :class:`transforms.pairing.PairPhasesd`, as far as a validation reads them; images and lumens are
    (1, SIDE, SIDE). Args and errors as of :func:`training_stacks`.
    """
    found = [pair for domain in domains for pair in PAIRS[_known(domain)](folders[domain], "validation", seed)]
    return [{key: _plain(pair[key]) for key in VALIDATED} for pair in found]


def pairs_of_test(domain: str, folder: str | None, seed: int) -> list[dict[str, Any]]:
    """Pairs of the test split of "mnist" or "hippocampus", the same for a seed.

    Keys as of :func:`validation_pairs`, and ``moving_masks``, ``fixed_masks`` (K, SIDE, SIDE): of a digit its strokes,
    of a hippocampus its ``structures``. Errors as of :func:`training_stacks`.
    """
    return PAIRS[domain](folder, "test", seed)


class MixedPairDataset(Dataset):
    """Batches of pairs to which each domain gives an equal part: item i is batch i, which follows from (seed, i) alone.

    Args:
        stacks: by domain, as of :func:`training_stacks`.
        batch_size: pairs of all domains together.
        iterations, seed, device: as in :class:`transforms.pairing.PairDataset`, which draws a domain's pairs.

    Item: ``moving`` and ``fixed``, (B, 1, SIDE, SIDE) float16, one domain after the other.

    Raises:
        InputError: when the batch has no equal parts.
    """

    def __init__(
        self,
        stacks: Mapping[str, Sequence[Mapping[str, Any]]],
        batch_size: int,
        iterations: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch_size % len(stacks):
            raise InputError(f"batch_size: expected a multiple of {len(stacks)}, the domains; got {batch_size}")
        self.iterations = iterations
        self.parts = [
            PairDataset(
                of_domain,
                Compose([]),
                (SIDE, SIDE),
                batch_size // len(stacks),
                iterations,
                seed,
                reach=REACH,
                turn=domain == "cine",  # digits and hippocampi lie as they lie
                device=device,
                progress=False,
            )
            for domain, of_domain in stacks.items()
        ]

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:
        batches = [part[iteration] for part in self.parts]
        return {role: torch.cat([batch[role] for batch in batches]) for role in ("moving", "fixed")}


def _known(domain: str) -> str:
    if domain not in DOMAINS:
        raise InputError(f"domains: expected some of {', '.join(DOMAINS)}, got {domain!r}")
    return domain


def _plain(value: Any) -> Any:
    """A MetaTensor, such as a cine's, without its metadata: it would not collate with the other domains' tensors."""
    return torch.as_tensor(value).as_subclass(Tensor) if torch.is_tensor(value) else value


def _enlarged(digits: Tensor) -> Tensor:
    """Digits (N, 28, 28) to windows (N, SIDE, SIDE): with control points as far apart as for the other domains, they
    would have three a side."""
    large = functional.interpolate(digits[:, None], scale_factor=ENLARGED, mode="bilinear")[:, 0]
    missing = SIDE - large.shape[-1]
    before, after = missing // 2, missing - missing // 2
    return functional.pad(large, (before, after, before, after))


def _digit_training(folder: str | None, seed: int) -> list[dict[str, Any]]:
    return [
        {"image": _enlarged(stacks["training"][:TRAINING_DIGITS]).half(), "patient": f"digit {digit}"}
        for digit, stacks in stacks_of_digits(folder, DIGITS, seed).items()
    ]


def _digit_pairs(folder: str | None, split: str, seed: int) -> list[dict[str, Any]]:
    found = []
    for digit, stacks in stacks_of_digits(folder, DIGITS, seed).items():
        found += digit_pairs(_enlarged(stacks[split][: DIGIT_PAIRS[split]]), digit)
    return [{**pair, **{f"{role}_masks": pair[f"{role}_lumen"] for role in ("moving", "fixed")}} for pair in found]


def _cine_training(folder: str | None, seed: int) -> list[dict[str, Any]]:
    load = Compose([LoadCined(), ResizeWithPadOrCropd("image", SIDE + 2 * REACH)])
    return [load(record) for record in records_of_split(read_records(folder, ""), "training")]


def _cine_pairs(folder: str | None, split: str, seed: int) -> list[dict[str, Any]]:
    records = with_ed_and_es(records_of_split(read_records(folder, ""), split))
    load = Compose([LoadCined(), PairPhasesd(), ResizeWithPadOrCropd(VALIDATED[:4], SIDE)])
    return [pair for record in sampled(records, VALIDATION_PAIRS // 2, seed) for pair in load(record)]


def _plane_training(folder: str | None, seed: int) -> list[dict[str, Any]]:
    records = records_of_split(read_volume_records(folder, ""), "training")
    return plane_stacks(records, TRAINING_PLANES, (SIDE, SIDE), PIXEL)


def _plane_pairs(folder: str | None, split: str, seed: int) -> list[dict[str, Any]]:
    records = records_of_split(read_volume_records(folder, ""), split)
    stacks = plane_stacks(records, PLANES, (SIDE, SIDE), PIXEL)
    return plane_pairs(stacks, PLANE_PAIRS[split], seed)


TRAINING = {"mnist": _digit_training, "cine": _cine_training, "hippocampus": _plane_training}
PAIRS = {"mnist": _digit_pairs, "cine": _cine_pairs, "hippocampus": _plane_pairs}
DOMAINS = tuple(TRAINING)
