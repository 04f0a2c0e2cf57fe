"""Whole cines: the lumen drawn at end-diastole carried to all frames, compared with that drawn at end-systole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from dirnet.cine import curve_figure
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv
from dirnet.registrar import Registrar
from transforms.records import SPLITS
from transforms.sources import read_records

from . import figures, outputs, tables
from .cine_scores import SCORES, Patient, Result, judge, read_patients
from .machine import machine
from .report import Section
from .ways import WAYS

__all__ = ["run"]

console = Console()

DPI = 100
SHIPPED = "direct"  # what Registrar.propagate does
TITLES = {"before": "not moved", **{name: way.title for name, way in WAYS.items()}}

INTRODUCTION = """The lumen drawn at end-diastole (ED) of each slice is carried to all frames of its cine. There it \
is compared with the lumen drawn at end-systole (ES). Direct: each field straight from the ED frame, as `dirnet \
propagate` does. Chain: registrations of each frame with the next, composed from ED on, forwards to one half of the \
cycle and backwards to the other. Refined: the ED frame warped by either, registered with each frame once more, and \
composed. The drawn mask is resampled once, whatever the way. The networks were chosen on the validation split and \
trained on the training split."""
SLICES = """Lumen at the annotated ES frame, mean ± standard deviation over the slices drawn at both phases. HD95 \
larger: the larger of the two directed 95th percentiles of surface distance; pooled: that of both directions' \
distances; MAD: mean of all surface distances of both; by each slice's own pixel spacing. Folded: of the field to \
the annotated ES frame. Time: median of a slice's whole cycle, fields, masks and scores, without files."""
FUNCTION = """Means over the patients. EF difference: the ejection fraction of the volume curve, by its largest and \
its smallest volume as `dirnet propagate` prints it, minus that of the drawn contours, in points; both by discs over \
the slices drawn at both phases. At the annotated frames: by the curve there instead; ED is then the drawn contour \
itself, so that all of the difference is ES. All ED slices: over all slices drawn at ED, with a drawn ES area of 0 \
where there is none. ES frame off: found to annotated, in frames of the closed cycle."""
PATIENTS = """Mean Dice, MAD and HD95 over the slices drawn at both phases. Frames, volumes and EF by the extremes of \
the curve, the drawn ones in brackets. Folded: the most on any frame of any slice. Ecc: peak circumferential strain \
(Green-Lagrange, mean over the slices), to which there is no drawn one."""


def run(dataset_dir: str | None, output_dir: Path, weights: Path | None) -> None:
    """Follow every whole cine each way, and write tables and figures.

    Args:
        dataset_dir: folder in SCD's layout, or a datalist; without, the phantom is made.
        output_dir: where all goes; what is there is replaced.
        weights: as :meth:`dirnet.registrar.Registrar.load` takes them.

    Raises:
        FileNotFoundError, ValueError: when the data or the weights are not as expected.
    """
    if dataset_dir is None:
        console.print("no --dataset_dir (nor SCD_DIR) given: using the beating-heart phantom that the project makes")
    registrar = Registrar.load(weights)
    patients, left_out = read_patients(read_records(dataset_dir, output_dir / "phantom"))
    for name, reason in left_out.items():
        console.print(f"{name} is left out: {reason}")
    tasks = [(patient, way) for patient in patients for way in WAYS]
    results = [
        judge(patient, way, registrar) for patient, way in track(tasks, "following", console=console, transient=True)
    ]
    options = [f"--dataset_dir {Path(dataset_dir).name}"] if dataset_dir else []
    options += [f"--weights {weights.name}"] if weights else []
    about = {"command": " ".join(["python -m app.experiments cines", *options]), **machine()}
    about["threads"] = torch.get_num_threads()
    _write(results, left_out, output_dir, about)
    console.print(f"results: {output_dir / 'cines.md'}")


def _write(results: Sequence[Result], left_out: Mapping[str, str], folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``slices.csv``, ``cines.csv``, ``cines.md`` and the figures into a folder."""
    slices = pd.DataFrame([row for result in results for row in result.slices])
    patients = pd.DataFrame([result.row for result in results])
    write_csv(folder / "slices.csv", slices)
    write_csv(folder / "cines.csv", patients)
    sections = _sections(slices, patients)
    introduction = f"{INTRODUCTION}\n\n{_counts(results, left_out)}"
    outputs.write_markdown(folder / "cines.md", "Whole cines", introduction, sections, about)

    _write_figures(results, folder / "figures")


def _write_figures(results: Sequence[Result], folder: Path) -> None:
    by_patient: dict[str, dict[str, Result]] = defaultdict(dict)
    for result in results:
        by_patient[result.patient.name][result.way] = result
    save_picture(figures.volumes([_volumes(ways) for ways in by_patient.values()]), folder / "volumes.png", DPI)
    save_picture(figures.contours([_contours(ways) for ways in by_patient.values()]), folder / "contours.png", DPI)
    shipped = [result for result in results if result.way == SHIPPED]
    if len({len(result.ml) for result in shipped}) == 1:  # frames of one axis
        strains = {result.patient.name: result.followed.circumferential for result in shipped}
        save_picture(curve_figure(strains, "circumferential strain", "%"), folder / "strain.png", DPI)


def _sections(slices: pd.DataFrame, patients: pd.DataFrame) -> list[Section]:
    splits = [split for split in SPLITS if (patients["split"] == split).any()]
    parts = {f"{split.capitalize()} split": [split] for split in splits}
    if len(splits) > 1:
        parts["All patients"] = splits
    sections = []
    for number, (title, names) in enumerate(parts.items()):
        rows = patients[patients["split"].isin(names)]
        summary = tables.summarise(_registrations(slices[slices["split"].isin(names)]))
        count = f"{rows['patient'].nunique()} patients, {summary['registrations'].iloc[0]} slices"
        notes = (SLICES, FUNCTION) if number == 0 else ("As above.", "As above.")
        sections.append(Section(f"{title}: {count}", tables.table1(summary, TITLES), notes[0]))
        sections.append(Section(f"{title}: ejection fraction", _function_table(rows), notes[1]))
    return [*sections, Section("Each patient", _patients_table(patients), PATIENTS)]


def _registrations(slices: pd.DataFrame) -> pd.DataFrame:
    """Rows of slices as the table of registrations takes them, the contours as they were before each way's."""
    followed = slices.rename(columns={"way": "method"})
    before = followed[followed["method"] == SHIPPED].drop(columns=list(SCORES))
    before = before.rename(columns={f"{name}_before": name for name in SCORES})
    before = before.assign(method="before", lost=False, folded_percent=0.0, milliseconds=0.0)
    return pd.concat([before, followed], ignore_index=True)


def _function_table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = {}
    for way, group in rows.groupby("way", sort=False):
        differences = group["ef_difference"]
        lines[TITLES[way]] = {
            "EF difference, absolute": f"{differences.abs().mean():.1f}",
            "signed": f"{differences.mean():+.1f}",
            "largest": f"{differences[differences.abs().idxmax()]:+.1f}",
            "at the annotated frames, absolute": f"{group['ef_there_difference'].abs().mean():.1f}",
            "all ED slices, absolute": f"{group['ef_all_difference'].abs().mean():.1f}",
            "ES frame off": f"{group['es_off'].abs().mean():.1f}",
            "folded pixels, most, %": f"{group['folded_percent'].max():.4f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("way")


def _patients_table(patients: pd.DataFrame) -> pd.DataFrame:
    lines = {}
    for _, row in patients.iterrows():
        lines[f"{row['patient']} ({row['split']}), {TITLES[row['way']]}"] = {
            "slices": str(row["slices"]),
            "Dice": f"{row['dice']:.3f}",
            "MAD, mm": f"{row['mad']:.2f}",
            "HD95 larger, mm": f"{row['hd95']:.2f}",
            "ED frame": f"{row['ed_found']} ({row['ed_frame']})",
            "ES frame": f"{row['es_found']} ({row['es_frame']})",
            "EDV, ml": f"{row['edv_ml']:.0f} ({row['edv_drawn_ml']:.0f})",
            "ESV, ml": f"{row['esv_ml']:.0f} ({row['esv_drawn_ml']:.0f})",
            "EF, %": f"{row['ef_percent']:.1f} ({row['ef_drawn_percent']:.1f})",
            "EF difference": f"{row['ef_difference']:+.1f}",
            "folded, %": f"{row['folded_percent']:.4f}",
            "Ecc, %": f"{row['peak_circumferential_strain_percent']:.1f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("patient, way")


def _counts(results: Sequence[Result], left_out: Mapping[str, str]) -> str:
    """How many slices are in and out, and why."""
    patients = [result.patient for result in results if result.way == SHIPPED]
    both = sum(int(patient.both.sum()) for patient in patients)
    ed, es = (sum(int(patient.drawn[phase].any((1, 2)).sum()) for patient in patients) for phase in ("ed", "es"))
    text = f"Of {len(patients)} patients {ed} slices are drawn at ED, and {both} of these at ES too"
    text += f"; the other {ed - both} count in the column of all ED slices alone." if ed > both else "."
    if es > both:
        text += f" {es - both} slices drawn at ES alone are not followed."
    return text + "".join(f" {name} is left out: {reason}." for name, reason in left_out.items())


def _volumes(ways: Mapping[str, Result]) -> dict[str, Any]:
    """A patient for :func:`app.experiments.figures.volumes`."""
    result = ways[SHIPPED]
    return {
        "title": f"{result.patient.name} ({result.patient.split})",
        "curves": {TITLES[way]: other.ml for way, other in ways.items()},
        "drawn": {result.row[f"{phase}_frame"]: result.row[f"{phase}v_drawn_ml"] for phase in ("ed", "es")},
        "es_found": result.row["es_found"],
    }


def _contours(ways: Mapping[str, Result]) -> dict[str, Any]:
    """A patient for :func:`app.experiments.figures.contours`: a basal, a middle and an apical slice of those drawn."""
    result, patient = ways[SHIPPED], ways[SHIPPED].patient
    overlap = {row["slice"]: row["dice"] for row in result.slices}
    slices = [
        {
            "title": f"{place}: Dice {overlap[patient.numbers[number]]:.2f}",
            "image": patient.cine.images[number, patient.es],
            "start": patient.drawn["ed"][number],
            "drawn": patient.drawn["es"][number],
            "found": {TITLES[way]: ways[way].followed.masks[number, patient.es] for way in (SHIPPED, "chain")},
        }
        for place, number in _base_to_apex(patient).items()
    ]
    return {"title": f"{patient.name}\n({patient.split})", "slices": slices}


def _base_to_apex(patient: Patient) -> dict[str, int]:
    """The first, the middle and the last slice of those drawn at both phases, by place; the base is the end where the
    ventricle is wider at end-diastole."""
    numbers = np.flatnonzero(patient.both)
    widths = patient.drawn["ed"][numbers].sum((1, 2))
    if widths[0] < widths[-1]:
        numbers = numbers[::-1]
    return {"base": int(numbers[0]), "middle": int(numbers[len(numbers) // 2]), "apex": int(numbers[-1])}
