"""What Ignite's trainer and evaluator need to register: how a batch becomes a pair, and a pair a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch
from monai.inferers import Inferer
from torch import Tensor, nn

from transforms.structures import STRUCTURES

from ..errors import check_flag
from ..fields.resampling import warp
from ..nets.inference import predict_displacement
from ..nets.networks import DIRNet
from ..nets.refinement import Refinement, check_steps
from ..trust import mirrored_masks

__all__ = ["PrepareContourPair", "PreparePair", "PrepareVolumePair", "RegistrationInferer", "compile_layers"]


def compile_layers(network: DIRNet, wanted: bool = True) -> None:
    """Have ``torch.compile`` make the layers' kernels for training: its first step takes some 20 s, the others less.

    It needs a C++ compiler and Python's headers, on a GPU Triton. State and names of the weights stay as they are.
    """
    if check_flag(wanted, "compile"):
        network.regressor.forward = torch.compile(network.regressor.forward)  # type: ignore[method-assign]


class PreparePair(PrepareBatch):
    """Batch of ``moving`` and ``fixed`` (B, 1, H, W[, D]) to the network's input and the loss's target.

    Returns:
        pair (B, 2, ...), channel 0 moving, channel 1 fixed, channels last in memory; ``fixed``; and, where the batch
        has ``moving_lumen``, that mask for the inferer to warp, with ``fixed_lumen`` beside ``fixed`` in the target,
        and so every structure that it has, a channel each in the order of :data:`transforms.structures.STRUCTURES`.
    """

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple:
        to_device = _mover(batchdata, device, non_blocking)
        pair = _pair(to_device)
        fixed = pair[:, 1:]
        drawn = [structure for structure in STRUCTURES if f"moving_{structure}" in batchdata]
        if not drawn:
            return pair, fixed
        target = {"fixed": fixed, **{f"fixed_{structure}": to_device(f"fixed_{structure}") for structure in drawn}}
        masks = torch.cat([to_device(f"moving_{structure}").float() for structure in drawn], 1)
        return pair, target, (), {"masks": masks}


class PrepareVolumePair(PrepareBatch):
    """Batch of :mod:`transforms.volume_pairs`, drawn or loaded, to the network's input and what it is scored by.

    Returns:
        pair (B, 2, D, H, W), channel 0 moving, channel 1 fixed, channels last in memory; ``fixed`` (B, 1, D, H, W),
        ``fixed_masks`` and ``moving_masks`` (B, K, D, H, W) as they are; and, where there is a structure, the moving
        masks as float for the inferer to warp.
    """

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple:
        to_device = _mover(batchdata, device, non_blocking)
        pair = _pair(to_device)
        masks = {name: to_device(name) for name in ("fixed_masks", "moving_masks")}
        moving = masks["moving_masks"]
        return pair, {"fixed": pair[:, 1:], **masks}, (), {"masks": moving.float()} if moving.shape[1] else {}


def _mover(
    batchdata: Mapping[str, Tensor], device: str | torch.device | None, non_blocking: bool
) -> Callable[[str], Tensor]:
    """What takes a batch's tensors to a device, as plain ones: MetaTensor costs a pair 0.8 ms in the network."""
    return lambda key: torch.as_tensor(batchdata[key]).as_subclass(Tensor).to(device, non_blocking=non_blocking)


def _pair(to_device: Callable[[str], Tensor]) -> Tensor:
    """(B, 2, H, W[, D]), moving and fixed, float32, channels last in memory."""
    pair = torch.cat([to_device("moving"), to_device("fixed")], 1).float()
    return pair.contiguous(memory_format=torch.channels_last if pair.dim() == 4 else torch.channels_last_3d)


class PrepareContourPair(PrepareBatch):
    """Batch of :class:`transforms.contour_pairs.ContourPairDataset` to the network's input, the pair in its random
    contrast, and the target of :class:`~dirnet.nets.contour_loss.ContourLoss`, the batch itself."""

    def __call__(
        self,
        batchdata: Mapping[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple:
        target = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in batchdata.items()}
        pair = torch.cat([target["moving"], target["fixed"]], 1).contiguous(memory_format=torch.channels_last)
        return pair, target


class RegistrationInferer(Inferer):
    """Registers pairs and warps them: :func:`~dirnet.nets.inference.predict_displacement` as MONAI's engines take it.

    Args:
        amp: whether the network's layers compute in bfloat16; fields and warped images are float32.
        mirrored: whether to follow the first mask in the mirrored images too, see :mod:`dirnet.trust`; 2-D.
        refinement: after the network's answer, see :func:`~dirnet.nets.refinement.refine`.
    """

    def __init__(self, amp: bool = False, mirrored: bool = False, refinement: int | Refinement = 0) -> None:
        super().__init__()
        self.amp = check_flag(amp, "amp")
        self.mirrored = check_flag(mirrored, "mirrored")
        self.refinement = check_steps(refinement)

    def __call__(self, inputs: Tensor, network: nn.Module, masks: Tensor | None = None) -> dict[str, Any]:  # type: ignore[override]
        """
        Args:
            inputs: pair (B, 2, H, W[, D]).
            network: that has ``displacement(pair)``, such as a :class:`~dirnet.nets.networks.DIRNet`.
            masks: (B, C, H, W[, D]) float, of the moving image, to be warped too.

        Returns:
            ``warped`` (B, 1, ...) and ``ddf``, and what else the network says; the ``seconds`` each registration took,
            unless for gradients: a GPU would have to be waited for; with masks, ``warped_masks``, linear, cut at 0.5,
            for gradients ``soft_masks``, not cut; and, if wanted, ``mirrored_masks`` (B, 1, H, W).
        """
        moving = inputs[:, :1]
        timed = not torch.is_grad_enabled()
        start = _now(inputs) if timed else 0.0
        displacement = predict_displacement(network, inputs, self.amp, self.refinement)
        ddf = displacement.ddf
        result: dict[str, Any] = {"warped": warp(moving, ddf), "ddf": ddf, **displacement.besides}
        if timed:
            result["seconds"] = (_now(inputs) - start) / len(inputs)
        if masks is not None:
            soft = warp(masks, ddf)
            result["warped_masks"] = soft > 0.5
            if not timed:
                result["soft_masks"] = soft
            if self.mirrored:
                result["mirrored_masks"] = mirrored_masks(
                    lambda windows: predict_displacement(network, windows, self.amp).ddf, inputs, masks[:, :1]
                )
        return result


def _now(inputs: Tensor) -> float:
    """Seconds, when all that was asked of the tensor's device is done."""
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
    return time.perf_counter()
