"""Does a displacement field fold: its Jacobian determinant, and how many pixels fold."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["folded_percent", "jacobian_determinant", "log_jacobian_sd"]


def jacobian_determinant(ddf: Tensor) -> Tensor:
    """Determinant of the Jacobian of ``x + ddf(x)``: (B, dims, H, W[, D]) -> (B, 1, H-1, W-1[, D-1]).

    The DDF is in pixels, components in array order, pull-back; pixels count as square, whatever their spacing.
    Above 1 where a region is larger in the moving image than in the fixed, 0 or less where the field folds.
    By forward differences, hence one fewer along each axis. Central differences average folds away; forward
    ones find more, though no single kind finds all (Liu et al., "On finite difference Jacobian computation in
    deformable image registration", IJCV 2024). Not clipped; at least float32.

    Raises:
        ValueError: when ``ddf`` is not a batch of 2-D or 3-D fields with at least 2 pixels along each axis.
    """
    dims = ddf.ndim - 2
    if dims not in (2, 3) or ddf.shape[1] != dims or min(ddf.shape[2:]) < 2:
        raise ValueError(
            "expected a DDF (B, 2, H, W) or (B, 3, H, W, D) of at least 2 pixels along each axis, "
            f"got {list(ddf.shape)}"
        )
    ddf = ddf.to(torch.promote_types(ddf.dtype, torch.float32))
    inner = [slice(-1)] * dims
    here = ddf[(slice(None), slice(None), *inner)]
    columns = []
    for axis in range(dims):
        ahead = [*inner[:axis], slice(1, None), *inner[axis + 1 :]]
        identity = torch.eye(dims, dtype=ddf.dtype, device=ddf.device)[axis].view(-1, *[1] * dims)
        columns.append(ddf[(slice(None), slice(None), *ahead)] - here + identity)
    if dims == 2:
        (a, b), (c, d) = (column.unbind(1) for column in columns)
        return (a * d - b * c).unsqueeze(1)
    return (torch.linalg.cross(columns[0], columns[1], dim=1) * columns[2]).sum(1, keepdim=True)


def folded_percent(ddf: Tensor) -> Tensor:
    """Percentage of the pixels of each field where it folds: (B, dims, H, W[, D]) -> (B,), 0 to 100.

    A pixel folds where :func:`jacobian_determinant` is not positive, or not a number; the last pixel of each
    axis has no forward difference and is not counted. Raises the same errors.
    """
    folded = ~(jacobian_determinant(ddf) > 0)
    return 100.0 * folded.flatten(1).float().mean(1)


def log_jacobian_sd(ddf: Tensor) -> Tensor:
    """Standard deviation of the logarithm of the Jacobian determinant of each field: (B, dims, H, W[, D]) -> (B,).

    0 of a field that scales all regions alike; how unevenly it stretches and shrinks them otherwise. Of the pixels that
    do not fold, as :func:`folded_percent` counts the others; nan where fewer than two are left. Raises the same errors.
    """
    determinant = jacobian_determinant(ddf).flatten(1)
    positive = [each[each > 0] for each in determinant]
    return torch.stack([each.log().std() if len(each) > 1 else each.new_tensor(torch.nan) for each in positive])
