"""Scores of structures: in a heart of those beside the lumen, epicardium, right ventricle, and the myocardium between
lumen and epicardium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from transforms.structures import STRUCTURES

from ..fields.masks import dice, surface_scores

__all__ = ["SCORED", "STATES", "scores_of_structure", "show_structures", "structure_scores", "summarise_structures"]

SCORED = ("epicardium", "myocardium", "rv")
NAMES = {"epicardium": "epicardium", "myocardium": "myocardium", "rv": "right ventricle"}
MEASURES = {"dice": ("Dice", 3), "hd95": ("HD95, mm", 2), "mad": ("MAD, mm", 2)}  # of surface_scores, with its digits
STATES = ("before", "after")


def structure_scores(batch: Mapping[str, Any], output: Mapping[str, Any]) -> list[dict[str, float]]:
    """Columns of each registration: ``epicardium_dice_before``, ``rv_mad_after``, ... of what both images have drawn.

    One that the warp makes vanish scores a Dice of 0 and has no distance.

    Args:
        batch: of :class:`transforms.pairing.PairPhasesd`.
        output: an evaluator's; ``warped_masks`` as :class:`~dirnet.training.engines.PreparePair` orders them.
    """
    drawn = [name for name in STRUCTURES if f"fixed_{name}" in output["label"]]
    moving = {name: batch[f"moving_{name}"].cpu() > 0 for name in drawn}
    fixed = {name: output["label"][f"fixed_{name}"].cpu() > 0 for name in drawn}
    warped = {name: output["pred"]["warped_masks"][:, k : k + 1].cpu() for k, name in enumerate(drawn)}
    if {"lumen", "epicardium"} <= set(drawn):
        for masks in (moving, fixed, warped):
            masks["myocardium"] = masks["epicardium"] & ~masks["lumen"]
        for masks in (moving, fixed):
            masks["myocardium"] &= masks["lumen"].flatten(1).any(1).view(-1, 1, 1, 1)
    rows: list[dict[str, float]] = [{} for _ in batch["spacing"]]
    for name in (name for name in SCORED if name in fixed):
        for i, row in enumerate(rows):
            before, after, target = (masks[name][i, 0] for masks in (moving, warped, fixed))
            scores = scores_of_structure(before, after, target, batch["spacing"][i].tolist())
            row.update({f"{name}_{key}": value for key, value in scores.items()})
    return rows


def scores_of_structure(moving: Tensor, warped: Tensor, fixed: Tensor, spacing: Sequence[float]) -> dict[str, float]:
    """One structure of one registration: ``dice_before``, ``dice_after`` and so ``hd95``, ``hd95_pooled`` and ``mad``
    in mm.

    Args:
        moving, warped, fixed: masks (H, W[, D]).
        spacing: mm, one an axis.

    Returns:
        the scores; nothing where the moving or the fixed image does not have the structure. One that the warp makes
        vanish has a Dice of 0 and distances of nan.
    """
    if not (moving.any() and fixed.any()):
        return {}
    scores = {}
    for state, mask in zip(STATES, (moving, warped), strict=True):
        scores[f"dice_{state}"] = torch.nan_to_num(dice(mask[None, None], fixed[None, None])).item()
        distances = surface_scores(mask, fixed, spacing)
        scores.update({f"{measure}_{state}": value for measure, value in distances.items()})
    return scores


def summarise_structures(table: pd.DataFrame, names: Sequence[str] = SCORED) -> dict[str, Any]:
    """Of each structure that is scored: how many registrations, how often lost, means and standard deviations (of the
    population) as the lumen's are."""
    summary = {}
    for name in names:
        if f"{name}_dice_after" not in table:
            continue
        scored = table[table[f"{name}_dice_after"].notna()]
        columns = {
            f"{measure} {state}": scored[f"{name}_{measure}_{state}"] for measure in MEASURES for state in STATES
        }
        summary[name] = {
            "scored": len(scored),
            "lost by the warp": int(scored[f"{name}_mad_after"].isna().sum()),
            **{key: {"mean": float(values.mean()), "sd": float(values.std(ddof=0))} for key, values in columns.items()},
        }
    return summary


def show_structures(summary: Mapping[str, Any], console: Console, title: str = "Other structures") -> None:
    """Print what :func:`summarise_structures` found, a line a structure; nothing where it found none."""
    if not summary:
        return
    table = Table(title=f"{title}, mean ± SD before → after", title_justify="left")
    for heading in ("structure", "n", *(name for name, _ in MEASURES.values())):
        table.add_column(heading, justify="left" if heading == "structure" else "right", no_wrap=True)
    for name, found in summary.items():
        cells = []
        for measure, (_, digits) in MEASURES.items():
            texts = [f"{found[key]['mean']:.{digits}f}" for key in (f"{measure} before", f"{measure} after")]
            cells.append(f"{texts[0]} → {texts[1]} ± {found[f'{measure} after']['sd']:.{digits}f}")
        table.add_row(NAMES.get(name, name), str(found["scored"]), *cells)
    console.print(table)
