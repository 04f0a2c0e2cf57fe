"""What was measured as tables and files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from app.experiments.machine import machine
from app.experiments.tables import markdown
from dirnet.files.aside import write_aside
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv

from .figures import overview
from .measure import Bench, Row

__all__ = ["about", "console_table", "write"]

COLUMNS = (
    *("name", "batch", "size", "passes", "median_ms", "iqr_ms", "runs", "per_second"),
    *("against", "ratio", "ratio_low", "ratio_high", "least_ratio", "least_rate", "ncc", "peak_mb"),
)
NUMBERS = COLUMNS[COLUMNS.index("against") + 1 :]
PACKAGES = ("monai", "numpy", "SimpleITK", "itk-elastix", "onnxruntime", "pytorch-ignite")
INTRODUCTION = (
    "What is compared was run in turn (first to last, last to first, and so on), so that the drift of a busy machine "
    "hits all alike. Time: median of the runs, with the distance between their quartiles (IQR); a run is one call, or "
    "the mean of as many as take 20 ms. Ratio: a line's time over that of the one that has none above it, which is "
    "ours: how many times faster ours is; median over the rounds, and quartiles. In `scaling` it is over one pair of "
    "256x256, each in a process of its own; its memory is what came on top of the loaded network's."
)
DPI = 150


def write(folder: Path, groups: Mapping[str, Sequence[Row]], made_with: Mapping[str, Any]) -> None:
    """``benchmarks.csv``, ``benchmarks.png`` and ``benchmarks.md``."""
    frame = pd.concat([_frame(rows).assign(group=name) for name, rows in groups.items()])
    write_csv(folder / "benchmarks.csv", frame[["group", *COLUMNS]])
    save_picture(overview(groups), folder / "benchmarks.png", DPI)
    parts = ["# Benchmarks\n", INTRODUCTION + "\n", "![Ratios and costs](benchmarks.png)\n"]
    parts += [f"## {name}\n\n{markdown(_texts(rows))}" for name, rows in groups.items()]
    parts.append("## Made with\n\n" + "".join(f"- {key}: {value}\n" for key, value in made_with.items()))
    with write_aside(folder / "benchmarks.md") as aside:
        aside.write_text("\n".join(parts), encoding="utf-8")


def console_table(group: str, rows: Sequence[Row]) -> Table:
    texts = _texts(rows)
    table = Table(title=group)
    table.add_column(texts.index.name)
    for heading in texts.columns:
        table.add_column(heading, justify="right")
    for name, cells in zip(texts.index, texts.to_numpy().tolist(), strict=True):
        table.add_row(name, *cells)
    return table


def about(bench: Bench, command: str) -> dict[str, Any]:
    """Machine, versions and command, for those who read the numbers."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    load = {"load before": ", ".join(f"{load:.1f}" for load in os.getloadavg())} if hasattr(os, "getloadavg") else {}
    return {
        **machine(),
        **versions,
        "device": str(bench.device),
        "threads": bench.threads,
        **load,
        "images": bench.dataset_dir or "phantom",
        "command": f"`{command}`",
    }


def _frame(rows: Sequence[Row]) -> pd.DataFrame:
    frame = pd.DataFrame([{name: getattr(row, name) for name in COLUMNS} for row in rows], columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(NUMBERS, float))  # None to nan


def _texts(rows: Sequence[Row]) -> pd.DataFrame:
    """To read: a row a line under headings, without the columns that are empty."""
    lines = []
    for row in rows:
        lines.append(
            {
                "batch": str(row.batch),
                "size": row.size,
                "passes": row.passes,
                "median, ms": _three(row.median_ms),
                "IQR, ms": _three(row.iqr_ms),
                "runs": str(row.runs),
                "a second": _three(row.per_second),
                "ratio": _ratio(row),
                "wanted": _wanted(row),
                "NCC": "" if row.ncc is None else f"{row.ncc:.3f}",
                "peak memory, MB": "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
            }
        )
    table = pd.DataFrame(lines, index=pd.Index([row.name for row in rows], name="what"))
    return table.loc[:, (table != "").any()]


def _three(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{float(f'{value:.3g}'):,g}" if value < 1e5 else f"{value:,.0f}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    quartiles = "" if row.ratio_low is None else f" ({_three(row.ratio_low)}–{_three(row.ratio_high)})"
    return _three(row.ratio) + quartiles


def _wanted(row: Row) -> str:
    texts = []
    for least, found, unit in (
        (row.least_ratio, row.ratio, "×"),
        (row.least_rate, row.per_second, " a second"),
    ):
        if least is not None and found is not None:
            texts.append(f"≥ {least:g}{unit}: {'met' if found >= least else 'missed'}")
    return ", ".join(texts)
