"""Where an affine map takes points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["affine_displacement"]


def affine_displacement(matrix: Tensor, translation: Tensor, from_centre: Tensor) -> Tensor:
    """By how much the map ``x`` to ``matrix @ x + translation`` moves each point, in a form that scripts.

    Args:
        matrix: (B, dims, dims), axes in array order.
        translation: (B, dims) in pixels.
        from_centre: points (B, dims, ...) or (1, dims, ...), from the map's centre, in pixels.

    Returns:
        (B, dims, ...) in pixels, in the points' type, under autocast too.
    """
    change = matrix - torch.eye(matrix.shape[1], device=matrix.device, dtype=matrix.dtype)
    # not matmul, which under autocast would compute in bfloat16
    moved = (change.unsqueeze(3) * from_centre.flatten(2).unsqueeze(1)).sum(2) + translation.unsqueeze(2)
    return moved.reshape([moved.shape[0], moved.shape[1]] + list(from_centre.shape[2:]))  # noqa: RUF005 (TorchScript)
