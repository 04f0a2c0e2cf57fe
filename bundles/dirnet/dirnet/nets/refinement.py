"""Some steps of optimisation on the pair itself, from where the network has left it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fields.displacement import AffinePart, BSplinePart, Displacement
from ..fields.resampling import warp
from .losses import FoldingLoss
from .similarities import NCCLoss
from .splines import BSplineTransformer

__all__ = ["Refinement", "check_steps", "refine"]

# of MONAI's bending energy, at each step
warnings.filterwarnings("ignore", message="Using a non-tuple sequence for multidimensional indexing")

STEP = 0.1  # pixels, of Adam; larger ones gained no more Dice on the validation split
BENDING, FOLDING, MARGIN = 2.0, 10.0, 0.1


@dataclass(frozen=True)
class Refinement:
    """How a pair is refined. Wherever ``refinement`` is a number of steps, it may be one of these.

    Args:
        steps: of Adam; 0 for none.
        similarity: called with the warped image and the fixed one, see :mod:`dirnet.nets.similarities`.
        bending: weight of the field's bending energy, beside the similarity's 1.
        step: of Adam, in pixels.

    Raises:
        InputError: when the steps are no whole number from 0.
    """

    steps: int
    similarity: nn.Module = field(default_factory=NCCLoss)
    bending: float = BENDING
    step: float = STEP

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise InputError(f"refinement: expected a whole number of steps from 0, got {self.steps!r}")

    def __bool__(self) -> bool:
        return self.steps > 0


def check_steps(refinement: int | Refinement) -> int | Refinement:
    """The refinement itself.

    Raises:
        InputError: when it is neither a whole number of steps from 0 nor a :class:`Refinement`.
    """
    if not isinstance(refinement, Refinement):
        Refinement(refinement)
    return refinement


def refine(displacement: Displacement, pairs: Tensor, refinement: int | Refinement) -> Displacement:
    """Move the control points of each pair's spline to where its images are more alike: Adam on the similarity, the
    bending energy and the folds of the field. The network's weights stay as they are.

    It is the conventional, iterative registration (as in Rueckert et al., IEEE TMI 1999) started from the network's
    answer. Images alone are compared: it takes back what a network has learned from contours.

    Args:
        displacement: of a network whose fields are one B-spline, or affine maps and one after them, which stay.
        pairs: (B, 2, H, W[, D]), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; where the displacement is.
        refinement: the number of steps, by NCC; or more.

    Raises:
        InputError: when the displacement is not of these.
    """
    *before, part = displacement.parts or (None,)
    if not isinstance(part, BSplinePart) or not all(isinstance(one, AffinePart) for one in before):
        raise InputError("refinement moves the control points of a B-spline, of which this network's fields are not")
    affine = Displacement(torch.zeros_like(displacement.ddf), tuple(before)) if before else None

    def whole(spline_field: Displacement) -> Displacement:
        return spline_field if affine is None else affine.then(spline_field)

    from monai.losses import BendingEnergyLoss  # here: MONAI takes a second to load, which a registration saves

    how = refinement if isinstance(refinement, Refinement) else Refinement(refinement)
    spline = BSplineTransformer(part.spacing, part.order, part.boundary, len(part.spacing))
    bending, folding = BendingEnergyLoss(), FoldingLoss(MARGIN)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(pairs.device.type, enabled=False):
        moving, fixed = (pairs[:, channel : channel + 1].clone() for channel in (0, 1))  # no tensors of inference mode
        points = part.control_points.detach().clone().requires_grad_()
        optimizer: Any = torch.optim.Adam([points], lr=how.step)
        for _ in range(how.steps):
            optimizer.zero_grad()
            ddf = whole(spline.displacement(points, list(pairs.shape[2:]))).ddf
            loss = how.similarity(warp(moving, ddf), fixed)
            loss = loss + how.bending * bending(ddf) + FOLDING * folding(ddf)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return whole(spline.displacement(points.detach(), list(pairs.shape[2:])))
