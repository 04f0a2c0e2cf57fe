"""What a network of volumes is trained by: images, and structures drawn on both where there are any."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..fields.resampling import warp
from .contour_loss import bending, overlap
from .losses import FoldingLoss, WeightedTerms
from .similarities import NCCLoss

__all__ = ["VolumeLoss"]


class VolumeLoss(WeightedTerms):
    """Likeness of the images, overlap of the structures, smoothness of the field. Structures are in the loss alone:
    registering needs none.

    Terms, each times its weight:

    ============ ==================================================================================================
    similarity   of warped and fixed image
    structures   1 − Dice of the warped structures, mean over those that both volumes have
    segmentation cross-entropy and 1 − Dice of both volumes' structures, found from the network's features, where it
                 has a head for that
    bending      mean squared second differences of the field
    folding      :class:`~dirnet.nets.losses.FoldingLoss`
    ============ ==================================================================================================

    The last two look at every ``step``-th voxel of each axis and take the field in these steps, which for a step of 2
    costs an eighth; splines whose control points lie as far apart have no finer folds to speak of.

    Args:
        image_loss: what compares the images, such as those of :mod:`dirnet.nets.similarities`; NCC by default.
        similarity, structures, segmentation, bending, folding: the weights. With ``structures`` and ``segmentation`` at
            0 the training is unsupervised.
        step: in voxels.
    """

    def __init__(
        self,
        image_loss: nn.Module | None = None,
        similarity: float = 1.0,
        structures: float = 2.0,
        segmentation: float = 0.5,
        bending: float = 0.1,
        folding: float = 10.0,
        step: int = 2,
    ) -> None:
        super().__init__(
            {
                "similarity": similarity,
                "structures": structures,
                "segmentation": segmentation,
                "bending": bending,
                "folding": folding,
            }
        )
        self.image_loss = NCCLoss() if image_loss is None else image_loss
        self.step = step
        self.folding = FoldingLoss(0.1)

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """
        Args:
            prediction: of a :class:`~dirnet.training.engines.RegistrationInferer`: ``warped`` (B, 1, D, H, W), ``ddf``
                (B, 3, D, H, W) in voxels, and ``soft_masks`` (B, K, D, H, W), the moving masks warped, where there are;
                ``segmentation`` and ``seen`` of a :class:`~dirnet.nets.auxiliary.WithStructures`.
            target: ``fixed`` (B, 1, D, H, W), ``fixed_masks`` and ``moving_masks`` (B, K, D, H, W).
        """
        coarse = prediction["ddf"][..., :: self.step, :: self.step, :: self.step] / self.step
        terms = {
            "similarity": self.image_loss(prediction["warped"], target["fixed"]),
            "bending": bending(coarse),
            "folding": self.folding(coarse),
        }
        if "soft_masks" in prediction:
            terms["structures"] = _missed(prediction["soft_masks"], target)
        if "segmentation" in prediction and self.weights["segmentation"] and target["fixed_masks"].shape[1]:
            terms["segmentation"] = _segmentation(prediction, target)
        return self.weighted_sum(terms)


def _missed(warped: Tensor, target: Mapping[str, Tensor]) -> Tensor:
    """1 − Dice, mean over the structures of each pair that both volumes have; 0 where there is none."""
    fixed = target["fixed_masks"].flatten(0, 1).unsqueeze(1).float()
    known = (fixed.flatten(1).any(1) & target["moving_masks"].flatten(0, 1).flatten(1).any(1)).float()
    return ((1 - overlap(warped.flatten(0, 1).unsqueeze(1), fixed)) * known).sum() / known.sum().clamp_min(1)


def _segmentation(prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy and 1 − Dice at the features' resolution, mean over the volumes whose structures are all known, and
    over the structures that are."""
    moving = warp(target["moving_masks"].float(), prediction["seen"].detach())
    terms = []
    logits = prediction["segmentation"].float().chunk(2, 1)
    for found, masks in zip(logits, (moving, target["fixed_masks"].float()), strict=True):
        known = masks.flatten(2).any(2).float()
        cells = [n // k for n, k in zip(masks.shape[2:], found.shape[2:], strict=True)]
        if [cell * k for cell, k in zip(cells, found.shape[2:], strict=True)] != list(masks.shape[2:]):
            raise InputError(f"crop_size: expected multiples of 8 voxels, found {list(masks.shape[2:])}")
        masks = F.avg_pool3d(masks, cells)
        wanted = torch.cat([(1 - masks.sum(1, keepdim=True)).clamp_min(0), masks], 1)
        likely = found.log_softmax(1)
        whole = known.prod(1)
        entropy = -(wanted * likely).sum(1).flatten(1).mean(1)
        terms.append((entropy * whole).sum() / whole.sum().clamp_min(1))
        terms.append(((1 - _soft_dice(likely[:, 1:].exp(), masks)) * known).sum() / known.sum().clamp_min(1))
    return torch.stack(terms).sum() / 2


def _soft_dice(found: Tensor, wanted: Tensor) -> Tensor:
    both, either = (found * wanted).flatten(2).sum(2), (found + wanted).flatten(2).sum(2)
    return 2 * both / (either + 1)
