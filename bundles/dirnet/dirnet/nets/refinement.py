"""Some steps of optimisation on the pair itself, from where the network has left it."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..fields.displacement import Displacement
from ..fields.resampling import warp
from .losses import FoldingLoss, ncc
from .splines import BSplineTransformer

__all__ = ["check_steps", "refine"]

# of MONAI's bending energy, at each step
warnings.filterwarnings("ignore", message="Using a non-tuple sequence for multidimensional indexing")

STEP = 0.1  # pixels, of Adam; larger ones gained no more Dice on the validation split
BENDING, FOLDING, MARGIN = 2.0, 10.0, 0.1


def check_steps(steps: int) -> int:
    """The number of steps itself.

    Raises:
        InputError: when it is no whole number from 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise InputError(f"refinement: expected a whole number of steps from 0, got {steps!r}")
    return steps


def refine(displacement: Displacement, pairs: Tensor, steps: int) -> Displacement:
    """Move the control points of each pair's spline to where its images are more alike: Adam on the similarity (NCC),
    the bending energy and the folds of the field. The network's weights stay as they are.

    It is the conventional, iterative registration (as in Rueckert et al., IEEE TMI 1999) started from the network's
    answer. Images alone are compared: it takes back what a network has learned from contours.

    Args:
        displacement: of a network whose fields are one B-spline.
        pairs: (B, 2, H, W[, D]), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; where the displacement is.
        steps: of Adam.

    Raises:
        InputError: when the displacement is not one B-spline.
    """
    if len(displacement.parts) != 1:
        raise InputError("refinement moves the control points of a B-spline, of which this network's fields are not")
    from monai.losses import BendingEnergyLoss  # here: MONAI takes a second to load, which a registration saves

    (part,) = displacement.parts
    spline = BSplineTransformer(part.spacing, part.order, part.boundary, len(part.spacing))
    bending, folding = BendingEnergyLoss(), FoldingLoss(MARGIN)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(pairs.device.type, enabled=False):
        moving, fixed = (pairs[:, channel : channel + 1].clone() for channel in (0, 1))  # no tensors of inference mode
        points = part.control_points.detach().clone().requires_grad_()
        optimizer: Any = torch.optim.Adam([points], lr=STEP)
        for _ in range(steps):
            optimizer.zero_grad()
            ddf = spline(points, list(pairs.shape[2:]))
            loss = BENDING * bending(ddf) + FOLDING * folding(ddf) - ncc(warp(moving, ddf), fixed).mean()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return spline.displacement(points.detach(), list(pairs.shape[2:]))
