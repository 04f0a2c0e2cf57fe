"""Time and memory of one registration in this process, as JSON: a row of ``python -m app.benchmarks scaling``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from dirnet.nets.inference import for_inference
from dirnet.nets.networks import DIRNet
from dirnet.registrar import Registrar
from dirnet.training.engines import RegistrationInferer

from .measure import Line, measure

STATUS = Path("/proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs="+", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(one(options.size, options.batch, options.seconds)))


def one(size: list[int], batch: int, seconds: float) -> dict[str, float]:
    """``median_ms``, ``iqr_ms``, ``runs`` and ``peak_mb`` of a batch: with the shipped weights in 2-D, and a network
    of the same definition in 3-D."""
    registrar = Registrar.load()
    network, device = registrar.network, registrar.device
    if len(size) == 3:
        definition = network.definition | {"spatial_dims": 3}
        network = for_inference(DIRNet(**definition), device, registrar.amp)
    inferer = RegistrationInferer(amp=registrar.amp)
    before = peak_mb(device)
    layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
    pairs = torch.rand(batch, 2, *size, device=device).contiguous(memory_format=layout)
    call = torch.inference_mode()(lambda: inferer(pairs, network))
    (row,) = measure([Line("", call)], seconds, device)
    memory = {"peak_mb": peak_mb(device) - before} if before is not None else {}
    return {"median_ms": row.median_ms, "iqr_ms": row.iqr_ms, "runs": row.runs, **memory}


def peak_mb(device: torch.device) -> float | None:
    """The most memory there has been in use: of torch on a GPU, else of the process, where Linux tells.

    Not ``ru_maxrss``, which starts at what the process had that started this one.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if not STATUS.is_file():
        return None
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
