"""Networks of other makes as ones that register."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..fields.displacement import Displacement
from .definition import DefinedNetwork, build

__all__ = ["DenseNetwork", "check_registers"]


def check_registers(network: nn.Module) -> nn.Module:
    """The network, if it can register.

    Raises:
        InputError: when it has no ``displacement(pair)``; names what gives it one.
    """
    if not hasattr(network, "displacement"):
        name = f"{type(network).__module__}.{type(network).__name__}"
        raise InputError(
            f"network_def: {name} has no displacement(pair), so it cannot register; a network that gives a dense "
            "field, such as MONAI's VoxelMorph or LocalNet, is named by dirnet.nets.adapters.DenseNetwork"
        )
    return network


class DenseNetwork(DefinedNetwork):
    """A network that gives a dense displacement field, such as MONAI's ``VoxelMorph``, ``VoxelMorphUNet`` or
    ``LocalNet``, as one that registers.

    Args:
        target: its class by name, of ``monai.networks.nets`` or ``dirnet.nets``. It takes the pair (B, 2, H, W[, D]),
            or moving and fixed (B, 1, H, W[, D]) where its ``forward`` has two arguments, and returns the DDF
            (B, dims, H, W[, D]) in pixels, pull-back, alone or as the last of several results.
        options: its keyword arguments.
        spatial_dims: 2 or 3.
        divisor: the sizes that it takes are multiples of this. The pair is padded with zeros at the end of each axis,
            and the field cropped back.

    Input, output: as :class:`dirnet.nets.networks.DIRNet`.

    Raises:
        InputError: when there is no such class, or it does not take the options.
    """

    def __init__(
        self, target: str, options: Mapping[str, Any] | None = None, spatial_dims: int = 2, divisor: int = 16
    ) -> None:
        super().__init__()
        options = dict(options or {})
        self.definition = {"target": target, "options": options, "spatial_dims": spatial_dims, "divisor": divisor}
        self.spatial_dims = spatial_dims
        self.divisor = divisor
        self.network = build(target, options)
        self.takes_two = len(inspect.signature(self.network.forward).parameters) > 1

    def forward(self, pair: Tensor) -> Tensor:
        if pair.dim() != self.spatial_dims + 2 or pair.shape[1] != 2:
            raise ValueError(f"expected pairs (B, 2, ...) with {self.spatial_dims} axes, got {list(pair.shape)}")
        size = list(pair.shape[2:])
        padding = [pad for n in reversed(size) for pad in (0, -n % self.divisor)]
        padded = F.pad(pair, padding)
        result = self.network(padded[:, :1], padded[:, 1:]) if self.takes_two else self.network(padded)
        ddf = result if isinstance(result, Tensor) else result[-1]
        if ddf.shape[1:] != (self.spatial_dims, *padded.shape[2:]):
            raise InputError(
                f"network_def: {self.definition['target']} gives {list(ddf.shape)} for pairs {list(padded.shape)}; "
                f"expected a displacement field (B, {self.spatial_dims}, ...) of the same size"
            )
        inside: Any = (..., *(slice(n) for n in size))
        return ddf[inside].float()

    def displacement(self, pair: Tensor) -> Displacement:
        """Pairs (B, 2, H, W[, D]) to their displacement, without splines."""
        return Displacement(self(pair))
