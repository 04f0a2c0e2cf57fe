"""Figures of the experiments, to be read in print and by those who do not tell red from green."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dirnet.files.pictures import window_around

__all__ = ["boxes", "comparison", "contours", "curve_of", "curves", "motion", "volumes"]

# Okabe and Ito's, which differ in lightness too; with five kinds of line no two of forty look the same
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#999999")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}


def curve_of(training_dir: Path, tag: str = "val_loss") -> tuple[list[int], list[float]]:
    """Iterations and values of a training's TensorBoard curve, over all its runs where it was resumed."""
    logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it tells of each file that it has read
    events = EventAccumulator(str(training_dir / "events"), size_guidance={"scalars": 0}).Reload()
    values = {event.step: event.value for event in events.Scalars(tag)}
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def curves(lines: Mapping[str, tuple[Sequence[int], Sequence[float]]], ylabel: str) -> Figure:
    """Learning curves by name."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    ax = figure.subplots()
    for number, (name, (steps, values)) in enumerate(lines.items()):
        ax.plot(steps, values, label=name, linewidth=1.4, **_style(number))
    # without the first steps from no registration, next to which all else is flat
    late = [value for _, values in lines.values() for value in values[max(1, len(values) // 20) :]]
    if late:
        margin = 0.05 * (max(late) - min(late)) or 0.01
        ax.set_ylim(min(late) - margin, max(late) + margin)
    ax.set(xlabel="training iteration", ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, ncols=2)
    return figure


def boxes(
    registrations: pd.DataFrame, titles: Mapping[str, str], label: str = "Dice of the left-ventricular lumen"
) -> Figure:
    """Dice by method: median, quartiles, 5th and 95th percentile, and the registrations beyond."""
    groups = [
        (titles[name], group["dice"].dropna())
        for name, group in registrations[~registrations["missing"]].groupby("method", sort=False)
    ]
    figure = Figure(figsize=(7, 0.9 + 0.42 * len(groups)), layout="constrained")
    ax = figure.subplots()
    ax.boxplot(
        [values for _, values in groups],
        orientation="horizontal",
        whis=(5, 95),
        widths=0.6,
        showmeans=True,
        medianprops={"color": "#D55E00", "linewidth": 1.6},
        meanprops={"marker": "D", "markerfacecolor": "#0072B2", "markeredgecolor": "none", "markersize": 5},
        flierprops={"marker": "o", "markersize": 2, "markerfacecolor": "#999999", "markeredgecolor": "none"},
    )
    ax.set_yticks(range(1, len(groups) + 1), [name for name, _ in groups])
    ax.invert_yaxis()
    ax.set_xlabel(f"{label} (orange: median, diamond: mean)")
    ax.grid(axis="x", alpha=0.3)
    return figure


def motion(registrations: pd.DataFrame, methods: Sequence[str], titles: Mapping[str, str]) -> Figure:
    """Dice against the size of the motion: the registrations, and each method's mean in groups of equal number."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    ax = figure.subplots()
    scored = registrations[~registrations["missing"]]
    markers = "osD^vP"
    for number, method in enumerate(methods):
        group = scored[scored["method"] == method]
        style = _style(number)
        ax.plot(group["mad_before"], group["dice"], ".", color=style["color"], markersize=2.5, alpha=0.35)
        count = max(1, min(8, len(group) // 4))
        bins = pd.qcut(group["mad_before"].rank(method="first"), count, labels=False)
        means = group.groupby(bins)[["mad_before", "dice"]].mean()
        line = {**style, "marker": markers[number % len(markers)], "markersize": 5}
        ax.plot(means["mad_before"], means["dice"], label=titles[method], **line)
    ax.set_xlabel("motion: mean distance of the two lumens' borders before registration, mm")
    ax.set_ylabel("Dice after registration")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8, loc="lower left")
    return figure


def comparison(cases: Sequence[Mapping[str, Any]], crop: int = 128) -> Figure:
    """A row a pair: fixed, moving, warped by each method, and heat maps of the absolute differences to the fixed.

    Args:
        cases: ``title``; ``fixed``, ``moving`` (H, W); ``warped``, by method's title; and masks ``fixed_lumen``,
            ``moving_lumen`` and ``warped_lumen`` likewise.
        crop: side in pixels of the square around the fixed lumen that is shown.
    """
    names = list(cases[0]["warped"])
    headings = ["fixed", "moving", *names, "|fixed − moving|", *(f"|fixed − {name}|" for name in names)]
    figure = Figure(figsize=(1.7 * len(headings) + 0.6, 1.75 * len(cases) + 0.6), layout="constrained")
    axes = figure.subplots(len(cases), len(headings), squeeze=False)
    for line, case in zip(axes, cases, strict=True):
        window = window_around(case["fixed_lumen"], case["fixed"].shape, crop)
        fixed, moving = case["fixed"], case["moving"]
        images = [fixed, moving, *case["warped"].values()]
        own = [None, case["moving_lumen"], *case["warped_lumen"].values()]
        for ax, image, mask in zip(line, images, own, strict=False):
            ax.imshow(image[window], cmap="gray", vmin=0, vmax=1)
            for lumen, colour in ((case["fixed_lumen"], "#F0E442"), (mask, "#56B4E9")):
                if lumen is not None and lumen[window].any():
                    ax.contour(lumen[window], levels=[0.5], colors=colour, linewidths=0.9)
        for ax, image in zip(line[len(images) :], images[1:], strict=True):
            heat = ax.imshow(np.abs(fixed - image)[window], cmap="inferno", vmin=0, vmax=0.6)
        for ax in line:
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(case["title"], fontsize=7)
    for ax, heading in zip(axes[0], headings, strict=True):
        ax.set_title(textwrap.fill(heading, 20), fontsize=8)
    figure.colorbar(heat, ax=axes[:, -1], shrink=0.8, label="absolute difference")
    return figure


def volumes(patients: Sequence[Mapping[str, Any]]) -> Figure:
    """Volume curves of patients, an axis each.

    Args:
        patients: ``title``; ``curves``, (T,) in ml by way's title; ``drawn``, ml by frame; and ``es_found``, the
            end-systolic frame of the first curve.
    """
    columns = min(3, len(patients))
    rows = -(-len(patients) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, patient in zip(axes, patients, strict=False):
        for number, (name, ml) in enumerate(patient["curves"].items()):
            ax.plot(ml, label=name, linewidth=1.4, **_style(number))
        frames = list(patient["drawn"])
        ax.plot(frames, list(patient["drawn"].values()), "k*", markersize=9, label="drawn, ED and ES")
        ax.axvline(frames[-1], color="0.3", linewidth=0.8, linestyle=":", label="ES as annotated")
        ax.axvline(patient["es_found"], linewidth=0.8, label=f"ES found, {next(iter(patient['curves']))}", **_style(0))
        ax.set_ylim(0, 1.08 * ax.get_ylim()[1])  # cut off below, a heart looks stronger than it is
        ax.set_title(patient["title"], fontsize=9)
        ax.set_xlabel("frame", fontsize=8)
        ax.grid(alpha=0.3)
    for ax in axes[len(patients) :]:
        ax.axis("off")
    figure.supylabel("volume of the slices drawn at ED and ES, ml", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def contours(patients: Sequence[Mapping[str, Any]], crop: int = 96) -> Figure:
    """A row a patient: end-systolic frames with the lumen drawn there, as found, and as it was at end-diastole.

    Args:
        patients: ``title``; ``slices``, each with a ``title``, the ``image`` (H, W) and masks (H, W) ``start``,
            ``drawn``, and ``found``, by way's title.
        crop: side in pixels of the square around the lumen at end-diastole that is shown.
    """
    columns = max(len(patient["slices"]) for patient in patients)
    figure = Figure(figsize=(1.9 * columns + 0.3, 2.1 * len(patients) + 0.4), layout="constrained")
    axes = figure.subplots(len(patients), columns, squeeze=False)
    lines = {"drawn at ED": ("#FFFFFF", ":"), "drawn at ES": ("#F0E442", "-")}
    for row, patient in zip(axes, patients, strict=True):
        row[0].set_ylabel(patient["title"], fontsize=8)
        for ax, part in zip(row, patient["slices"], strict=True):
            window = window_around(part["start"], part["image"].shape, crop)
            image = part["image"][window]
            ax.imshow(image, cmap="gray", vmin=image.min(), vmax=np.percentile(image, 99), interpolation="nearest")
            masks = {"drawn at ED": part["start"], "drawn at ES": part["drawn"]}
            for (name, found), style in zip(part["found"].items(), (("#56B4E9", "-"), ("#CC79A7", "--")), strict=False):
                masks[name], lines[name] = found, style
            for name, mask in masks.items():
                if mask[window].any():
                    colour, dash = lines[name]
                    ax.contour(mask[window], levels=[0.5], colors=colour, linestyles=dash, linewidths=1)
            ax.set(xticks=[], yticks=[])
            ax.set_title(part["title"], fontsize=7)
    handles = [Line2D([], [], color=colour, linestyle=dash, label=name) for name, (colour, dash) in lines.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, facecolor="0.4", labelcolor="white")
    return figure
