"""The paper's experiment on MNIST: a network for each digit, and the averages that it sharpens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from monai.bundle import run as run_config
from rich.console import Console
from torch import Tensor

from app.settings import keep_settings
from dirnet.fields.resampling import warp
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv
from dirnet.nets.losses import ncc
from dirnet.registrar import Registrar
from transforms.mnist import digit_stacks

from . import figures, outputs, report, tables
from .machine import machine
from .methods import CONFIGS

__all__ = ["run"]

INTRODUCTION = """A network for each digit learns to register any two images of that digit; then all test images of a \
digit are registered onto one of them, drawn at random (de Vos et al., 2017, arXiv:1704.06065, Fig. 2)."""
NOTE = """NCC of each test image with the fixed one, mean ± standard deviation; better: share of the images whose NCC \
rose. Sharpness: mean gradient magnitude of the average image, in grey levels (of 1) a pixel; in brackets that of the \
fixed image, which no average reaches."""

console = Console()


def run(dataset_dir: Path | None, output_dir: Path, iterations: int, digits: Sequence[int], seed: int) -> None:
    """Train what is not trained yet, register the test digits, and write tables, figures and a page.

    Args:
        dataset_dir: of MNIST's files; None for scikit-learn's small digits.
        output_dir: where all goes; trainings that are finished there are kept.
        iterations: of each training.
        digits: which.
        seed: of the trainings, and of the choice of the fixed digits.

    Raises:
        FileNotFoundError, ValueError: when the data are not as expected.
        ValueError: when ``output_dir`` holds an experiment with other settings.
    """
    data = str(dataset_dir.resolve()) if dataset_dir else "scikit-learn's digits"
    settings = {"dataset_dir": data, "iterations": iterations, "seed": seed}
    digit_stacks(dataset_dir, digits[0])  # before anything is written
    keep_settings(output_dir, settings)
    for digit in digits:
        folder = _training_dir(output_dir, digit)
        if _is_trained(output_dir, digit):
            console.print(f"digit {digit}: trained before, kept")
            continue
        console.rule(f"digit {digit}: training")
        run_config(
            run_id="training",
            config_file=[str(CONFIGS / name) for name in ("train.json", "mnist.json")],
            dataset_dir=dataset_dir and str(dataset_dir),
            output_dir=str(folder),
            digit=digit,
            iterations=iterations,
            seed=seed,
            resume=(folder / "last.pt").is_file(),
        )
    done = [digit for digit in range(10) if _is_trained(output_dir, digit)]
    results = {digit: _register(digit, dataset_dir, output_dir, seed) for digit in done}
    data = f"--dataset_dir {dataset_dir.name} " if dataset_dir else ""
    options = f"--iterations {iterations} --seed {seed} --digits {','.join(map(str, done))}"
    about = {"command": f"python -m app.experiments mnist {data}{options}"}
    _write_results(results, output_dir, {**about, **machine()})


def _training_dir(output_dir: Path, digit: int) -> Path:
    return output_dir / "training" / str(digit)


def _is_trained(output_dir: Path, digit: int) -> bool:
    return (_training_dir(output_dir, digit) / "model_final.pt").is_file()


def _register(digit: int, dataset_dir: Path | None, output_dir: Path, seed: int) -> dict[str, Any]:
    """Registers a digit's test images onto one of them: that one, the averages, and each image's NCC with it."""
    stack = digit_stacks(dataset_dir, digit, seed)["test"]
    chosen = int(np.random.default_rng((seed, digit)).integers(len(stack)))
    fixed = stack[chosen]
    moving = torch.cat([stack[:chosen], stack[chosen + 1 :]])[:, None]
    registrar = Registrar.load(_training_dir(output_dir, digit) / "model.pt")
    target = fixed.expand_as(moving)
    warped = warp(moving, registrar.displacement(torch.cat([moving, target], 1)).ddf)
    return {
        "fixed": fixed,
        "before": moving.mean((0, 1)),
        "after": warped.mean((0, 1)),
        "ncc_before": ncc(moving, target),
        "ncc_after": ncc(warped, target),
    }


def sharpness(image: Tensor) -> float:
    """Mean gradient magnitude of an image (H, W), central differences, in its grey levels a pixel."""
    return torch.stack(torch.gradient(image)).norm(dim=0).mean().item()


def _write_results(results: Mapping[int, Mapping[str, Any]], folder: Path, about: Mapping[str, Any]) -> None:
    registrations = pd.concat(
        [
            pd.DataFrame({"digit": digit, **{key: result[key].numpy() for key in ("ncc_before", "ncc_after")}})
            for digit, result in results.items()
        ]
    )
    rows = []
    for digit, result in results.items():
        before, after = (result[f"ncc_{state}"].double() for state in ("before", "after"))
        row = {"digit": digit, "images": len(before), "better_percent": 100 * (after > before).double().mean().item()}
        for state, values in (("before", before), ("after", after)):
            row[f"ncc_{state}_mean"], row[f"ncc_{state}_sd"] = values.mean().item(), values.std(correction=0).item()
            row[f"sharpness_{state}"] = sharpness(result[state])
        rows.append({**row, "sharpness_fixed": sharpness(result["fixed"])})
    summary = pd.DataFrame(rows)
    write_csv(folder / "registrations.csv", registrations)
    write_csv(folder / "mnist.csv", summary)
    sections = [report.Section("Registration of the test digits", _table(summary), NOTE)]
    outputs.write_markdown(folder / "mnist.md", "MNIST, again", INTRODUCTION, sections, about)

    curves = {f"digit {digit}": figures.curve_of(_training_dir(folder, digit)) for digit in results}
    save_picture(figures.curves(curves, "validation loss (−NCC)"), folder / "figures" / "learning_curves.png", 200)
    save_picture(_averages(results), folder / "figures" / "averages.png", 200)
    captions = {
        "averages.png": "For each digit: average of all test images, the fixed image, and the average after "
        "registration onto it, as in the paper's Fig. 2, right.",
        "learning_curves.png": "Validation loss of the networks over their trainings, as in the paper's Fig. 2, left.",
    }
    title = "DIRNet: MNIST, again"
    report.write(folder / "report.html", sections, about, folder / "figures", captions, [], INTRODUCTION, title)
    console.print(f"results: {folder / 'mnist.md'}, {folder / 'report.html'}")


def _table(summary: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "test images": [str(n) for n in summary["images"]],
            "NCC before": _spread(summary, "ncc_before"),
            "NCC after": _spread(summary, "ncc_after"),
            "better, %": [f"{value:.1f}" for value in summary["better_percent"]],
            "sharpness before": [f"{value:.4f}" for value in summary["sharpness_before"]],
            "sharpness after": [
                f"{after:.4f} ({fixed:.4f})"
                for after, fixed in zip(summary["sharpness_after"], summary["sharpness_fixed"], strict=True)
            ],
        },
        index=pd.Index(summary["digit"].astype(str), name="digit"),
    )


def _spread(summary: pd.DataFrame, name: str) -> list[str]:
    return tables.spread_texts(summary[f"{name}_mean"], summary[f"{name}_sd"], 3)


def _averages(results: Mapping[int, Mapping[str, Any]]) -> Figure:
    """A column a digit: average before, the fixed image, average after."""
    figure = Figure(figsize=(0.85 * len(results) + 1, 3), layout="constrained")
    axes = figure.subplots(3, len(results), squeeze=False)
    for column, result in zip(axes.T, results.values(), strict=True):
        for ax, name in zip(column, ("before", "fixed", "after"), strict=True):
            ax.imshow(result[name], cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
    for ax, name in zip(axes[:, 0], ("average\nbefore", "fixed", "average\nafter"), strict=True):
        ax.set_ylabel(name, fontsize=9)
    return figure
