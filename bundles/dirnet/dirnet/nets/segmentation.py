"""A network that draws structures on single images, and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .definition import DefinedNetwork, build

__all__ = ["DrawingLoss", "DrawingNetwork", "drawing_dice"]


class DrawingNetwork(DefinedNetwork):
    """A segmentation network of MONAI's that draws structures which may lie in one another, in windows of a fixed pixel
    size.

    Its checkpoint says all that is needed to use it: the network, the structures and the windows.

    Args:
        target: the class by name, of ``monai.networks.nets``, of a network that takes images (B, 1, side, side) and
            gives features of the same size; a convolution of single pixels turns these into structures. MONAI's
            ``UNet`` alone ends in as few channels as it has classes, which learns slowly.
        options: its keyword arguments; ``out_channels``: how many features.
        structures: what it draws, a channel each, of :data:`transforms.structures.STRUCTURES`.
        side: of the windows that it is trained for, in their pixels.
        pixel: side of these in mm.

    Input: images (B, 1, H, W) in any range; each is brought to mean 0 and standard deviation 1 first.
    Output: (B, structures, H, W), logits: above 0 inside.

    Raises:
        InputError: when there is no such class, or it does not take the options.
    """

    def __init__(
        self,
        target: str,
        options: Mapping[str, Any],
        structures: Sequence[str] = ("lumen", "epicardium"),
        side: int = 128,
        pixel: float = 1.6,
    ) -> None:
        super().__init__()
        options = dict(options)
        self.definition = {
            "target": target,
            "options": options,
            "structures": list(structures),
            "side": side,
            "pixel": pixel,
        }
        self.structures = tuple(structures)
        self.side, self.pixel = side, pixel
        self.network = build(target, options)
        self.head = nn.Conv2d(options["out_channels"], len(self.structures), 1)
        nn.init.constant_(self.head.bias, -2.0)  # type: ignore[arg-type]  # most pixels lie outside

    def forward(self, image: Tensor) -> Tensor:
        middle = image.mean((2, 3), keepdim=True)
        spread = (image - middle).square().mean((2, 3), keepdim=True).sqrt()
        return self.head(self.network((image - middle) / (spread + 1e-6))).float()


class DrawingLoss(nn.Module):
    """Cross-entropy of pixels and 1 − Dice of images, of what is drawn alone.

    Input: logits and masks (B, structures, H, W); a mask below 0 is of a structure that is not drawn: it doesn't count.
    Output: the mean over the structures that are drawn of both terms' sum.
    """

    def forward(self, logits: Tensor, masks: Tensor) -> Tensor:
        known = (masks >= 0).flatten(2).all(2).float()
        target = masks.clamp(min=0)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
        inside = logits.sigmoid()
        overlap = (inside * target).sum((2, 3))
        dice = 2 * (overlap + 1) / (inside.sum((2, 3)) + target.sum((2, 3)) + 2)  # of two empty ones 1
        each = 4 * entropy + 1 - dice
        return (each * known).sum() / known.sum().clamp(min=1)


def drawing_dice(logits: Tensor, masks: Tensor, channel: int = 0) -> Tensor:
    """Dice of one structure on each image, (B,); nan where nothing of it is drawn.

    Args:
        logits, masks: as :class:`DrawingLoss` takes them.
        channel: the structure's.
    """
    found, drawn = logits[:, channel] > 0, masks[:, channel] > 0.5
    both = (found & drawn).sum((1, 2))
    dice = 2 * both / (found.sum((1, 2)) + drawn.sum((1, 2)))
    return torch.where(drawn.any(2).any(1), dice, torch.nan)
