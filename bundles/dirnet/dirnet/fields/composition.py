"""Displacement fields one after the other, and back.

A dense displacement field (DDF) has shape (B, 2, H, W) or (B, 3, H, W, D), components in array order
(row, column[, depth]), is in pixels and pulls back: ``warped(x) = moving(x + ddf(x))``. Beyond its border a field
repeats its outermost values, so what is said of points whose way leaves the image is a guess.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .resampling import sample, warp

__all__ = ["compose", "invert"]

TOLERANCE = 1e-3  # pixels by which the inverse of a field may miss, where it can be found
ROUNDS = 60


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The one field that warps as ``first`` and then ``second`` do: u12(x) = u2(x) + u1(x + u2(x)).

    ``warp(warp(image, first), second)`` resamples twice, ``warp(image, compose(first, second))`` once, from the
    original. With ``first`` from frame a to b and ``second`` from b to c, the result goes from a to c.

    Args:
        first, second: DDF (B, 2, H, W) or (B, 3, H, W, D) each, in pixels, components in array order, pull-back.

    Returns:
        DDF of the same shape, float32, or float64 where one of them is; has gradients with respect to both.

    Raises:
        ValueError: when the two differ in shape or are no fields.
    """
    _check(first)
    if first.shape != second.shape:
        raise ValueError(f"fields of different shape: first {list(first.shape)}, second {list(second.shape)}")
    return second + warp(first, second)


@torch.no_grad()
def invert(ddf: Tensor, places: Tensor | None = None) -> Tensor:
    """The field that goes back: ``compose(ddf, invert(ddf))`` is zero, and so is the other order.

    Solves v(x) = −u(x + v(x)) at each pixel by fixed-point iteration (Chen et al., "A simple fixed-point approach to
    invert a deformation field", Medical Physics 2008, doi:10.1118/1.2816107). The plain iteration converges only
    where u changes by less than a pixel a pixel, and a heart can contract more than that. So each pixel has a step
    length of its own, by what the last step did (Barzilai and Borwein, IMA Journal of Numerical Analysis 1988), and
    takes no step that misses by more than before.

    A field has an inverse where it does not fold (:func:`dirnet.fields.jacobian.folded_percent`). Elsewhere the best
    found is returned; by how far it misses, in pixels, is the length of ``compose(ddf, invert(ddf))``.

    Args:
        ddf: (B, 2, H, W) or (B, 3, H, W, D), in pixels, components in array order, pull-back.
        places: where alone it is wanted, (N, 2) or (N, 3) in pixels, in array order; a few points take a small part
            of the time.

    Returns:
        DDF of the same shape, or (B, 2, N) or (B, 3, N) at ``places``; float32, or float64 where ``ddf`` is; without
        gradient.

    Raises:
        ValueError: when it is no field, or has values that are not finite.
    """
    _check(ddf)
    if not ddf.isfinite().all():
        raise ValueError("the displacement field has values that are not finite")
    ddf = ddf.to(torch.promote_types(ddf.dtype, torch.float32))
    if places is None:
        return _solve(lambda inverse: compose(ddf, inverse), -ddf)
    points = places.to(ddf).expand(len(ddf), -1, -1)
    return _solve(lambda inverse: inverse + sample(ddf, points + inverse.mT), -sample(ddf, points))


def _solve(miss_of: Callable[[Tensor], Tensor], inverse: Tensor) -> Tensor:
    """The inverse (B, dims, ...) that misses by less than the tolerance, or as little as can be."""
    miss = miss_of(inverse)
    far = _square(miss)
    step = torch.ones_like(far)
    for _ in range(ROUNDS):
        if far.max() < TOLERANCE**2:
            break
        trial = inverse - step * miss
        trial_miss = miss_of(trial)
        trial_far = _square(trial_miss)
        nearer = trial_far < far
        change = miss - trial_miss
        secant = step * (miss * change).sum(1, keepdim=True) / _square(change).clamp_min(1e-12)
        step = secant.clamp(0.1, 10).where(nearer, step / 2)
        inverse, miss = trial.where(nearer, inverse), trial_miss.where(nearer, miss)
        far = torch.minimum(trial_far, far)
    return inverse


def _square(vectors: Tensor) -> Tensor:
    """Squared length, (B, 1, ...); a plain sum, since torch's norm over a short axis takes ten times as long."""
    return vectors.square().sum(1, keepdim=True)


def _check(ddf: Tensor) -> None:
    if ddf.dim() not in (4, 5) or ddf.shape[1] != ddf.dim() - 2:
        raise ValueError(f"expected a DDF (B, 2, H, W) or (B, 3, H, W, D), got {list(ddf.shape)}")
