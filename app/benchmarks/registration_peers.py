"""What else registers: each takes pairs (B, 2, H, W) and gives ``warped`` (B, 1, H, W) and ``ddf``."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, onnx_export
from monai.networks.nets import VoxelMorph, VoxelMorphUNet
from torch import Tensor, nn

from dirnet.fields.resampling import warp
from dirnet.models import SHIPPED
from dirnet.nets.losses import ncc
from dirnet.nets.splines import BSplineTransformer

from .measure import Bench

__all__ = ["CONFIGS", "PAPERS_ELASTIX", "elastix", "optimise", "through_onnx", "voxelmorph"]

Register = Callable[[Tensor], dict[str, Any]]
CONFIGS = SHIPPED["unsupervised"].parents[1] / "configs"
PAPERS_ELASTIX = "elastix, the paper's parameters"
ELASTIX_CONFIGS = Path(__file__).parents[1] / "experiments" / "configs"


def elastix(bench: Bench) -> dict[str, Register]:
    """With the paper's parameters, and tuned; none where ``itk-elastix`` is not installed."""
    try:
        import itk

        from app.experiments.peers import ElastixInferer  # noqa: F401 (the configs name it)
    except ImportError as error:
        bench.skipped.append(f"elastix: {error}")
        return {}
    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(bench.threads)
    peers: dict[str, Register] = {}
    for name, file in ((PAPERS_ELASTIX, "elastix"), ("elastix, tuned", "elastix_tuned")):
        settings = json.loads((ELASTIX_CONFIGS / f"{file}.json").read_text())["inferer"]
        inferer = ConfigParser({"inferer": settings}).get_parsed_content("inferer")
        peers[name] = lambda pairs, inferer=inferer: inferer(pairs, nn.Identity())
    return peers


def through_onnx(bench: Bench) -> dict[str, Register]:
    """The shipped network exported as ONNX, under onnxruntime on the processor, and our warp; none where that is not
    installed."""
    try:
        import onnxruntime

        path = bench.folder / "model.onnx"
        logging.disable(logging.WARNING)  # the exporter tells of each of its steps
        with redirect_stdout(io.StringIO()):
            onnx_export(
                "network_def",
                filepath=str(path),
                ckpt_file=str(SHIPPED["unsupervised"]),
                config_file=str(CONFIGS / "inference.json"),
                meta_file=str(CONFIGS / "metadata.json"),
                args_file=str(CONFIGS / "onnx_export.json"),
            )
    except ImportError as error:
        bench.skipped.append(f"onnxruntime: {error}")
        return {}
    finally:
        logging.disable(logging.NOTSET)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = bench.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def register(pairs: Tensor) -> dict[str, Tensor]:
        ddf = torch.from_numpy(session.run(None, {name: pairs.contiguous().cpu().numpy()})[0])
        return {"warped": warp(pairs[:, :1].cpu(), ddf), "ddf": ddf}

    return {"exported as ONNX, float32, onnxruntime on the CPU": register}


def voxelmorph(device: torch.device) -> Register:
    """MONAI's default VoxelMorph in 2-D, without integration, which the spline has none of either; float32."""
    backbone = VoxelMorphUNet(
        spatial_dims=2,
        in_channels=2,
        unet_out_channels=32,
        channels=(16, 32, 32, 32, 32, 32),
        final_conv_channels=(16, 16),
    )
    network = VoxelMorph(backbone, integration_steps=0, spatial_dims=2).eval().to(device)

    @torch.inference_mode()
    def register(pairs: Tensor) -> dict[str, Tensor]:
        warped, ddf = network(pairs[:, :1], pairs[:, 1:])
        return {"warped": warped, "ddf": ddf}

    return register


def optimise(pairs: Tensor, iterations: int = 100, spacing: int = 8, step: float = 0.5) -> dict[str, Tensor]:
    """The shipped network's spline fitted to each pair by itself: control points from zero, by NCC.

    Args:
        pairs: (B, 2, H, W), H and W multiples of ``spacing``.
        iterations: of Adam.
        spacing: of the control points.
        step: Adam's, in pixels.
    """
    moving, fixed = pairs[:, :1], pairs[:, 1:]
    counts = [n // spacing for n in pairs.shape[2:]]
    points = torch.zeros(len(pairs), 2, *counts, device=pairs.device, requires_grad=True)
    optimizer, spline = torch.optim.Adam([points], lr=step), BSplineTransformer(spacing)
    for _ in range(iterations):
        optimizer.zero_grad()
        (-ncc(warp(moving, spline(points)), fixed).sum()).backward()
        optimizer.step()
    ddf = spline(points.detach())
    return {"warped": warp(moving, ddf), "ddf": ddf}
