"""Pairs of opposite contrast: which similarities register them as well as NCC registers the pairs as they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from monai.transforms import Compose, ResizeWithPadOrCropd
from rich.console import Console
from torch import Tensor, nn

from app.settings import keep_settings
from dirnet.errors import InputError
from dirnet.fields.displacement import Displacement
from dirnet.fields.jacobian import folded_percent
from dirnet.fields.masks import dice
from dirnet.fields.resampling import warp
from dirnet.files.tables import write_csv
from dirnet.nets import similarities
from dirnet.nets.refinement import Refinement
from dirnet.nets.splines import BSplineTransformer
from dirnet.registrar import Registrar
from transforms.loading import LoadCined
from transforms.pairing import PairPhasesd
from transforms.phantom import write_scd
from transforms.records import records_of_split, with_ed_and_es
from transforms.sources import read_records

from . import outputs, report
from .machine import machine

__all__ = ["PATIENTS", "run"]

INTRODUCTION = """Each pair of end-diastole and end-systole is registered without a network: the control points of a \
cubic B-spline, {spacing} px apart, start at zero and are moved by Adam, {steps} steps of about {step} px, to where \
the images are more alike ([which similarity, when](../../similarities.md)). Once the images are as they are, and once \
the moving image is inverted, 1 − image. Validation split; the settings were chosen on every other patient, and \
`--patients held_out` are the others."""
NOTE = """Dice of the lumen, mean ± standard deviation, {count} registrations with a lumen on both images; before, \
{before:.3f}. Difference: of the inverted pairs' mean from that of NCC on the pairs as they are. Folded: pixels of the \
inverted pairs, in %. Time: of a registration."""

PATIENTS = {"held_out": slice(1, None, 2), "tuning": slice(0, None, 2)}  # of the split, in the order of their names
SPACING, STEPS, STEP = 8, 60, 0.3
SIDE = 112  # pixels of the windows, at whose middle the heart is
BATCH = 16

console = Console()


@dataclass(frozen=True)
class Candidate:
    """A similarity, and the weight of the bending energy beside it."""

    title: str
    similarity: Callable[[], nn.Module]
    bending: float


CANDIDATES = (
    Candidate("NCC", similarities.NCCLoss, 1.0),
    Candidate("local NCC", lambda: similarities.LocalNCCLoss(25), 1.0),
    Candidate(
        "mutual information",
        lambda: similarities.MultiScaleSimilarity(similarities.MutualInformationLoss(24), (0, 2)),
        1.0,
    ),
    Candidate("MIND-SSC", lambda: similarities.MINDLoss(6, 1, 0.3), 0.01),
    Candidate("NGF", lambda: similarities.MultiScaleSimilarity(similarities.NGFLoss(0.02), (1.5, 3)), 0.02),
)
CONTRASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "as it is": lambda image: image,
    "inverted": lambda image: 1 - image,
}


class Unmoved(nn.Module):
    """Stands where a network stands, and leaves all to the refinement: a B-spline of zeros."""

    spatial_dims = 2

    def displacement(self, pair: Tensor) -> Displacement:
        size = list(pair.shape[2:])
        points = pair.new_zeros(len(pair), 2, *(-(-side // SPACING) for side in size))
        return BSplineTransformer(SPACING, boundary="replicate").displacement(points, size)


def run(dataset_dir: str | None, output_dir: Path, patients: str, every: int = 1) -> None:
    """Register all pairs by each similarity in both contrasts, and write a table.

    Args:
        dataset_dir: folder or datalist, as the bundle's configs take it; without, the phantom is made.
        output_dir: where all goes; what was measured there before is measured again.
        patients: one of :data:`PATIENTS`.
        every: 1 for all of their pairs, 2 for every other one, ....

    Raises:
        FileNotFoundError, InputError: when the data are not as expected.
        InputError: when ``output_dir`` holds the results of other data.
    """
    data = str(Path(dataset_dir).resolve()) if dataset_dir else str((output_dir / "phantom").resolve())
    if dataset_dir is None and not Path(data).is_dir():
        console.print("no --dataset_dir (nor SCD_DIR) given: using the beating-heart phantom that the project makes")
        write_scd(data)
    records = _records(data, patients)
    keep_settings(output_dir, {"dataset_dir": data, "patients": patients, "every": every})
    pairs = {key: images[::every] for key, images in _pairs(records).items()}
    rows = []
    for candidate in CANDIDATES:
        for contrast in CONTRASTS:
            found = _register(pairs, candidate, contrast)
            scored = found["dice"].dropna()
            console.print(f"{candidate.title}, moving image {contrast}: Dice {scored.mean():.3f}", highlight=False)
            rows.append(found)
    table = pd.concat(rows, ignore_index=True)
    write_csv(output_dir / "registrations.csv", table)
    option = f"--dataset_dir {Path(data).name} " if dataset_dir else ""
    command = f"python -m app.experiments contrast {option}--patients {patients} --every {every}"
    _write_page(table, pairs, output_dir, {"command": command, **machine()})


def _records(data: str, patients: str) -> list:
    records = with_ed_and_es(records_of_split(read_records(data, ""), "validation"))
    names = sorted({record["patient"] for record in records})[PATIENTS[patients]]
    if not names:
        raise InputError(f"{data}: one patient in the split 'validation', expected two or more: --patients tuning")
    return [record for record in records if record["patient"] in names]


def _pairs(records: list) -> dict[str, Tensor]:
    """Windows of all pairs of the records, (N, 1, SIDE, SIDE) each."""
    keys = ["moving", "fixed", "moving_lumen", "fixed_lumen"]
    load = Compose([LoadCined(), PairPhasesd(), ResizeWithPadOrCropd(keys, SIDE)])
    loaded = [pair for record in records for pair in load(record)]
    return {key: torch.stack([torch.as_tensor(pair[key]).as_subclass(Tensor) for pair in loaded]) for key in keys}


def _register(pairs: dict[str, Tensor], candidate: Candidate, contrast: str) -> pd.DataFrame:
    refinement = Refinement(STEPS, candidate.similarity(), candidate.bending, STEP)
    registrar = Registrar(Unmoved(), "cpu", refinement)
    images = torch.cat([CONTRASTS[contrast](pairs["moving"]), pairs["fixed"]], 1)
    start = time.perf_counter()
    ddf = torch.cat([registrar.displacement(batch).ddf for batch in images.split(BATCH)])
    seconds = (time.perf_counter() - start) / len(images)
    lumens = warp(pairs["moving_lumen"].float(), ddf) > 0.5
    scores = {"dice": dice(lumens, pairs["fixed_lumen"] > 0), "folded_percent": folded_percent(ddf)}
    about = {"similarity": candidate.title, "contrast": contrast, "pair": range(len(images)), "seconds": seconds}
    return pd.DataFrame(about | {name: values.numpy() for name, values in scores.items()})


def _write_page(table: pd.DataFrame, pairs: dict[str, Tensor], output_dir: Path, about: dict[str, Any]) -> None:
    groups = table.groupby(["similarity", "contrast"], sort=False)
    mean, spread = groups.mean(numeric_only=True), groups["dice"].std(ddof=0)
    reference = mean["dice"][("NCC", "as it is")]
    rows = {}
    for candidate in CANDIDATES:
        cells = {f"Dice, {name}": _spread(mean, spread, candidate, name) for name in CONTRASTS}
        inverted = mean.loc[(candidate.title, "inverted")]
        cells["difference"] = f"{inverted['dice'] - reference:+.3f}"
        cells["folded, %"] = f"{inverted['folded_percent']:.4f}"
        cells["time, ms"] = f"{1000 * inverted['seconds']:.0f}"
        name = " ".join(str(candidate.similarity()).split())
        cells["settings"] = f"{name}, bending {candidate.bending:g}"
        rows[candidate.title] = cells
    before = dice(pairs["moving_lumen"] > 0, pairs["fixed_lumen"] > 0)
    count = int((~before.isnan()).sum())
    shown = pd.DataFrame.from_dict(rows, orient="index").rename_axis("similarity")
    note = NOTE.format(count=count, before=before.nanmean().item())
    introduction = INTRODUCTION.format(spacing=SPACING, steps=STEPS, step=STEP)
    section = report.Section("Lumen Dice by similarity and contrast", shown, note)
    outputs.write_markdown(output_dir / "contrast.md", "Pairs of opposite contrast", introduction, [section], about)
    console.print(f"results: {output_dir / 'contrast.md'}")


def _spread(mean: pd.DataFrame, spread: pd.Series, candidate: Candidate, contrast: str) -> str:
    key = (candidate.title, contrast)
    return f"{mean['dice'][key]:.3f} ± {spread[key]:.3f}"
