"""The network as a program that runs without this project's code: ``torch.export``."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch.export import Dim

from ..errors import InputError
from ..files.aside import buffered, write_aside
from .networks import DIRNet

__all__ = ["export_program"]

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # pixels


def export_program(network: DIRNet, path: str | Path) -> None:
    """Write a network as ``.pt2``, for ``torch.export.load``: pairs (B, 2, H, W[, D]) to DDF, of any batch, and
    of any size from twice the control points' spacing: 16 px a side for the shipped network.

    The program is tried at another batch and size than it was made with before it takes its place.

    Args:
        network: in eval mode; its device is the program's. C2, whose size is fixed, cannot be exported with any other.
        path: of the file.

    Raises:
        ValueError: when the network takes one size alone, or the program's field is another than the network's.
    """
    if not network.any_size:
        raise InputError(f"this network takes the size {network.image_size} alone; export it by ckpt_export")
    device = next(network.parameters()).device
    axes = {axis: Dim(f"size_{axis}", min=2 * network.spacing) for axis in range(2, network.spatial_dims + 2)}
    made_with = torch.rand(2, 2, *[5 * network.spacing + 3] * network.spatial_dims, device=device)
    program = torch.export.export(network, (made_with,), dynamic_shapes=({0: Dim("batch"), **axes},))
    pair = torch.rand(3, 2, *[7 * network.spacing - 2 + axis for axis in range(network.spatial_dims)], device=device)
    with torch.no_grad():
        difference = (program.module()(pair) - network(pair)).abs().max().item()
    if not difference <= TOLERANCE:
        raise InputError(f"the exported program's field differs by {difference:.1e} px from the network's")
    with write_aside(path) as aside, buffered(aside) as stream:
        torch.export.save(program, stream)
    logger.info(f"written: {path}; differs from the network by {difference:.1e} px at most")
