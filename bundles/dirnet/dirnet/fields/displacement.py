"""What registering a batch of pairs gives: the displacement field, and the transforms that it was made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .affine import affine_displacement
from .composition import compose, invert

__all__ = ["BOUNDARIES", "AffinePart", "BSplinePart", "Displacement", "Part"]


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
class AffinePart:
    """An affine map about a centre: ``x`` goes to ``matrix @ (x - centre) + centre + translation``, pull-back.

    Attributes:
        matrix: (B, dims, dims), float32, axes in array order.
        translation: (B, dims) in pixels.
        centre: in pixels, one number an axis.
    """

    matrix: Tensor
    translation: Tensor
    centre: tuple[float, ...]

    def at(self, places: Tensor) -> Tensor:
        """The displacement (B, dims, ...) in pixels at places (B, dims, ...), anywhere in the plane or in space."""
        centre = torch.tensor(self.centre).to(places).view(-1, *[1] * (places.dim() - 2))
        return affine_displacement(self.matrix.to(places), self.translation.to(places), places - centre)


Part = BSplinePart | AffinePart


@dataclass(frozen=True, eq=False)
class Displacement:
    """A batch of displacement fields: what every network answers, and what is warped, exported and inverted.

    Attributes:
        ddf: (B, dims, H, W[, D]) in pixels of the fixed grid, components in array order, pull-back:
            ``warped(x) = moving(x + ddf(x))``.
        parts: transforms whose composition it is, the one that warps first before the others; empty where it is none.
        besides: what else a network says of the batch, by name, such as a segmentation; for its own loss.
    """

    ddf: Tensor
    parts: tuple[Part, ...] = ()
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

        An affine one is evaluated where it is, also beyond the image; any other repeats its border there. It has parts
        where both have.
        """
        parts = (*self.parts, *second.parts) if self.parts and second.parts else ()
        affine = [part for part in self.parts if isinstance(part, AffinePart)]
        if not affine or len(affine) < len(self.parts):
            return Displacement(compose(self.ddf, second.ddf), parts)
        ddf = second.ddf
        start = grid(ddf)
        for part in reversed(affine):
            ddf = ddf + part.at(start + ddf)
        return Displacement(ddf, parts)

    @staticmethod
    def concatenate(batches: Sequence[Displacement]) -> Displacement:
        """Batches of one network as one."""
        parts = [
            _with_tensors(
                same[0], {name: torch.cat([getattr(part, name) for part in same]) for name in _tensors(same[0])}
            )
            for same in zip(*(batch.parts for batch in batches), strict=True)
        ]
        return Displacement(torch.cat([batch.ddf for batch in batches]), tuple(parts))

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Displacement:
        parts = [
            _with_tensors(part, {name: change(getattr(part, name)) for name in _tensors(part)}) for part in self.parts
        ]
        return Displacement(change(self.ddf), tuple(parts))


def grid(ddf: Tensor) -> Tensor:
    """The pixels' own places (1, dims, H, W[, D]) of a field of this size, in its type."""
    axes = [torch.arange(n, device=ddf.device, dtype=ddf.dtype) for n in ddf.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def _tensors(part: Part) -> list[str]:
    return [one.name for one in dataclasses.fields(part) if isinstance(getattr(part, one.name), Tensor)]


def _with_tensors(part: Part, tensors: Mapping[str, Tensor]) -> Part:
    changed: Part = dataclasses.replace(part, **tensors)  # type: ignore[arg-type]
    return changed
