"""How a network computes: pairs to displacements, and networks made ready to do only that."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from ..fields.displacement import Displacement
from ..speed.cpu import fuse, fusion_works, images_per_part
from .networks import DIRNet
from .refinement import Refinement, refine

__all__ = ["FusedDIRNet", "bfloat16_pays", "default_device", "for_inference", "predict_displacement"]

MAX_PROGRAMS = 64  # whose programs are kept
CACHED_ACTIVATION_PIXELS = 2**20  # pixels of pairs whose activations a CPU's cache still helps with


def default_device() -> torch.device:
    """A GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bfloat16_pays(device: torch.device | str, spatial_dims: int = 2) -> bool:
    """Whether the device computes in bfloat16, rather than emulating it; in 3-D torch has no pooling in it on a CPU."""
    if spatial_dims == 3 and torch.device(device).type == "cpu":
        return False
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def predict_displacement(network: Any, pairs: Tensor, amp: bool, refinement: int | Refinement = 0) -> Displacement:
    """Pairs (B, 2, H, W[, D]) to their displacement, by any network that has ``displacement(pair)``.

    All that registers comes through here: training, evaluation and :class:`dirnet.registrar.Registrar`. Without
    gradients a CPU takes a few pairs at a time, for whose activations its cache is large enough.

    Args:
        network: a module that has ``displacement``; in eval mode, unless gradients are wanted.
        pairs: channel 0 moving, channel 1 fixed, each scaled to [0, 1]; on the network's device.
        amp: whether its layers compute in bfloat16. Fields are always float32: bfloat16 has steps of half a pixel at
            100 pixels.
        refinement: after the network's answer, see :func:`~dirnet.nets.refinement.refine`.
    """
    whole = pairs.device.type != "cpu" or torch.is_grad_enabled()
    number = images_per_part(pairs, CACHED_ACTIVATION_PIXELS)
    with torch.autocast(pairs.device.type, torch.bfloat16, enabled=amp):
        if whole or len(pairs) <= number:
            found = network.displacement(pairs)
        else:
            found = Displacement.concatenate([network.displacement(part) for part in pairs.split(number)])
    return refine(found, pairs, refinement) if refinement else found


def for_inference(network: Any, device: torch.device | str, amp: bool) -> nn.Module:
    """A copy for inference alone, in eval mode and without gradients: its weights are those of no checkpoint.

    A :class:`~dirnet.nets.networks.DIRNet` takes in its batch normalisation, and on a CPU its layers are fused.

    Args:
        network: a trained one.
        device: where it is to compute.
        amp: whether its layers are to compute in bfloat16.
    """
    memory_format: Any = torch.channels_last if network.spatial_dims == 2 else torch.channels_last_3d
    ready: Any = (
        network.fold_normalization() if hasattr(network, "fold_normalization") else copy.deepcopy(network).eval()
    )
    ready = ready.to(device).to(memory_format=memory_format).requires_grad_(False)
    # in 3-D torch has no pooling in bfloat16 on a CPU
    fused = isinstance(network, DIRNet) and network.spatial_dims == 2 and fusion_works(device)
    return FusedDIRNet(ready, amp) if fused else ready


class FusedDIRNet(nn.Module):
    """A folded 2-D :class:`~dirnet.nets.networks.DIRNet` on a CPU whose activations stay in its cache: oneDNN computes
    a convolution with its ELU at once, and pairs go through the layers one by one.

    A program is made for each image size when it is first seen, which takes about 0.1 s, and those of the last 64 are
    kept. A pair's field is the same in whatever batch it comes. Always in eval mode; no gradients.

    Args:
        network: folded; channels last.
        amp: whether its layers compute in bfloat16, whatever the autocast around it.
    """

    def __init__(self, network: DIRNet, amp: bool) -> None:
        super().__init__()
        self.network = network
        self.spatial_dims = network.spatial_dims
        self.transformer: Any = network.transformer
        self.definition = network.definition
        self.dtype = torch.bfloat16 if amp else torch.float32
        self._layers = copy.deepcopy(network.regressor).to(self.dtype)
        self._program = functools.lru_cache(MAX_PROGRAMS)(self._make_program)
        self.eval()

    def train(self, mode: bool = True) -> FusedDIRNet:
        return super().train(False)

    @torch.no_grad()
    def control_points(self, pair: Tensor) -> Tensor:
        """As :meth:`DIRNet.control_points <dirnet.nets.networks.DIRNet.control_points>`."""
        pair = self.network.padded(pair).to(self.dtype).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", enabled=False):
            program = self._program(*pair.shape[2:])
            return torch.cat([program(one) for one in pair.split(1)]).float()

    def displacement(self, pair: Tensor) -> Displacement:
        """As :meth:`DIRNet.displacement <dirnet.nets.networks.DIRNet.displacement>`."""
        return self.transformer.displacement(self.control_points(pair), list(pair.shape[2:]))

    def forward(self, pair: Tensor) -> Tensor:
        return self.displacement(pair).ddf

    def _make_program(self, *size: int) -> torch.jit.ScriptModule:
        pair = torch.zeros(1, 2, *size, dtype=self.dtype, device="cpu").contiguous(memory_format=torch.channels_last)
        return fuse(self._layers, [pair])
