"""ELU and average pooling for training on a CPU, where PyTorch's own take a third of a step: the same values, sooner.

Elsewhere, and in programs that are made of a network, they are PyTorch's own.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cpu import eager_on_cpu, fuse, fusion_works

__all__ = ["ELU", "HalvingAverage"]

PART = 2**20  # values; they stay in a CPU's cache


class ELU(nn.ELU):
    """``nn.ELU(inplace=True)``, for large tensors by oneDNN, whose exponential takes a third of the time."""

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
            if eager_on_cpu(input) and input.numel() >= PART and fusion_works(input.device):
                return _FusedELU.apply(input)
        return F.elu(input, self.alpha, self.inplace)


class _FusedELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        values = input if input.is_contiguous() or input.dim() < 3 else input.movedim(1, -1)  # channels last
        if values.is_contiguous():
            program, zero = _elu_program(input.dtype), torch.zeros(1, dtype=input.dtype)
            with torch.autocast("cpu", enabled=False):
                for part in values.view(-1).split(PART):
                    part.copy_(program(part, zero)) if len(part) == PART else F.elu_(part)
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
        lambda values, zero: F.elu(values + zero), [torch.zeros(PART, dtype=dtype), torch.zeros(1, dtype=dtype)]
    )


class HalvingAverage(nn.AvgPool2d):
    """``nn.AvgPool2d(2)`` for images of even size, whose gradient takes a third of the time."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript must not see what follows)
            if eager_on_cpu(input) and input.requires_grad:
                return _HalvingAverage.apply(input)
        return F.avg_pool2d(input, self.kernel_size, self.stride)  # oneDNN wants the stride said


class _HalvingAverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return F.interpolate(gradient / 4, scale_factor=2.0, mode="nearest")
