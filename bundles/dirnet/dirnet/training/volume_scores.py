"""Scores of registrations of volumes: means while training, a table when evaluating."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine
from rich.console import Console
from torch import Tensor

from ..fields.jacobian import folded_percent, log_jacobian_sd
from ..fields.masks import dice
from ..files.aside import write_set_aside
from ..files.tables import write_csv
from ..nets.losses import ncc
from .scores import MEASURES, Output, ScoreTable, before_and_after, cell, means
from .structures import STATES, scores_of_structure, show_structures, summarise_structures

__all__ = ["VolumeTable", "mean_dice", "shortfall"]

SCORES = tuple(measure for measure in MEASURES if measure != "ncc")  # of structures


def mean_dice(output: Output) -> Tensor:
    """Mean Dice over the structures of each registration in an evaluator's output, (B,).

    A structure that the moving or the fixed volume does not have is left out, one that the warp makes vanish counts as
    0; nan where no structure is left.
    """
    label = output["label"]
    fixed, moving = label["fixed_masks"], label["moving_masks"]
    if not fixed.shape[1]:
        return torch.full((len(fixed),), torch.nan)
    scores = dice(output["pred"]["warped_masks"].flatten(0, 1)[:, None], fixed.flatten(0, 1)[:, None])
    scores = scores.nan_to_num().view(fixed.shape[:2])
    there = (moving > 0).flatten(2).any(2) & (fixed > 0).flatten(2).any(2)
    return scores.where(there, torch.nan).nanmean(1)


def shortfall(output: Output) -> Tensor:
    """What a registration's mean Dice, or without structures its NCC, falls short of 1, (B,): lower is better."""
    scores = mean_dice(output)
    likeness = ncc(output["pred"]["warped"], output["label"]["fixed"])
    return 1 - scores.where(~scores.isnan(), likeness.to(scores))


class VolumeTable(ScoreTable):
    """Scores each registration of volumes before and after, and writes what it found.

    - ``registrations.csv``: a row a pair, with the means over its structures; columns of a structure begin with its
      name;
    - ``summary.json``: mean and standard deviation (of the population) over the pairs, and of each structure;
    - a table on the terminal.

    The batch is that of :class:`transforms.volume_pairs.LoadVolumePaird`. A structure missing from either volume is
    counted and left out; one that the warp makes vanish is counted, scores a Dice of 0 and has no distance.

    Arguments and errors as of :class:`~dirnet.training.scores.ScoreTable`.
    """

    results = ("registrations.csv", "summary.json")

    def __init__(self, output_dir: str | Path, about: Mapping[str, Any], overwrite: bool = False) -> None:
        super().__init__(output_dir, about, overwrite)
        self.structures: list[str] = []

    def collect(self, engine: Engine) -> None:
        state: Any = engine.state
        batch, output = state.batch, state.output
        prediction, label = output["pred"], output["label"]
        self.structures = [names[0] for names in batch["structures"]]  # collated: a tuple of the batch's each
        fixed, moving = (label[f"{role}_masks"].cpu() > 0 for role in ("fixed", "moving"))
        warped = prediction["warped_masks"].cpu() if self.structures else moving
        of_field = {"folded_percent": folded_percent, "log_jacobian_sd": log_jacobian_sd}
        columns = {name: score(prediction["ddf"]) for name, score in of_field.items()}
        columns["ncc_before"] = ncc(output["image"][:, :1], label["fixed"])
        columns["ncc_after"] = ncc(prediction["warped"], label["fixed"])
        for i, spacing in enumerate(batch["spacing"].tolist()):
            row = {key: batch[key][i] for key in ("pair", "moving_patient", "fixed_patient")}
            row.update(zip(("spacing_slice", "spacing_row", "spacing_column"), spacing, strict=True))
            row.update({name: values[i].item() for name, values in columns.items()})
            scores = {
                name: scores_of_structure(before, after, target, spacing)
                for name, before, after, target in zip(self.structures, moving[i], warped[i], fixed[i], strict=True)
            }
            row["missing"] = sum(not found for found in scores.values())
            row["lost"] = sum(bool(found) and np.isnan(found["mad_after"]) for found in scores.values())
            for score in (f"{measure}_{state}" for measure in SCORES for state in STATES):
                row[score] = float(pd.Series([found[score] for found in scores.values() if found], dtype=float).mean())
            for name, found in scores.items():
                row.update({f"{name}_{score}": value for score, value in found.items()})
            row["seconds"] = prediction["seconds"]
            self.rows.append(row)

    def finish(self, engine: Engine) -> None:
        table = pd.DataFrame(self.rows)
        self.summary = self._summarise(table)
        with write_set_aside(self.folder, self.results, self.overwrite) as aside:
            write_csv(aside / "registrations.csv", table)
            (aside / "summary.json").write_text(json.dumps(self.summary, indent=1) + "\n")
        self._show(Console(width=max(100, Console().width)))  # narrower tables lose their numbers

    def _summarise(self, table: pd.DataFrame) -> dict[str, Any]:
        scored = table[table["dice_after"].notna()]
        uneven = table["log_jacobian_sd"]
        return {
            **self.about,
            "registrations": len(table),
            "scored": len(scored),
            "missing structures": int(table["missing"].sum()),
            "structures lost by the warp": int(table["lost"].sum()),
            "median seconds": float(table["seconds"].median()),
            "structures": summarise_structures(table, self.structures),
            "all": {
                **means(scored, scored if len(scored) else table),
                "log-Jacobian SD": {"mean": float(uneven.mean()), "sd": float(uneven.std(ddof=0))},
            },
        }

    def _show(self, console: Console) -> None:
        summary = self.summary
        count = f"{summary['scored']} of {summary['registrations']} scored"
        table = before_and_after(summary, f"Mean over structures, {summary.get('split', '')} split: {count}")
        table.add_row("SD of the log-Jacobian", "0", cell(summary["all"]["log-Jacobian SD"], 3))
        console.print(table)
        show_structures(summary["structures"], console, "Structures")
        console.print(f"median time a registration: {summary['median seconds'] * 1000:.1f} ms")
        if summary["missing structures"]:
            console.print(f"not scored, missing structures: {summary['missing structures']}")
        if summary["structures lost by the warp"]:
            console.print(f"no distance, structures lost by the warp: {summary['structures lost by the warp']}")
