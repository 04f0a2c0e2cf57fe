"""What a registration is trained by: how alike the images are, and how regular the field."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..fields.jacobian import jacobian_determinant
from .similarities import NCCLoss, ncc

# NCCLoss: configs of earlier runs name it here
__all__ = ["FoldingLoss", "NCCLoss", "RegistrationLoss", "WeightedTerms", "ncc"]


class FoldingLoss(nn.Module):
    """How far, on average, a field's Jacobian determinant falls below ``margin``.

    Zero for a field that squeezes no region to less than ``margin`` of its area: unlike an energy of bending it leaves
    large motion alone and works on folds, and on what is about to become one.

    Args:
        margin: determinant below which a pixel counts; above 0, to hold in images not seen in training too.
    """

    def __init__(self, margin: float = 0.05) -> None:
        super().__init__()
        self.margin = margin

    def extra_repr(self) -> str:
        return f"margin={self.margin}"

    def forward(self, ddf: Tensor) -> Tensor:
        """DDF (B, dims, H, W[, D]) in pixels, components in array order, pull-back, to a scalar.

        Pixels count as square.
        """
        return torch.relu(self.margin - jacobian_determinant(ddf)).mean()


class WeightedTerms(nn.Module):
    """A loss of several terms, each times its weight.

    Args:
        weights: by the terms' names.

    Attributes:
        terms: the weighted terms of the last call, for the log.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.terms: dict[str, Tensor] = {}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={weight}" for name, weight in self.weights.items())

    def weighted_sum(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The loss of the terms that there are."""
        weighted = {name: self.weights[name] * term for name, term in terms.items()}
        self.terms = {f"train_{name}": term.detach() for name, term in weighted.items()}
        return torch.stack(list(weighted.values())).sum()


class RegistrationLoss(nn.Module):
    """``similarity(warped, fixed) + weight * regularization(ddf)``.

    Args:
        similarity: called with (warped, fixed), see :mod:`dirnet.nets.similarities`; the paper's NCC by default.
        regularization: called with the DDF in pixels, e.g. :class:`FoldingLoss`, or MONAI's ``BendingEnergyLoss`` or
            ``DiffusionLoss``; None, the paper's choice, leaves the spline alone to keep the field smooth.
        weight: of the regularization.
    """

    def __init__(
        self,
        similarity: nn.Module | None = None,
        regularization: nn.Module | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.similarity = NCCLoss() if similarity is None else similarity
        self.regularization = regularization
        self.weight = weight
        self.terms: dict[str, Tensor] = {}  # what the last loss was made of, for the log

    def forward(self, prediction: dict[str, Tensor], fixed: Tensor) -> Tensor:
        """``prediction`` as the registration inferer returns it: ``warped`` (B, 1, H, W[, D]) and ``ddf``."""
        loss = self.similarity(prediction["warped"], fixed)
        self.terms = {"train_similarity_loss": loss.detach()}
        if self.regularization is not None:
            smoothness = self.regularization(prediction["ddf"])
            self.terms["train_regularization"] = smoothness.detach()
            loss = loss + self.weight * smoothness
        return loss
