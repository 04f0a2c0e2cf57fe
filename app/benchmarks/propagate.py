"""``dirnet propagate``: a whole cine, from files to files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

from app.experiments.cine_scores import read_patients
from dirnet.cine.follow import follow
from dirnet.cine.saving import save, write_masks
from dirnet.registrar import Registrar
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_keyframes
from transforms.phantom import write_scd
from transforms.sources import read_records

from .measure import SIZE, Bench, Line, Row

__all__ = ["rows"]

SLICES = 12


def rows(bench: Bench) -> Iterator[list[Row]]:
    """A phantom drawn on all its slices, with the shipped weights: from DICOM files to all results, in this process
    and as a command with Python's start."""
    folder = bench.folder / "propagate"
    write_scd(folder / "data", size=(SIZE, SIZE), patients=3, slices=SLICES)
    patient = read_patients(read_records(folder / "data", ""))[0][0]
    series, drawn, frame = patient.cine.files[0][0].parent, folder / "drawn.nii.gz", patient.ed
    masks = np.zeros(patient.cine.images.shape, bool)
    masks[:, frame] = patient.drawn["ed"]
    write_masks(drawn, masks, patient.cine)

    def warm() -> None:
        cine = read_cine_stack(series)
        followed = follow(Registrar.load(), cine, read_keyframes([drawn], cine, [frame]))
        save(followed, folder / "results", "cine", overwrite=True)

    command = [sys.executable, "-m", "app.command_line", "propagate", series, drawn, "--frame", str(frame)]
    command += ["--output_dir", folder / "results", "--force"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(bench.threads)}

    def start() -> None:
        subprocess.run(command, env=environment, check=True, capture_output=True)

    name, batch = f"propagate, {masks.shape[1]} frames x {SLICES} slices", masks.shape[1] * SLICES
    ways = {"warm": warm, "as a command": start}
    yield bench.measure([Line(f"{name}, {way}", call, batch, passes="files to files") for way, call in ways.items()])
