"""What a network that learns from contours is trained by. Contours are in the loss alone: registering needs none."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.resampling import warp
from .losses import FoldingLoss, WeightedTerms
from .similarities import MultiScaleSimilarity

__all__ = ["ContourLoss", "bending", "overlap"]

FAR = 12.0  # pixels, beyond which a border is no further away


class ContourLoss(WeightedTerms):
    """Likeness of the images, smoothness of the field, and how far warped contours are from the drawn ones.

    Terms, each times its weight; those of contours are means over the pairs in which the contours are known:

    ============= ====================================================================================================
    similarity    −NCC of the images as they are and smoothed by 2 px, without the random contrast, see
                  :class:`~dirnet.nets.similarities.MultiScaleSimilarity`
    bending       mean squared second differences of the DDF
    folding       :class:`~dirnet.nets.losses.FoldingLoss`
    lumen         1 − Dice of the warped lumen
    border        mean distance of what the warped lumen misses from the drawn border, in pixels
    area          size of the logarithm of the lumen's areas, warped over drawn: the ejection fraction's own error
    wall          1 − Dice of the warped epicardium, and of the wall where its area is known
    segmentation  of all four contours from the network's features, where it has a head for that
    ============= ====================================================================================================

    Args:
        similarity, bending, folding, lumen, border, area, wall, segmentation: the weights.
        exaggeration: share of the drawn change of area by which the warped lumen is to change more than drawn. Fields
            are too timid on hearts that a network has not seen; chosen on the validation split.
    """

    def __init__(
        self,
        similarity: float = 0.3,
        bending: float = 0.3,
        folding: float = 10.0,
        lumen: float = 2.0,
        border: float = 0.02,
        area: float = 0.4,
        wall: float = 0.5,
        segmentation: float = 0.3,
        exaggeration: float = 0.1,
    ) -> None:
        super().__init__(
            {
                "similarity": similarity,
                "bending": bending,
                "folding": folding,
                "lumen": lumen,
                "border": border,
                "area": area,
                "wall": wall,
                "segmentation": segmentation,
            }
        )
        self.exaggeration = exaggeration
        self.similarity = MultiScaleSimilarity()
        self.folding = FoldingLoss(0.1)

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """
        Args:
            prediction: ``ddf`` (B, 2, H, W) in pixels, (row, column), pull-back; and ``segmentation``, logits
                (B, 4, h, w) of moving and fixed lumen, moving and fixed epicardium, where the network has that head.
            target: a batch of :class:`transforms.contour_pairs.ContourPairDataset`.
        """
        ddf = prediction["ddf"]
        drawn = {name: target[name] for name in ("fixed_lumen", "fixed_epicardium", "fixed_plain")}
        moved = warp(torch.cat([target[f"moving_{name}"] for name in ("plain", "lumen", "epicardium")], 1), ddf)
        image, lumen, epicardium = moved.split(1, 1)
        known = target["lumen_known"] * _large_enough(target)
        terms = {
            "similarity": self.similarity(image, drawn["fixed_plain"]),
            "bending": bending(ddf),
            "folding": self.folding(ddf),
            "lumen": _mean(1 - overlap(lumen, drawn["fixed_lumen"]), known),
            "border": _mean(_border_distance(lumen, target), known),
            "area": _mean(self._area(lumen, target), known),
            "wall": self._wall(lumen, epicardium, target, known),
        }
        if "segmentation" in prediction:
            terms["segmentation"] = segmentation_loss(prediction["segmentation"], target)
        return self.weighted_sum(terms)

    def _area(self, lumen: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        found, fixed, moving = (
            mask.flatten(1).sum(1) + 8 for mask in (lumen, target["fixed_lumen"], target["moving_lumen"])
        )
        wanted = fixed.log() + self.exaggeration * (fixed / moving).log()
        return ((found.log() - wanted).square() + 0.01).sqrt() - 0.1

    def _wall(self, lumen: Tensor, epicardium: Tensor, target: Mapping[str, Tensor], known: Tensor) -> Tensor:
        drawn = target["fixed_epicardium"] - target["fixed_lumen"]
        outer = 1 - overlap(epicardium, target["fixed_epicardium"])
        between = 1 - overlap((epicardium - lumen).clamp_min(0), drawn.clamp_min(0))
        return _mean(outer, target["epicardium_known"]) + _mean(between, target["wall_known"] * known)


def bending(ddf: Tensor) -> Tensor:
    """Mean squared second differences of a DDF (B, dims, H, W[, D]) along each axis, summed over the axes."""
    return torch.stack([ddf.diff(n=2, dim=axis).square().mean() for axis in range(2, ddf.dim())]).sum()


def overlap(mask: Tensor, target: Tensor) -> Tensor:
    """Soft Dice of masks (B, 1, ...) of values 0 to 1: (B,)."""
    both, either = (mask * target).flatten(1).sum(1), (mask + target).flatten(1).sum(1)
    return 2 * both / (either + 1e-3)


def segmentation_loss(logits: Tensor, target: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy and soft Dice of the four contours at the features' resolution, where they are known."""
    names = ("moving_lumen", "fixed_lumen", "moving_epicardium", "fixed_epicardium")
    masks = torch.cat([target[name] for name in names], 1)
    masks = F.adaptive_avg_pool2d(masks, (logits.shape[2], logits.shape[3]))
    known = torch.stack([target[f"{name.split('_')[1]}_known"] for name in names], 1)
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean((2, 3))
    found = logits.sigmoid()
    dice = 1 - 2 * (found * masks).sum((2, 3)) / (found.sum((2, 3)) + masks.sum((2, 3)) + 1)
    return ((3 * entropy + dice) * known).sum() / known.sum().clamp_min(1)


def _large_enough(target: Mapping[str, Tensor]) -> Tensor:
    """Where both lumens are in the window, (B,): of a few pixels no overlap can be learned."""
    moving, fixed = (target[f"{role}_lumen"].flatten(1).sum(1) for role in ("moving", "fixed"))
    return ((moving > 8) & (fixed > 4)).float()


def _border_distance(lumen: Tensor, target: Mapping[str, Tensor]) -> Tensor:
    """What a warped lumen has too much or too little, each pixel by its distance from the border, a pixel of border."""
    fixed = target["fixed_lumen"]
    missed = (lumen - fixed).abs() * target["fixed_distance"].abs().clamp_max(FAR)
    steps = sum(fixed.diff(dim=axis).abs().flatten(1).sum(1) for axis in (2, 3))
    return missed.flatten(1).sum(1) / (steps * math.pi / 4 + 3)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean over the pairs where it is known; a batch with few such pairs counts for less."""
    return (values * known).sum() / known.sum().clamp_min(0.3 * len(values))
