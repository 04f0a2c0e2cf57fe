"""A volume's files to tensors, as training and evaluation take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.transforms import Transform
from torch import Tensor

from .volume_files import read_label, read_volume, resampled, scaled

__all__ = ["LoadVolumed", "image_tensor", "mask_tensor", "read_scaled", "spacing_of"]


class LoadVolumed(Transform):
    """A record (see :mod:`transforms.volume_records`) to the same dictionary with its files read.

    Adds ``image`` (1, D, H, W) float32, axes (slice, row, column) in LPS, in [0, 1] between the percentiles 1 and 99 of
    the volume; ``masks`` (K, D, H, W) uint8, a channel each structure of ``labels`` in their order, all zero where
    nothing is drawn; ``spacing``, [slice, row, column] in mm.

    Args:
        pixdim: mm, (slice, row, column), to which volumes are resampled first; None keeps the file's.

    Raises:
        FileNotFoundError, ValueError: name the file, what was found and what was expected.
    """

    def __init__(self, pixdim: Sequence[float] | None = None) -> None:
        self.pixdim = pixdim

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        image, label = read_scaled(record, self.pixdim)
        return {
            **record,
            "image": image_tensor(image),
            "masks": mask_tensor(label, image, record["labels"]),
            "spacing": spacing_of(image),
        }


def read_scaled(
    record: Mapping[str, Any], pixdim: Sequence[float] | None = None
) -> tuple[sitk.Image, sitk.Image | None]:
    """A record's image, scaled to [0, 1], and its label volume, where it has one, on one grid."""
    image = read_volume(record["image"])
    label = read_label(record["label"], image) if record["label"] is not None else None
    return resampled(scaled(image), pixdim), None if label is None else resampled(label, pixdim, labels=True)


def image_tensor(image: sitk.Image) -> Tensor:
    """(1, D, H, W) float32."""
    return torch.from_numpy(sitk.GetArrayFromImage(image).astype(np.float32))[None]


def mask_tensor(label: sitk.Image | None, image: sitk.Image, labels: Mapping[str, int]) -> Tensor:
    """(K, D, H, W) uint8 of 0 and 1, a channel each structure, of a label volume on the grid of an image."""
    shape = image.GetSize()[::-1]
    values = np.zeros(shape, np.uint16) if label is None else sitk.GetArrayFromImage(label)
    masks = np.empty((len(labels), *shape), np.uint8)
    for mask, value in zip(masks, labels.values(), strict=True):
        np.equal(values, value, out=mask, casting="unsafe")
    return torch.from_numpy(masks)


def spacing_of(image: sitk.Image) -> list[float]:
    """[slice, row, column] in mm."""
    return list(image.GetSpacing()[::-1])
