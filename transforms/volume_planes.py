"""Volumes to stacks of one plane of all patients, which pair as the frames of a cine do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import Compose, ResizeWithPadOrCropd
from torch import Tensor

from .records import Record
from .volume_loading import LoadVolumed
from .volume_pairs import volume_pairs

__all__ = ["plane_pairs", "plane_stacks"]


def plane_stacks(
    records: Sequence[Record], planes: Sequence[int], size: Sequence[int], pixel: float
) -> list[dict[str, Any]]:
    """For each sagittal plane the slices of all volumes there, their centres aligned.

    Args:
        records: volumes, as of :mod:`transforms.volume_records`.
        planes: mm from a volume's middle, to the left of the patient where positive.
        size: (rows, columns) of a slice; the border of a smaller one is repeated, so that no edge appears there.
        pixel: mm, to which slices are resampled; planes lie 1 mm apart.

    Returns:
        A dictionary a plane: ``image`` (N, H, W) float16 in [0, 1], rows towards the head, columns towards the back;
        ``masks`` (N, K, H, W) uint8, zero outside the volumes; ``patients``, N names; ``structures``, K names; and
        ``slice``, the plane.

    Raises:
        FileNotFoundError, ValueError: name the file, what was found and what was expected.
    """
    reach = max(abs(plane) for plane in planes)
    fit = ResizeWithPadOrCropd(["image", "masks"], [*size, 2 * reach + 1], mode=["edge", "constant"])
    load = Compose([LoadVolumed((pixel, pixel, 1.0)), fit])
    volumes = [load(record) for record in records]
    images, masks = (
        torch.stack([torch.as_tensor(volume[key]).as_subclass(Tensor) for volume in volumes])
        for key in ("image", "masks")
    )
    return [
        {
            "image": images[:, 0, :, :, reach + plane].half(),
            "masks": masks[..., reach + plane].byte(),
            "patients": [record["patient"] for record in records],
            "structures": list(records[0]["labels"]),
            "slice": plane,
        }
        for plane in planes
    ]


def plane_pairs(stacks: Sequence[dict[str, Any]], count: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of two patients at one plane, the same patients at each: those of :func:`plane_stacks`, one by one.

    Keys as of :class:`transforms.pairing.PairPhasesd`, as far as a validation reads them: all structures together stand
    for the lumen. Beside them ``moving_masks``, ``fixed_masks`` (K, H, W); ``patient`` is the fixed one's.

    Args:
        stacks: planes.
        count: how many pairs of patients are drawn, without repetition; None takes all. The two directions are two.
        seed: of the draw.

    Raises:
        InputError: when there are no two patients.
    """
    places = [{"patient": patient, "place": place} for place, patient in enumerate(stacks[0]["patients"])]
    drawn = volume_pairs(places, "between", count, seed)
    pairs = []
    for stack in stacks:
        for roles in drawn:
            pair: dict[str, Any] = {key: stack[key] for key in ("slice", "structures")}
            pair["patient"] = roles["fixed"]["patient"]
            pair["direction"] = f"{roles['moving']['patient']} to {pair['patient']}"
            for role, of_patient in roles.items():
                masks = stack["masks"][of_patient["place"]]
                pair[role] = stack["image"][of_patient["place"]][None].float()
                pair[f"{role}_masks"], pair[f"{role}_lumen"] = masks, masks.amax(0, keepdim=True)
            pairs.append(pair)
    return pairs
