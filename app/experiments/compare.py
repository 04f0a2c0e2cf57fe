"""Weights compared with other registrations on one's own data: the same pairs, masks and measures, one table."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from app.settings import keep_settings
from dirnet.errors import InputError
from dirnet.files.aside import write_aside
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv
from transforms.phantom import write_volumes
from transforms.records import read_json

from . import figures, outputs, tables
from .machine import machine
from .methods import CONFIGS
from .report import Section
from .rivals import Row, chosen_rows

__all__ = ["dimensions", "run"]

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"
)
MADE_FILE = "made.json"
MEASURES = {**tables.MEASURES, "log_jacobian_sd": ("SD of the log-Jacobian", 3)}
SAME = {2: ["patient", "slice", "direction"], 3: ["pair", "moving_patient", "fixed_patient"]}
DATA = (
    "Each row registers the same pairs, and is scored by the same masks and measures. Means ± standard deviations are "
    "over the pairs; of a pair with several structures, each number is the mean over them."
)
TABLE = (
    "HD95 larger: the larger of the two directed 95th percentiles of surface distance; pooled: the 95th percentile of "
    "both directions' distances; MAD: mean of all surface distances of both. Folded: pixels whose Jacobian determinant "
    "by forward differences is not positive. Time: median of one registration, from two images in memory, on one "
    "thread; if others used the machine meanwhile, it is too long, for all rows alike. Memory: the most that the row's "
    "process held; the row without registration shows what Python, the libraries and the data take of it."
)
TESTS = (
    "Wilcoxon's signed-rank test, two-sided; differences are means of the row minus the reference. Over the pairs, "
    "which are not independent, and over the means of the patients, in 3-D of the fixed one."
)

console = Console()


def run(
    dataset_dir: str | None,
    output_dir: Path,
    weights: Sequence[str],
    rows: str,
    split: str,
    pairs: int | None,
    seed: int,
) -> None:
    """Register by each row what is not registered yet, and write the tables anew.

    Args:
        dataset_dir: folder or datalist of cines or of volumes; None for the phantom volumes.
        output_dir: where all goes; what is finished there is kept.
        weights: as :func:`app.experiments.rivals.chosen_rows`.
        rows: names of RIVALS, separated by commas.
        split: which is registered.
        pairs: how many registrations, a sample that is the same for a seed; None for all.
        seed: of the sample.

    Raises:
        FileNotFoundError, ValueError: as :func:`~app.experiments.rivals.chosen_rows`, the readers of the data, and when
            ``output_dir`` holds a comparison of other data.
        RuntimeError: when a row's process fails.
    """
    data = str((Path(dataset_dir) if dataset_dir else output_dir / "phantom" / "datalist.json").resolve())
    dims = dimensions(data) if dataset_dir else 3
    chosen, left_out = chosen_rows(rows, weights, dims)
    keep_settings(output_dir, {"dataset_dir": data, "split": split, "pairs": pairs, "seed": seed})
    if dataset_dir is None and not Path(data).is_file():
        console.print("no --dataset_dir given: using the phantom volumes that the project makes")
        write_volumes(Path(data).parent)
    for line in left_out:
        console.print(line)
    options = {"dataset_dir": data, "split": split}
    for row in chosen:
        _register(row, dims, options, {"pairs": pairs, "seed": seed}, output_dir / "evaluation" / row.name)
    said = {"dataset_dir": Path(data).name, "split": split, "pairs": pairs, "seed": seed}
    texts = [f"--{name} {value}" for name, value in said.items() if value is not None]
    texts += [f"--weights {row.title}={row.weights.name}" for row in chosen if row.weights is not None]
    _write(chosen, dims, output_dir, f"python -m app.experiments compare {' '.join(texts)} --rows {rows}", left_out)


def dimensions(data: str | Path) -> int:
    """2 for cines, 3 for volumes: a folder of volumes holds one whose name begins with images, a datalist of cines has
    'frames'.

    Raises:
        FileNotFoundError, ValueError: when there is no such file or folder, or it is no JSON.
    """
    path = Path(data)
    if path.is_dir():
        return 3 if any(sub.is_dir() and sub.name.startswith("images") for sub in path.iterdir()) else 2
    if not path.is_file():
        raise FileNotFoundError(f"dataset_dir '{path}' does not exist; expected a folder or a datalist JSON")
    lists = read_json(path)
    items = (
        [items[0] for items in lists.values() if isinstance(items, list) and items] if isinstance(lists, dict) else []
    )
    return 2 if any(isinstance(item, dict) and "frames" in item for item in items) else 3


def overlay_of(row: Row, dims: int, sample: Mapping[str, int | None]) -> dict[str, Any]:
    """What is laid over the bundle's evaluation for a row, and a sample of ``pairs`` for a ``seed``."""
    overlay: dict[str, Any] = {
        "threads": 1,
        **sample,
        "handlers#1#_disabled_": True,
    }  # without pictures, which take time
    if dims == 2:
        overlay["records"] = (
            "$records.sampled(records.with_ed_and_es(records.records_of_split("
            "sources.read_records(@dataset_dir, Path(@output_dir) / 'phantom'), @split)), "
            "None if @pairs is None else max(1, @pairs // 2), @seed)"
        )
    if row.weights is not None:
        return {**overlay, "ckpt_file": str(row.weights.resolve()), "inferer#mirrored": False}
    settings = ", ".join(f"{name} {value}" for name, value in row.inferer[dims].items())
    about = {"dataset": "@dataset_dir", "split": "@split", **sample, "registration": settings}
    peer = {"inferer": row.inferer[dims], "network": "$torch.nn.Identity()", "device": "cpu"}
    if dims == 3:
        peer["evaluator#prepare_batch"] = {"_target_": "app.experiments.peers.PrepareSpacedPair"}
    return {**overlay, **peer, "handlers#0#about": about}


def _register(row: Row, dims: int, options: Mapping[str, Any], sample: Mapping[str, int | None], folder: Path) -> None:
    """Register the pairs by a row, in a process of its own, unless that is done."""
    overlay = overlay_of(row, dims, sample)
    made: dict[str, Any] = {"overlay": overlay, **machine()}
    if row.weights is not None:
        made["sha256"] = hashlib.sha256(row.weights.read_bytes()).hexdigest()
    try:
        before = json.loads((folder / MADE_FILE).read_text())
    except (FileNotFoundError, ValueError):
        before = {}
    if all(before.get(key) == made.get(key) for key in ("overlay", "sha256")):
        console.print(f"{row.title}: registered before, kept")
        return
    console.rule(row.title)
    (folder / MADE_FILE).unlink(missing_ok=True)
    with write_aside(folder / "overlay.json") as path:
        path.write_text(json.dumps(overlay, indent=1) + "\n")
    configs = ["evaluate.json", *(["evaluate_volumes.json"] if dims == 3 else [])]
    task = {
        "config_files": [*(str(CONFIGS / name) for name in configs), str(folder / "overlay.json")],
        "options": {**options, "output_dir": str(folder), "overwrite": True},
        "made_file": str(folder / MADE_FILE),
        "made": made,
    }
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-m", "app.experiments.one_row", json.dumps(task)], env=environment)
    if done.returncode:
        raise RuntimeError(f"{row.title}: its process ended with {done.returncode}; what it said is above")


def _write(rows: Sequence[Row], dims: int, folder: Path, command: str, left_out: Sequence[str]) -> None:
    parts, about, memory = [], {"command": command}, {}
    for row in rows:
        table = pd.read_csv(folder / "evaluation" / row.name / "registrations.csv")
        parts.append(as_registrations(table, dims, row.name))
        if not parts[-1][SAME[dims]].equals(parts[0][SAME[dims]]):
            raise InputError(
                f"{row.title} and {rows[0].title} have registered other pairs; choose another --output_dir"
            )
        made = json.loads((folder / "evaluation" / row.name / MADE_FILE).read_text())
        memory[row.name] = made["peak_mb"]
        about |= {key: made[key] for key in ("date", "processor", "cores", "torch")}
    titles = {row.name: row.title for row in rows}
    registrations = pd.concat(parts, ignore_index=True)
    summary = tables.summarise(registrations, MEASURES)
    wanted = [*[row.name for row in rows if row.weights is not None][:1], "elastix_tuned"]
    references = [name for name in wanted if name in titles and len(rows) > 1]
    comparison = tables.compare(registrations, references, keys=["number"])
    main = tables.table1(summary, titles, MEASURES)
    main["memory, MB"] = ["" if memory[name] is None else f"{memory[name]:.0f}" for name in summary.index]
    scored = f"{summary['registrations'].iloc[0]} of {len(parts[0])} registrations scored"
    sections = [Section(scored, main, TABLE)]
    for name in references:
        tests = tables.tests_table(comparison, name, titles)
        sections.append(Section(f"Paired tests against {titles[name]}", tests, TESTS))
    for number, line in enumerate(left_out, 1):
        about[f"row left out {number}"] = line
    write_csv(folder / "registrations.csv", registrations)
    write_csv(folder / "compare.csv", summary.assign(peak_mb=pd.Series(memory)).reset_index())
    write_csv(folder / "tests.csv", comparison)
    outputs.write_markdown(folder / "compare.md", "Registrations compared", DATA, sections, about)
    save_picture(figures.boxes(registrations, titles, "Dice"), folder / "dice_boxes.png", 150)
    console.print(f"results: {folder / 'compare.md'}")


def as_registrations(table: pd.DataFrame, dims: int, name: str) -> pd.DataFrame:
    """An evaluation's rows as :mod:`app.experiments.tables` takes them."""
    table = table.rename(columns={f"{score}_after": score for score in ("dice", "hd95", "hd95_pooled", "mad")})
    table["milliseconds"] = 1000 * table.pop("seconds")
    if dims == 3:
        table["missing"] = table["dice"].isna()  # of all structures
        table["patient"] = table["fixed_patient"]
    table.insert(0, "number", range(len(table)))
    table.insert(0, "method", name)
    return table
