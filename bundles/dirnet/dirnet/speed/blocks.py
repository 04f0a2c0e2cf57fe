"""ELU and average pooling for training on a CPU, where PyTorch's own take a third of a step: the same, to 1e-7, sooner.

Elsewhere, and in programs that are made of a network, they are PyTorch's own.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cpu import eager_on_cpu, fuse, fusion_works, is_plain_and_eager

__all__ = ["ELU", "HalvingAverage"]

CACHED_VALUES = 2**20  # that stay in a CPU's cache
FUSED = (torch.float32, torch.bfloat16)  # by oneDNN


class ELU(nn.ELU):
    """``nn.ELU(inplace=True)``, for large tensors by oneDNN, whose exponential takes a third of the time."""

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
            if _fits_onednn(input):
                return _FusedELU.apply(input)
        return F.elu(input, self.alpha, self.inplace)


def _fits_onednn(input: Tensor) -> bool:
    if not (is_plain_and_eager(input) and fusion_works(input.device)):
        return False
    leaf = input.is_leaf and input.requires_grad  # torch's own refuses it before it is overwritten
    return input.dtype in FUSED and input.numel() >= CACHED_VALUES and not leaf


class _FusedELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        values = input if input.is_contiguous() or input.dim() < 3 else input.movedim(1, -1)  # channels last
        if values.is_contiguous():
            program, zero = _elu_program(input.dtype), input.new_zeros(1)
            with torch.autocast("cpu", enabled=False):
                for part in values.view(-1).split(CACHED_VALUES):
                    part.copy_(program(part, zero)) if len(part) == CACHED_VALUES else F.elu_(part)
        else:
            F.elu_(input)
        ctx.mark_dirty(input)
        ctx.save_for_backward(input)
        return input

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, result)


@functools.lru_cache
def _elu_program(dtype: torch.dtype) -> torch.jit.ScriptModule:
    # oneDNN takes no layer alone: the sum with zero makes it two
    return fuse(
        lambda values, zero: F.elu(values + zero),
        [torch.zeros(CACHED_VALUES, dtype=dtype), torch.zeros(1, dtype=dtype)],
    )


class HalvingAverage(nn.AvgPool2d):
    """``nn.AvgPool2d(2)``, whose gradient for batches of images of even size takes a third of the time."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
            if eager_on_cpu(input) and input.requires_grad and _is_even_batch(input):
                return _HalvingAverage.apply(input)
        return F.avg_pool2d(input, self.kernel_size, self.stride)  # oneDNN wants the stride said


def _is_even_batch(images: Tensor) -> bool:
    return images.dim() == 4 and images.shape[2] % 2 == images.shape[3] % 2 == 0


class _HalvingAverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return F.interpolate(gradient / 4, scale_factor=2.0, mode="nearest")
