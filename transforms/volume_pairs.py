"""Pairs of volumes: between patients or of one, drawn for training, and chosen once for validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Compose, ResizeWithPadOrCropd, Transform
from torch import Tensor

from .errors import InputError
from .pairing import check_shares, check_window
from .records import Record, sampled
from .volume_files import moved_onto
from .volume_loading import image_tensor, mask_tensor, read_scaled, spacing_of

__all__ = ["PAIRINGS", "LoadVolumePaird", "VolumePairDataset", "volume_pairs"]

SAME_SIZE = 1.05  # the largest voxel over the smallest, in a training
PAIRINGS = ("between", "within", "any")


def _allowed(patients: Sequence[str], pairing: str) -> np.ndarray:
    """Which volume may be registered onto which, (N, N) bool.

    Raises:
        InputError: when there is no such pairing, or no pair.
    """
    if pairing not in PAIRINGS:
        raise InputError(f"pairing: expected one of {', '.join(PAIRINGS)}, got {pairing!r}")
    same = np.equal.outer(np.array(patients, object), np.array(patients, object))
    allowed = same if pairing == "within" else ~same if pairing == "between" else np.ones_like(same)
    allowed = allowed & ~np.eye(len(patients), dtype=bool)
    if not allowed.any():
        wanted = {"between": "of two patients", "within": "of one patient", "any": "to register"}[pairing]
        found = f"{len(patients)} volumes of {len(set(patients))} patients"
        raise InputError(f"pairing {pairing!r}: expected two volumes {wanted} or more, found {found}")
    return allowed


def volume_pairs(
    records: Sequence[Record], pairing: str = "between", count: int | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Pairs to validate or test by, ``{"moving": record, "fixed": record}``, in the order of the records.

    The two directions of a pair are two.

    Args:
        records: of one split.
        pairing: "between" patients, "within" one, or "any".
        count: how many are drawn, without repetition; None, or more than there are, takes all.
        seed: of the draw.

    Raises:
        InputError: when no two records make such a pair.
    """
    pairs = sampled(np.argwhere(_allowed([record["patient"] for record in records], pairing)).tolist(), count, seed)
    return [{"moving": records[moving], "fixed": records[fixed]} for moving, fixed in pairs]


class LoadVolumePaird(Transform):
    """A pair of :func:`volume_pairs` to tensors on the fixed volume's own grid, a batch of its own.

    Gives ``moving``, ``fixed`` (1, D, H, W) float32 in [0, 1]; ``moving_masks``, ``fixed_masks`` (K, D, H, W) uint8;
    ``spacing`` (3,) in mm, (slice, row, column); ``structures``, their names; ``moving_patient``, ``fixed_patient`` and
    ``pair``, a text of both.

    Args:
        align: of :func:`transforms.volume_files.moved_onto`: "centers", or "place" for volumes of one frame of
            reference.
        pixdim: mm, to which both volumes are resampled first; None keeps the fixed file's.

    Raises:
        FileNotFoundError, ValueError: name the file, what was found and what was expected.
    """

    def __init__(self, align: str = "centers", pixdim: Sequence[float] | None = None) -> None:
        self.align = align
        self.pixdim = pixdim

    def __call__(self, pair: Mapping[str, Record]) -> dict[str, Any]:
        fixed, fixed_label = read_scaled(pair["fixed"], self.pixdim)
        moving, moving_label = read_scaled(pair["moving"], self.pixdim)
        if moving_label is not None:
            moving_label = moved_onto(moving_label, fixed, self.align, labels=True)
        labels = pair["fixed"]["labels"]
        patients = {f"{role}_patient": pair[role]["patient"] for role in ("moving", "fixed")}
        return {
            "moving": image_tensor(moved_onto(moving, fixed, self.align)),
            "fixed": image_tensor(fixed),
            "moving_masks": mask_tensor(moving_label, fixed, labels),
            "fixed_masks": mask_tensor(fixed_label, fixed, labels),
            "spacing": torch.tensor(spacing_of(fixed), dtype=torch.float64),
            "structures": list(labels),
            **patients,
            "pair": " to ".join(patients.values()),
        }


def _check_spacings(volumes: Sequence[Mapping[str, Any]]) -> None:
    """
    Raises:
        InputError: when the voxels of volumes that are paired voxel by voxel differ in size.
    """
    spacings = np.array([volume.get("spacing", (1, 1, 1)) for volume in volumes], float)
    low, high = spacings.min(0), spacings.max(0)
    if (high > SAME_SIZE * low).any():
        found = " to ".join(" x ".join(f"{mm:.3g}" for mm in each) for each in (low, high))
        raise InputError(
            f"expected volumes of one voxel size (slice x row x column), found {found} mm; name one: "
            '--pixdim "[1, 1, 1]"'
        )


class VolumePairDataset(CacheDataset):
    """Volumes in memory, and batches of pairs drawn from them: item i is batch i, which follows from (seed, i) alone.

    MONAI's ``CacheDataset`` loads the volumes. They lie in memory centred in one size: a window's, and around it room
    for the shift.

    Args:
        data: records, or what ``transform`` takes.
        transform: to dictionaries with ``image`` (1, D, H, W) in [0, 1], ``masks`` (K, D, H, W), ``patient`` and
            ``spacing``, 1 mm where there is none: a
            :class:`~transforms.volume_loading.LoadVolumed`, for one.
        crop_size: of the window, (slices, rows, columns), about the volumes' middles; volumes are padded with 0.
        batch_size: pairs a batch, of all processes together.
        iterations: batches in all, the dataset's length.
        seed: of the draws.
        pairing: "between" patients, "within" one, or "any".
        shift: voxels by which the moving volume is shifted against the fixed one along each axis, at most.
        flip: whether both are flipped, alike, along each axis at random.
        contrast: each image is raised to a power between exp(-contrast) and exp(contrast).
        rank: of this process among those that share each batch.
        processes: their number.
        device: on which the volumes lie.
        num_workers, progress: as in ``CacheDataset``.

    Item: ``moving``, ``fixed`` (B, 1, d, h, w) float32, ``moving_masks``, ``fixed_masks`` (B, K, d, h, w) uint8, on the
    device.

    Raises:
        ValueError: when no two volumes make a pair, or as :func:`transforms.pairing.check_window` and
            :func:`~transforms.pairing.check_shares`.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Any,
        crop_size: Sequence[int],
        batch_size: int,
        iterations: int,
        seed: int,
        pairing: str = "between",
        shift: int = 3,
        flip: bool = True,
        contrast: float = 0.3,
        rank: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        num_workers: int = 1,
        progress: bool = True,
    ) -> None:
        check_window(crop_size, 3)
        check_shares(batch_size, processes)
        if not isinstance(shift, int) or shift < 0 or contrast < 0:
            raise InputError(f"shift and contrast must be 0 or more, shift a whole number; got {shift!r}, {contrast!r}")
        fit = ResizeWithPadOrCropd(["image", "masks"], [size + 2 * shift for size in crop_size])
        super().__init__(data, Compose([transform, fit]), copy_cache=False, num_workers=num_workers, progress=progress)
        volumes: Any = self._cache
        _check_spacings(volumes)
        self.allowed = _allowed([volume["patient"] for volume in volumes], pairing)
        self.images = torch.stack(
            [torch.as_tensor(volume["image"]).as_subclass(Tensor).half() for volume in volumes]
        ).to(device)
        self.masks = torch.stack(
            [torch.as_tensor(volume["masks"]).as_subclass(Tensor).byte() for volume in volumes]
        ).to(device)
        self._cache = []  # each volume is kept once
        self.size = tuple(crop_size)
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.shift = shift
        self.flip = flip
        self.contrast = contrast
        self.share = slice(rank, None, processes)

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> dict[str, Tensor]:  # type: ignore[override]
        draw = np.random.default_rng((self.seed, iteration))
        moving = draw.choice(np.flatnonzero(self.allowed.any(1)), self.batch_size)
        fixed = [draw.choice(np.flatnonzero(self.allowed[volume])) for volume in moving]
        corners = draw.integers(2 * self.shift + 1, size=(self.batch_size, 3))
        flips = draw.integers(2, size=(self.batch_size, 3)) * self.flip
        powers = np.exp(draw.uniform(-self.contrast, self.contrast, (self.batch_size, 2)))
        middle = [self.shift] * 3
        parts = [
            (self._window(m, corner, turned, power), self._window(f, middle, turned, other))
            for m, f, corner, turned, (power, other) in list(zip(moving, fixed, corners, flips, powers, strict=True))[
                self.share
            ]
        ]
        batch = {}
        for role, windows in zip(("moving", "fixed"), zip(*parts, strict=True), strict=True):
            batch[role], batch[f"{role}_masks"] = (torch.stack(each) for each in zip(*windows, strict=True))
        return batch

    def _window(self, volume: int, corner: Sequence[int], flips: Sequence[int], power: float) -> tuple[Tensor, Tensor]:
        """Image (1, d, h, w), float32, and masks (K, d, h, w) of a volume in a window that begins at a corner."""
        place = tuple(slice(int(start), int(start) + n) for start, n in zip(corner, self.size, strict=True))
        axes = [axis + 1 for axis, flipped in enumerate(flips) if flipped]
        image, masks = (whole[volume][(slice(None), *place)].flip(axes) for whole in (self.images, self.masks))
        return image.float() ** float(power), masks
