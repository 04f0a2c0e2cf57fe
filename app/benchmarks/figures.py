"""Ratios, and cost against size and number, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.experiments.figures import COLOURS

from .measure import SIZE, Row

__all__ = ["overview"]

SCALING = "scaling"
LINE_HEIGHT, CURVES_HEIGHT = 0.23, 3.6  # inches


def overview(groups: Mapping[str, Sequence[Row]]) -> Figure:
    """Above the ratios of each group, below, where it was measured, what a registration costs by size and batch."""
    compared = {name: [row for row in rows if row.ratio is not None] for name, rows in groups.items()}
    compared = {name: rows for name, rows in compared.items() if rows and name != SCALING}
    lines = sum(len(rows) + 1 for rows in compared.values())
    heights = [LINE_HEIGHT * lines + 0.8] * bool(compared) + [CURVES_HEIGHT] * (SCALING in groups)
    figure = Figure(figsize=(11, sum(heights) or 1), layout="constrained")
    parts = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).ravel() if heights else [])
    if compared:
        _ratios(next(parts).subplots(), compared)
    if SCALING in groups:
        part = next(parts)
        by_size, by_batch = part.subplots(1, 2)
        _by_size(by_size, groups[SCALING])
        _by_batch(by_batch, groups[SCALING])
    return figure


def _ratios(ax: Axes, groups: Mapping[str, Sequence[Row]]) -> None:
    labels, place = [], 0
    for number, (group, rows) in enumerate(groups.items()):
        colour = COLOURS[number % len(COLOURS)]
        for row in rows:
            low, high = (row.ratio if end is None else end for end in (row.ratio_low, row.ratio_high))
            ax.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.5)
            ax.plot(row.ratio, place, "o", color=colour, markersize=5)
            if row.least_ratio is not None:
                ax.plot(row.least_ratio, place, "|", color="black", markersize=11)
            labels.append((place, f"{row.name}, {row.size}, batch {row.batch}, {row.passes}"))
            place += 1
        ax.text(1, place - len(rows) - 0.5, f" {group}", color=colour, fontsize=9, fontweight="bold", va="bottom")
        place += 1
    ax.set_yticks([place for place, _ in labels], [label for _, label in labels], fontsize=7)
    ax.set_ylim(place - 0.5, -1.5)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(lambda value, _: "")
    ax.set_xlim(left=min(0.5, ax.get_xlim()[0]), right=max(20, ax.get_xlim()[1]))
    ax.axvline(1, color="0.4", linewidth=0.8)
    ax.set_xlabel("time over that of ours (point: median; bar: quartiles; black tick: wanted)")
    ax.grid(axis="x", which="both", alpha=0.25)


def _by_size(ax: Axes, rows: Sequence[Row]) -> None:
    kinds = {"2-D": [row for row in rows if row.batch == 1 and row.size.count("x") == 1]}
    kinds["3-D, random weights"] = [row for row in rows if row.size.count("x") == 2]
    for number, (kind, own) in enumerate(kinds.items()):
        sides = [int(row.size.split("x")[0]) for row in own]
        _time_and_memory(ax, sides, own, number, kind)
    ax.set(xlabel="side of the image, pixels", title="one registration by image size")
    _finish(ax, rows)


def _by_batch(ax: Axes, rows: Sequence[Row]) -> None:
    own = [row for row in rows if row.size == f"{SIZE}x{SIZE}"]
    _time_and_memory(ax, [row.batch for row in own], own, 0, f"{SIZE}x{SIZE}")
    ax.set(xlabel="pairs in the batch", title="a batch of registrations by its size")
    _finish(ax, rows)


def _time_and_memory(ax: Axes, x: Sequence[int], rows: Sequence[Row], number: int, kind: str) -> None:
    colour = COLOURS[number]
    ax.plot(x, [row.median_ms for row in rows], "o-", color=colour, label=f"{kind}: time, ms")
    if all(row.peak_mb is not None for row in rows):
        ax.plot(x, [row.peak_mb for row in rows], "s--", color=colour, alpha=0.6, label=f"{kind}: peak memory, MB")


def _finish(ax: Axes, rows: Sequence[Row]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_ylabel("ms, MB")
    ax.grid(which="both", alpha=0.25)
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)  # off the curves
