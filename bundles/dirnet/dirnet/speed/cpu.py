"""What is particular to a CPU: how much its cache holds, and several layers in one kernel by oneDNN's graph compiler,
which PyTorch carries for Linux on x86-64."""

from __future__ import annotations

import math
import platform
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["fuse", "fusion_works", "images_per_part", "is_plain_and_eager"]

_making = threading.Lock()  # whether oneDNN fuses is one flag of the whole process


def is_plain_and_eager(tensor: Tensor) -> bool:
    """Whether what is made of its size alone can be kept for another: of a plain tensor on a CPU that has values now,
    not while a program is made that takes other sizes too."""
    plain = type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu"
    return plain and not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def images_per_part(images: Tensor, pixels: int) -> int:
    """How many of (B, C, H, W[, D]) a CPU is best given at a time: those that have ``pixels``, or one."""
    return max(1, pixels // max(1, math.prod(images.shape[2:])))


def fusion_works(device: torch.device | str) -> bool:
    """Whether the graph compiler computes on the device.

    It is called by way of ``torch.jit``, which PyTorch no longer develops: where that has gone, layers are not fused.
    """
    linux = platform.system() == "Linux" and platform.machine() == "x86_64"
    there = all(hasattr(torch.jit, name) for name in ("enable_onednn_fusion", "trace", "freeze"))
    return torch.device(device).type == "cpu" and linux and there and torch.backends.mkldnn.is_available()


@torch.no_grad()
def fuse(layers: nn.Module | Callable[..., Tensor], inputs: Sequence[Tensor]) -> torch.jit.ScriptModule:
    """A program for inputs of these sizes, layouts and types alone, without gradients; weights are constants in it.

    It is to be run with autocast off. With the unsupervised network one registration took 1.4 times as long without it,
    a propagation over 20 frames 1.2 times (one thread, a busy machine, 2026-11).
    """
    with _making, torch.autocast("cpu", enabled=False):
        was_enabled = torch.jit.onednn_fusion_enabled()
        torch.jit.enable_onednn_fusion(True)
        try:
            program = torch.jit.trace(layers, tuple(inputs), check_trace=False)
            if isinstance(layers, nn.Module):
                program = torch.jit.freeze(program)
            for _ in range(2):  # the first run looks at the sizes, the second fuses for them
                program(*inputs)
        finally:
            torch.jit.enable_onednn_fusion(was_enabled)
    return program
