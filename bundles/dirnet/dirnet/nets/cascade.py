"""Networks one after the other, each on what the ones before it have left."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..fields.displacement import Displacement
from .affine import affine_field
from .blocks import sample_at
from .definition import DefinedNetwork, build

__all__ = ["Cascade"]

AFFINE = "dirnet.nets.affine.AffineNetwork"


class Cascade(DefinedNetwork):
    """An affine stage, deformable stages, or both, composed to one field, after de Vos et al., Medical Image Analysis
    2019 (arXiv:1809.06130). Each stage sees the moving image warped by all before it, once, from the original.

    Args:
        stages: of each, ``{"class": name, option: value, ...}``: of a deformable network of ``dirnet.nets``, coarse to
            fine, such as ``{"class": "dirnet.nets.networks.DIRNet", "poolings": 4}``.
        affine: options of an :class:`~dirnet.nets.affine.AffineNetwork` before them; None for none.
        spatial_dims: 2 or 3, of all stages.

    Input, output: as :class:`dirnet.nets.networks.DIRNet`.

    Raises:
        InputError: when there is no stage at all, or one cannot be built.

    Example::

        >>> Cascade([{"class": "dirnet.nets.networks.DIRNet", "poolings": n} for n in (4, 3)], affine={})
    """

    def __init__(
        self, stages: Sequence[Mapping[str, Any]] = (), affine: Mapping[str, Any] | None = None, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        if not stages and affine is None:
            raise InputError("a Cascade needs an affine stage or deformable ones, got neither")
        self.spatial_dims = spatial_dims
        self.definition = {
            "stages": [dict(stage) for stage in stages],
            "affine": None if affine is None else dict(affine),
            "spatial_dims": spatial_dims,
        }
        self.affine: Any = None if affine is None else build(AFFINE, {**affine, "spatial_dims": spatial_dims})
        self.stages: Any = nn.ModuleList([_stage(stage, spatial_dims) for stage in stages])

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W[, D]) to their displacement, with the parts of all stages."""
        affine = None if self.affine is None else self.affine.displacement(pair)
        deformed: Displacement | None = None
        total = affine
        for stage in self.stages:
            found = stage.displacement(pair if total is None else _seen(pair, total.ddf))
            deformed = found if deformed is None else deformed.then(found)
            total = deformed if affine is None else affine.then(deformed)
        assert total is not None  # there is a stage
        return total

    def forward(self, pair: Tensor) -> Tensor:
        """The field of :meth:`displacement`, in a form that scripts."""
        size = list(pair.shape[2:])
        matrix, translation = torch.zeros(0), torch.zeros(0)
        deformed: Tensor | None = None
        total: Tensor | None = None
        if self.affine is not None:
            matrix, translation = self.affine.maps(pair)
            total = affine_field(matrix, translation, size)
        for stage in self.stages:
            found = stage(pair if total is None else _seen(pair, total))
            deformed = found if deformed is None else found + sample_at(deformed, found)
            total = deformed if self.affine is None else affine_field(matrix, translation, size, deformed)
        assert total is not None
        return total

    def fold_normalization(self) -> Cascade:
        """A copy for inference whose convolutions have taken in their batch normalisation: the same field, sooner."""
        folded = copy.deepcopy(self).eval()
        for number, stage in enumerate(folded.stages):
            if hasattr(stage, "fold_normalization"):
                folded.stages[number] = stage.fold_normalization()
        return folded


def _stage(stage: Mapping[str, Any], spatial_dims: int) -> nn.Module:
    options = dict(stage)
    name = options.pop("class", None)
    if not isinstance(name, str):
        raise InputError(f"a stage is {{'class': name, option: value, ...}}, got {dict(stage)!r}")
    return build(name, {**options, "spatial_dims": spatial_dims})


def _seen(pair: Tensor, ddf: Tensor) -> Tensor:
    """The pair with its moving image warped."""
    return torch.cat([sample_at(pair[:, :1].float(), ddf), pair[:, 1:].float()], 1)
