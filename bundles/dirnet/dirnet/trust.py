"""How far a followed structure can be trusted, where nothing is drawn to compare it with.

A network that is sure of a pair says the same of its mirror image. So the structure is followed a second time, in a
mirrored window around it. From the overlap of the two results, and from the structure's size (a small one is easily
missed), follows an estimate of the Dice that a drawing would give.

The estimate is a linear fit on patients that the network had not seen in training; ``docs/numbers.md`` says how well it
tells. It is that of the network with the shipped weights ``contours``: of others it ranks the results.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .fields.resampling import warp
from .fields.windows import bounds

__all__ = ["DOUBTFUL", "estimated_dice", "mirrored_masks", "terms"]

DOUBTFUL = 0.85  # an estimated Dice below which a reader had better look

LEAST_SIDE, MARGIN, MULTIPLE = 96, 1.5, 16  # of the window: pixels; times the structure's extent; pixels
# the fit, and what keeps its terms finite: in 1 - overlap, in pixels of area
CONSTANT, BY_DIFFERENCE, BY_SIZE = 0.8844, -0.0373, -3.0756
FLOOR, AREA_FLOOR = 0.005, 20.0


def mirrored_masks(displacement: Callable[[Tensor], Tensor], pairs: Tensor, masks: Tensor) -> Tensor:
    """A structure as it is followed in the mirrored images around it.

    Args:
        displacement: pairs (B, 2, h, w) to their DDF (B, 2, h, w), as a network's.
        pairs: (B, 2, H, W), channel 0 moving, channel 1 fixed, each scaled to [0, 1].
        masks: (B, 1, H, W) of the moving images, above 0.5 inside. One window holds what is drawn in any of them.

    Returns:
        (B, 1, H, W) bool, on the fixed images.
    """
    here = (slice(None), slice(None), *_window(masks))
    ddf = displacement(pairs[here].flip(3)).flip(3)
    ddf = torch.stack([ddf[:, 0], -ddf[:, 1]], 1)
    followed = torch.zeros_like(masks, dtype=torch.bool)
    followed[here] = warp(masks[here].float(), ddf) > 0.5
    return followed


def estimated_dice(masks: Tensor, mirrored: Tensor) -> Tensor:
    """The Dice to be expected of followed masks with drawn ones, 0 to 1: (B, 1, H, W) twice -> (B,).

    Args:
        masks: as they were followed, above 0.5 inside.
        mirrored: :func:`mirrored_masks` of the same.
    """
    difference, size = terms(masks, mirrored)
    return (CONSTANT + BY_DIFFERENCE * difference + BY_SIZE * size).clamp(0, 1)


def terms(masks: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """What the estimate is linear in, (B,) each: the logarithm of how much the two masks differ, and one over the
    followed one's side in pixels."""
    a, b = ((mask > 0.5).flatten(1) for mask in (masks, mirrored))
    area = a.sum(1)
    overlap = 2 * (a & b).sum(1) / (area + b.sum(1)).clamp_min(1)  # not MONAI's Dice, which takes seconds to load
    return (1 - overlap + FLOOR).log(), (area + AREA_FLOOR).rsqrt()


def _window(masks: Tensor) -> tuple[slice, slice]:
    """Around what is drawn in any of the masks (B, 1, H, W). The fit is to windows of this size, smaller than
    those that :func:`dirnet.fields.windows.window_around` gives."""
    drawn = (masks > 0.5).any(0)[0].cpu().numpy()
    if not drawn.any():
        return slice(0, drawn.shape[0]), slice(0, drawn.shape[1])
    rows, columns = (_around(*found, size) for found, size in zip(bounds(drawn), drawn.shape, strict=True))
    return rows, columns


def _around(first: int, last: int, size: int) -> slice:
    """Along an axis of ``size`` pixels."""
    side = max(LEAST_SIDE, -(-int(MARGIN * (last + 1 - first)) // MULTIPLE) * MULTIPLE)
    start = min(max(0, (first + last + 1 - side) // 2), max(0, size - side))
    return slice(start, min(size, start + side))
