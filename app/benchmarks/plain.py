"""The same training as a plain MONAI program: what one writes first, with MONAI's own parts where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedTrainer
from monai.networks.blocks import Convolution, Warp
from monai.transforms import Compose, LoadImaged, RandFlipd, RandRotate90d, RandSpatialCropd, ScaleIntensityd
from torch import Tensor, nn
from torch.utils.data import RandomSampler

from dirnet.nets.networks import DIRNet
from transforms.records import Record

from .spline_peers import TransposedSpline

__all__ = ["PlainNetwork", "plain_dataset", "plain_trainer"]

KEYS = ("moving", "fixed")


class PlainNetwork(nn.Module):
    """A DIRNet's layers, which are MONAI's ``Convolution``, its spline by separable transposed convolutions, and
    MONAI's ``Warp``.

    Args:
        definition: of a 2-D DIRNet with a B-spline.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        super().__init__()
        network = DIRNet(**definition)
        self.regressor = _plain(network.regressor)
        self.spline = TransposedSpline(network.spacing, definition["order"], separable=True, grouped=True)
        self.warp = Warp(padding_mode="border")

    def forward(self, pair: Tensor) -> dict[str, Tensor]:
        ddf = self.spline(self.regressor(pair))
        return {"warped": self.warp(pair[:, :1], ddf), "ddf": ddf}


def _plain(layers: nn.Sequential) -> nn.Sequential:
    """With PyTorch's activation and pooling, in place of the DIRNet's own."""
    for number, layer in enumerate(layers):
        if isinstance(layer, Convolution):
            layer.adn.A = nn.ELU(inplace=True)
        elif isinstance(layer, nn.ELU):
            layers[number] = nn.ELU(inplace=True)
        elif isinstance(layer, nn.AvgPool2d):
            layers[number] = nn.AvgPool2d(kernel_size=2)
    return layers


def plain_dataset(
    records: Sequence[Record], crop_size: Sequence[int], workers: int, pairs_a_cine: int = 8
) -> CacheDataset:
    """Pairs of frames of cines, of one file a frame: loaded once, then turned, flipped and cut one by one."""
    draw = np.random.default_rng(0)
    items = []
    for record in records:
        for _ in range(pairs_a_cine):
            moving, fixed = draw.choice(len(record["frames"]), 2, replace=False)
            items.append({"moving": record["frames"][moving], "fixed": record["frames"][fixed]})
    transform = Compose(
        [
            LoadImaged(KEYS, reader="PydicomReader", ensure_channel_first=True),
            ScaleIntensityd(KEYS),
            RandFlipd(KEYS, prob=0.5, spatial_axis=0),
            RandFlipd(KEYS, prob=0.5, spatial_axis=1),
            RandRotate90d(KEYS, prob=0.5),
            RandSpatialCropd(KEYS, roi_size=crop_size, random_size=False),
        ]
    )
    return CacheDataset(items, transform, num_workers=workers, progress=False)


def plain_trainer(
    dataset: CacheDataset,
    network: PlainNetwork,
    loss: nn.Module,
    batch_size: int,
    iterations: int,
    learning_rate: float,
    device: torch.device,
    workers: int,
) -> SupervisedTrainer:
    """float32, channels first, each item drawn, turned and collated with its metadata, by ``workers`` processes."""
    sampler = RandomSampler(dataset, replacement=True, num_samples=batch_size * iterations)

    def prepare(
        batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool = False, **_: Any
    ) -> tuple[Tensor, Tensor]:
        moving, fixed = (batch[key].to(device, non_blocking=non_blocking) for key in KEYS)
        return torch.cat([moving, fixed], 1), fixed

    return SupervisedTrainer(
        device=device,
        max_epochs=1,
        epoch_length=iterations,
        train_data_loader=DataLoader(dataset, batch_size=batch_size, sampler=sampler, num_workers=workers),
        network=network.to(device),
        optimizer=torch.optim.Adam(network.parameters(), learning_rate),
        loss_function=loss,
        prepare_batch=prepare,
        decollate=False,
    )
