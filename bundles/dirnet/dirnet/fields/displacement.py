"""What registering a batch of pairs gives: the displacement field, and the splines that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .composition import compose, invert

__all__ = ["BOUNDARIES", "BSplinePart", "Displacement"]


BOUNDARIES = ("zero", "replicate")  # of a B-spline: outside the image no control points, or the outermost repeated


@dataclass(frozen=True, eq=False)
class BSplinePart:
    """A B-spline by its control points, as :class:`dirnet.nets.splines.BSplineTransformer` takes them.

    Attributes:
        control_points: (B, dims, K_1, ...) in pixels, components in array order.
        spacing: of the control points in pixels, one an axis.
        order: 1, 2 or 3.
        boundary: one of :data:`BOUNDARIES`.
    """

    control_points: Tensor
    spacing: tuple[int, ...]
    order: int
    boundary: str


@dataclass(frozen=True, eq=False)
class Displacement:
    """A batch of displacement fields: what every network answers, and what is warped, exported and inverted.

    Attributes:
        ddf: (B, dims, H, W[, D]) in pixels of the fixed grid, components in array order, pull-back:
            ``warped(x) = moving(x + ddf(x))``.
        parts: splines whose composition it is, the one that warps first before the others; empty where it is none.
        besides: what else a network says of the batch, by name, such as a segmentation; for its own loss.
    """

    ddf: Tensor
    parts: tuple[BSplinePart, ...] = ()
    besides: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ddf)

    def __getitem__(self, which: slice) -> Displacement:
        """Some pairs of the batch, by a slice."""
        return self._changed(lambda tensor: tensor[which])

    def to(self, device: torch.device | str) -> Displacement:
        return self._changed(lambda tensor: tensor.to(device))

    def inverse(self) -> Tensor:
        """DDF (B, dims, H, W[, D]) that undoes this one; see :func:`dirnet.fields.composition.invert`."""
        return invert(self.ddf)

    def then(self, second: Displacement) -> Displacement:
        """The one displacement that warps as this and then ``second`` do, see :func:`.composition.compose`.

        It has parts where both have.
        """
        parts = (*self.parts, *second.parts) if self.parts and second.parts else ()
        return Displacement(compose(self.ddf, second.ddf), parts)

    @staticmethod
    def concatenate(batches: Sequence[Displacement]) -> Displacement:
        """Batches of one network as one."""
        parts = [
            replace(same[0], control_points=torch.cat([part.control_points for part in same]))
            for same in zip(*(batch.parts for batch in batches), strict=True)
        ]
        return Displacement(torch.cat([batch.ddf for batch in batches]), tuple(parts))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Displacement:
        parts = [replace(part, control_points=change(part.control_points)) for part in self.parts]
        return Displacement(change(self.ddf), tuple(parts))
