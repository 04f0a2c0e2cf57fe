"""A network that answers with an affine or a rigid map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..fields.affine import affine_displacement
from ..fields.displacement import AffinePart, Displacement
from .blocks import average_pooling, cells, check_dims, layers
from .definition import DefinedNetwork

__all__ = ["AffineNetwork", "affine_field"]

KINDS = ("affine", "rigid")
POOLED = 2  # places an axis whose features the parameters are made of: where a structure is matters
LARGEST_CELL = 16  # pixels an axis that its coarsest layer sees as one


class AffineNetwork(DefinedNetwork):
    """Pairs to affine maps, as the first stage of de Vos et al., "A deep learning framework for unsupervised affine and
    deformable image registration", Medical Image Analysis 2019 (arXiv:1809.06130).

    Layers on the pair at a quarter, an eighth and a sixteenth of its resolution give a matrix ``L`` and a translation;
    the map's matrix is ``exp(L)``, which never mirrors and whose inverse is ``exp(-L)``. Where ``L`` is antisymmetric
    it is a rotation. The identity at first.

    Args:
        spatial_dims: 2 or 3.
        channels: kernels at the three resolutions.
        kind: ``"affine"`` or ``"rigid"``. Pixels count as square: where their sides differ, a rotation of pixels is
            none in mm.

    Input: pair (B, 2, H, W[, D]), channel 0 moving, channel 1 fixed, each scaled to [0, 1]; of any size.
    Output: DDF (B, dims, H, W[, D]) in pixels, components in array order, float32, pull-back. The map is about the
    image's centre.

    Example::

        >>> AffineNetwork(3)(torch.rand(1, 2, 40, 56, 40)).shape
        torch.Size([1, 3, 40, 56, 40])
    """

    def __init__(
        self, spatial_dims: int = 2, channels: list[int] | tuple[int, ...] = (16, 32, 64), kind: str = "affine"
    ) -> None:
        super().__init__()
        if len(channels) != 3:
            raise InputError(f"channels must be three numbers, of three resolutions, got {channels!r}")
        if kind not in KINDS:
            raise InputError(f"kind must be one of {KINDS}, got {kind!r}")
        self.spatial_dims = check_dims(spatial_dims)
        self.rigid = kind == "rigid"
        self.definition = {"spatial_dims": spatial_dims, "channels": list(channels), "kind": kind}
        self.multiple = LARGEST_CELL
        self.pooled = POOLED
        self.pool = average_pooling(spatial_dims)
        self.at_quarter = layers(spatial_dims, 2 * 2**spatial_dims, channels[0])
        self.at_eighth = layers(spatial_dims, channels[0], channels[1])
        self.at_sixteenth = layers(spatial_dims, channels[1], channels[2])
        self.output = nn.Linear(channels[2] * POOLED**spatial_dims, spatial_dims * (spatial_dims + 1))
        for parameter in self.output.parameters():
            nn.init.zeros_(parameter)

    @torch.jit.export
    def maps(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs to matrices (B, dims, dims) and translations (B, dims) in pixels, float32, of :class:`AffinePart`.

        Raises:
            ValueError: when the pair's channels or dimensions are others.
        """
        dims = self.spatial_dims
        if pair.dim() != dims + 2 or pair.shape[1] != 2:
            raise ValueError(f"expected pairs (B, 2, ...) with {dims} axes, got {list(pair.shape)}")
        padding: list[int] = []
        for axis in range(pair.dim() - 1, 1, -1):
            padding += [0, -pair.shape[axis] % self.multiple]
        x = self.at_quarter(self.pool(cells(F.pad(pair, padding))))
        x = self.at_sixteenth(self.pool(self.at_eighth(self.pool(x))))
        x = F.adaptive_avg_pool2d(x, self.pooled) if dims == 2 else F.adaptive_avg_pool3d(x, self.pooled)
        found = self.output(x.flatten(1)).float()
        log = found[:, : dims * dims].reshape(-1, dims, dims)
        if self.rigid:
            log = (log - log.mT) / 2
        size = torch.tensor(pair.shape[2:], device=pair.device, dtype=torch.float32)
        return _exponential(log), found[:, dims * dims :] * size / 2

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W[, D]) to their displacement, whose one part is the map."""
        matrix, translation = self.maps(pair)
        part = AffinePart(matrix, translation, tuple((n - 1) / 2 for n in pair.shape[2:]))
        return Displacement(affine_field(matrix, translation, list(pair.shape[2:])), (part,))

    def forward(self, pair: Tensor) -> Tensor:
        matrix, translation = self.maps(pair)
        return affine_field(matrix, translation, list(pair.shape[2:]))


def _exponential(log: Tensor) -> Tensor:
    """In float32 under autocast too; only TorchScript cannot leave it."""
    if torch.jit.is_scripting():
        return torch.matrix_exp(log)
    with torch.autocast(log.device.type, enabled=False):
        return torch.matrix_exp(log)


def affine_field(matrix: Tensor, translation: Tensor, size: list[int], displaced: Tensor | None = None) -> Tensor:
    """DDF (B, dims, *size) of :class:`~dirnet.fields.displacement.AffinePart` about the centre, in a form that scripts.

    Args:
        displaced: a field (B, dims, *size) that warps after the map; then the DDF is of both.
    """
    axes = [torch.arange(n, device=matrix.device, dtype=torch.float32) - (n - 1) / 2.0 for n in size]
    places = torch.stack(torch.meshgrid(axes, indexing="ij")).unsqueeze(0)
    if displaced is not None:
        places = places + displaced
    field = affine_displacement(matrix, translation, places)
    return field if displaced is None else displaced + field
