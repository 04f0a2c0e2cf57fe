"""What the parts cost on this machine: ``python -m app.benchmarks [--threads N]``.

Medians of repeated calls, each part beside what it is compared with, in one run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.networks.blocks import Warp
from rich.console import Console
from rich.table import Table
from torch.utils.benchmark import Timer

from app.experiments.cine_scores import read_patients
from app.follow import follow, save, write_masks
from dirnet.engines import RegistrationInferer, bfloat16_pays
from dirnet.layers import BSplineTransformer, BSplineWarp
from dirnet.losses import FoldingLoss, RegistrationLoss
from dirnet.networks import DIRNet
from dirnet.registrar import Registrar
from transforms.cine_files import read_cine_stack, read_drawn
from transforms.phantom import write_scd
from transforms.records import read_records

SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor (default: all)")
    parser.add_argument("--channels", type=int, default=32, help="of the network (default: 32, as shipped)")
    parser.add_argument("--seconds", type=float, default=3.0, help="spent on each line (default: 3)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    channels = options.channels

    table = Table(title=f"{SIZE}x{SIZE}, {channels} channels, {options.threads} threads")
    for heading in ("part", "batch", "median, ms", "IQR, ms", "ratio to the line above"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    folder = tempfile.TemporaryDirectory()
    for group in (
        registration(1, channels),
        registration(32, channels),
        training(channels),
        layers(backward=False),
        layers(backward=True),
        whole_cine(Path(folder.name), options.threads),
    ):
        previous = None
        for name, batch, call in group:
            measured = Timer("call()", globals={"call": call}, num_threads=options.threads).blocked_autorange(
                min_run_time=options.seconds
            )
            ratio = "" if previous is None else f"{measured.median / previous:.2f}"
            table.add_row(name, str(batch), f"{measured.median * 1e3:.2f}", f"{measured.iqr * 1e3:.2f}", ratio)
            previous = measured.median
        table.add_section()
    folder.cleanup()
    Console().print(table)


Line = tuple[str, int, Callable[[], object]]


def registration(batch: int, channels: int) -> list[Line]:
    """Images in, displacement field and warped image out."""
    plain = DIRNet(channels=channels, poolings=3, extra_convolutions=True).eval().to(memory_format=torch.channels_last)
    folded = plain.fold_normalization()

    def call(network: DIRNet, amp: bool) -> Callable[[], object]:
        return torch.inference_mode()(lambda: RegistrationInferer(amp=amp)(pair, network))

    pair = torch.rand(batch, 2, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    lines = [("register", batch, call(plain, False)), ("register, normalisation folded", batch, call(folded, False))]
    if bfloat16_pays("cpu"):
        lines.append(("register, folded, bfloat16: as shipped", batch, call(folded, True)))
    return lines


def training(channels: int, batch: int = 32) -> list[Line]:
    """One iteration without its data: network, field, warp, loss, gradients and Adam."""
    pair = torch.rand(batch, 2, SIZE, SIZE).contiguous(memory_format=torch.channels_last)

    def call(amp: bool, folding: bool) -> Callable[[], object]:
        network = DIRNet(channels=channels, poolings=3, extra_convolutions=True).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters())
        inferer = RegistrationInferer(amp=amp, field=folding)
        loss = RegistrationLoss(regularization=FoldingLoss() if folding else None, weight=5)

        def step() -> None:
            optimizer.zero_grad()
            loss(inferer(pair, network), pair[:, 1:]).backward()
            optimizer.step()

        return step

    lines = [("train, float32", batch, call(False, False))]
    if bfloat16_pays("cpu"):
        lines.append(("train, bfloat16", batch, call(True, False)))
        lines.append(("train, bfloat16, loss on folds", batch, call(True, True)))
    return lines


def layers(backward: bool, batch: int = 32, spacing: int = 16) -> list[Line]:
    """Control points to warped image: through MONAI's ``Warp``, and straight."""
    points = torch.randn(batch, 2, SIZE // spacing, SIZE // spacing, requires_grad=backward)
    moving = torch.rand(batch, 1, SIZE, SIZE)
    spline, warp, direct = BSplineTransformer(spacing), Warp(padding_mode="border"), BSplineWarp(spacing)

    def call(forward: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return (lambda: forward().sum().backward()) if backward else forward

    passes = "forward and backward" if backward else "forward"
    return [
        (f"spline + MONAI's Warp, {passes}", batch, call(lambda: warp(moving, spline(points)))),
        (f"BSplineWarp, {passes}", batch, call(lambda: direct(points, moving))),
    ]


def whole_cine(folder: Path, threads: int, slices: int = 12) -> list[Line]:
    """``dirnet propagate`` of a phantom drawn on all its slices, with the shipped weights: from DICOM files to all
    results, in this process and as a command with Python's start."""
    write_scd(folder / "data", size=(SIZE, SIZE), patients=3, slices=slices)
    patient = read_patients(read_records(folder / "data", ""))[0][0]
    series, drawn, frame = patient.cine.files[0][0].parent, folder / "drawn.nii.gz", patient.ed
    masks = np.zeros(patient.cine.images.shape, bool)
    masks[:, frame] = patient.drawn["ed"]
    write_masks(drawn, masks, patient.cine)

    def call() -> None:
        cine = read_cine_stack(series)
        followed = follow(Registrar.load(), cine, read_drawn(drawn, cine, frame), frame)
        save(followed, folder / "results", "cine", overwrite=True)

    command = [sys.executable, "-m", "app.command_line", "propagate", series, drawn, "--frame", str(frame)]
    command += ["--output_dir", folder / "results", "--force"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}

    def start() -> None:
        subprocess.run(command, env=environment, check=True, capture_output=True)

    name = f"propagate, {masks.shape[1]} frames x {slices} slices, files to files"
    return [(f"{name}, warm", 1, call), (f"{name}, as a command", 1, start)]


if __name__ == "__main__":
    main()
