"""Scores of registrations: means while training, a table when evaluating."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.metrics import compute_roc_auc
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..cine.agreement import agreement, bland_altman_figure
from ..cine.contour_length import contour_lengths
from ..fields.jacobian import folded_percent, log_jacobian_sd
from ..fields.masks import dice, surface_scores
from ..files.aside import refuse_overwriting, write_set_aside
from ..files.pictures import save_picture
from ..files.tables import write_csv
from ..nets.losses import ncc
from ..trust import DOUBTFUL, estimated_dice, terms
from .patients import MEASUREMENTS, by_patient
from .structures import STATES, show_structures, structure_scores, summarise_structures

__all__ = [
    "MeanScore",
    "RegistrationTable",
    "ScoreTable",
    "lumen_dice",
    "registration_loss",
    "similarity",
]

Output = Mapping[str, Any]


def similarity(output: Output) -> Tensor:
    """NCC of each registration in an evaluator's output, (B,)."""
    return ncc(output["pred"]["warped"], output["label"]["fixed"])


def lumen_dice(output: Output) -> Tensor:
    """Dice of each warped lumen with the fixed one, (B,); nan where one is missing."""
    return dice(output["pred"]["warped_masks"][:, :1], output["label"]["fixed_lumen"])


def registration_loss(loss: Callable[[Mapping[str, Tensor], Tensor], Tensor]) -> Callable[[Output], Tensor]:
    """The training's loss as a score: the batch's mean for each of its registrations, (B,)."""
    own = copy.deepcopy(loss)  # what the training's loss keeps for the log stays the training's
    return lambda output: own(output["pred"], output["label"]["fixed"]).expand(len(output["image"]))


class MeanScore(Metric):
    """Mean of a score over all registrations that have one; nan when none has.

    Of processes that train together one validates alone: unlike Ignite's metrics this one waits for no other.

    Args:
        score: an evaluator's output to (B,) scores, nan where there is none.
    """

    def __init__(self, score: Callable[[Output], Tensor]) -> None:
        super().__init__(output_transform=score)

    def reset(self) -> None:
        self.total = torch.zeros((), dtype=torch.float64)
        self.count = torch.zeros((), dtype=torch.float64)

    def update(self, output: Tensor) -> None:
        scores = output.detach().double().cpu()
        scored = ~scores.isnan()
        self.total += scores[scored].sum()
        self.count += scored.sum()

    def compute(self) -> float:
        return (self.total / self.count).item() if self.count else float("nan")


# name in the table, unit, digits
MEASURES = {
    "dice": ("Dice", "", 3),
    "hd95": ("HD95, larger directed", "mm", 2),
    "hd95_pooled": ("HD95, pooled", "mm", 2),
    "mad": ("MAD", "mm", 2),
    "ncc": ("NCC", "", 3),
}


PICTURES = {"ef": "ejection_fractions.png", "strain": "circumferential_strains.png"}
RESULTS = ("registrations.csv", "patients.csv", *PICTURES.values(), "summary.json")


class ScoreTable:
    """What tables of scores have in common: the rows, and a folder for what is made of them at the end.

    Args:
        output_dir: where the files go.
        about: what the summary says of the run, such as the split and the checkpoint.
        overwrite: whether files of an earlier evaluation may be replaced.

    Raises:
        FileExistsError: before anything is computed, when there are such files and they may not be replaced.
    """

    results: tuple[str, ...]

    def __init__(self, output_dir: str | Path, about: Mapping[str, Any], overwrite: bool = False) -> None:
        self.folder = Path(output_dir)
        refuse_overwriting(*(self.folder / name for name in self.results), overwrite=overwrite)
        self.overwrite = overwrite
        self.about = dict(about)
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def collect(self, engine: Engine) -> None:
        """Take a row for each registration of a batch."""
        raise NotImplementedError

    def finish(self, engine: Engine) -> None:
        """Write the results."""
        raise NotImplementedError


class RegistrationTable(ScoreTable):
    """Scores each registration of an evaluator before and after, and writes what it found.

    - ``registrations.csv``: a row a registration; columns of structures beside the lumen begin with their name;
    - ``summary.json``: mean and standard deviation (of the population) over the registrations and by pathology
      group, and how many could not be scored; the same of each other structure that both images of a pair have;
    - ``patients.csv``: each patient's ejection fraction and circumferential strain, from the drawn end-diastolic lumen
      carried to end-systole and from the one drawn there; ``ejection_fractions.png`` and
      ``circumferential_strains.png``: how far the two agree (Bland-Altman);
    - a table on the terminal.

    The batch is that of :class:`transforms.pairing.PairPhasesd`. A structure missing from either image is
    counted and left out of every mean; one that the warp makes vanish is counted, scores a Dice of 0 and has no
    distance.
    """

    results = RESULTS

    def collect(self, engine: Engine) -> None:
        state: Any = engine.state
        batch, output = state.batch, state.output
        prediction, fixed = output["pred"], output["label"]
        warped_lumen = prediction["warped_masks"][:, :1]
        states = {
            "before": (output["image"][:, :1], batch["moving_lumen"] > 0),
            "after": (prediction["warped"], warped_lumen),
        }
        target = fixed["fixed_lumen"].cpu() > 0
        scores: dict[str, Tensor] = {
            "folded_percent": folded_percent(prediction["ddf"]),
            "log_jacobian_sd": log_jacobian_sd(prediction["ddf"]),
        }
        for state, (image, mask) in states.items():
            scores[f"ncc_{state}"] = ncc(image, fixed["fixed"])
            scores[f"dice_{state}"] = dice(mask.cpu(), target)
        if "mirrored_masks" in prediction:
            both = warped_lumen, prediction["mirrored_masks"]
            scores["estimated_dice"] = estimated_dice(*both)
            scores["mirrored_difference"], scores["inverse_side"] = terms(*both)
        drawn = {
            "moving": states["before"][1],
            "fixed": target,
            "warped": warped_lumen,
        }
        others = structure_scores(batch, output)
        for i in range(len(target)):
            row = {key: _item(batch[key], i) for key in ("patient", "slice", "pathology", "direction")}
            spacing = batch["spacing"][i].tolist()
            row.update(spacing_row=spacing[0], spacing_column=spacing[1])
            row["spacing_assumed"] = bool(_item(batch["spacing_assumed"], i))
            row.update({name: value[i].item() for name, value in scores.items()})
            for state, (_, mask) in states.items():
                distances = surface_scores(mask[i, 0].cpu(), target[i, 0], spacing)
                row.update({f"{name}_{state}": value for name, value in distances.items()})
            for name, mask in drawn.items():
                row[f"{name}_mm2"] = float(mask[i].sum()) * math.prod(spacing)
                row[f"{name}_mm"] = float(np.nan_to_num(contour_lengths(mask[i, 0].cpu(), spacing)))
            row["missing"] = bool(not target[i].any() or not states["before"][1][i].any())
            row["lost"] = bool(not row["missing"] and not warped_lumen[i].any())
            if row["lost"]:
                row["dice_after"] = 0.0  # a failed registration, which has an overlap but no distance
            row.update(others[i])
            row["seconds"] = prediction["seconds"]
            self.rows.append(row)

    def finish(self, engine: Engine) -> None:
        table = pd.DataFrame(self.rows)
        self.summary = summarise(table, self.about)
        patients = by_patient(table)
        with write_set_aside(self.folder, RESULTS, self.overwrite) as aside:
            write_csv(aside / "registrations.csv", table)
            write_csv(aside / "patients.csv", patients)
            for key, (name, *_) in MEASUREMENTS.items():
                plot = bland_altman_figure(patients[f"followed_{key}"], patients[f"drawn_{key}"], name, "%")
                save_picture(plot, aside / PICTURES[key])
            (aside / "summary.json").write_text(json.dumps(self.summary, indent=1, default=str) + "\n")
        show(self.summary, Console(width=max(100, Console().width)))  # narrower tables lose their numbers


def _item(values: Any, index: int) -> Any:
    value = values[index]
    return value.item() if torch.is_tensor(value) and value.dim() == 0 else value


def summarise(table: pd.DataFrame, about: Mapping[str, Any]) -> dict[str, Any]:
    """Means and standard deviations of a table of registrations, over all and by pathology group."""
    scored = table[~table["missing"]]
    patients = by_patient(table)
    return {
        **about,
        "registrations": len(table),
        "scored": len(scored),
        "missing structure": int(table["missing"].sum()),
        "structure lost by the warp": int(table["lost"].sum()),
        "spacing assumed": int(table["spacing_assumed"].sum()),
        **{
            name: dataclasses.asdict(agreement(patients[f"followed_{key}"], patients[f"drawn_{key}"]))
            for key, (name, *_) in MEASUREMENTS.items()
        },
        "estimated dice": _how_well_estimated(scored),
        "median seconds": float(table["seconds"].median()),
        **({"structures": structures} if (structures := summarise_structures(table)) else {}),
        "all": means(scored, scored if len(scored) else table),
        "groups": {
            str(name): {"registrations": len(group), **means(group, group)}
            for name, group in scored.groupby("pathology", dropna=False)
        },
    }


def _how_well_estimated(scored: pd.DataFrame) -> dict[str, Any] | None:
    """Whether the Dice that is estimated without a drawing tells the bad registrations, below DOUBTFUL, from the good:
    the area under the ROC curve, and how many of the bad, and of all, are estimated below it."""
    if "estimated_dice" not in scored or not len(scored):
        return None
    bad, doubted = scored["dice_after"] < DOUBTFUL, scored["estimated_dice"] < DOUBTFUL
    area: Any = compute_roc_auc(torch.tensor(-scored["estimated_dice"].to_numpy()), torch.tensor(bad.to_numpy()).long())
    return {
        "mean absolute error": float((scored["estimated_dice"] - scored["dice_after"]).abs().mean()),
        "area under the ROC curve": float(area) if bad.any() and not bad.all() else None,
        "bad": int(bad.sum()),
        "bad and doubted": int((bad & doubted).sum()),
        "doubted": int(doubted.sum()),
    }


def means(scored: pd.DataFrame, registered: pd.DataFrame) -> dict[str, Any]:
    """Mean and standard deviation of each measure. Likeness and folds, which need no structure, are of all that was
    registered where nothing could be scored."""
    columns = {
        f"{measure} {state}": (registered if measure == "ncc" else scored)[f"{measure}_{state}"]
        for measure in MEASURES
        for state in STATES
    }
    columns["folded percent"] = registered["folded_percent"]
    return {
        name: {"mean": float(column.mean()), "sd": float(column.std(ddof=0))} if len(column) else None
        for name, column in columns.items()
    }


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Print a summary as tables."""
    count = f"{summary['scored']} of {summary['registrations']} registrations scored"
    console.print(before_and_after(summary, f"Left-ventricular lumen, {summary.get('split', '')} split: {count}"))
    groups = Table(title="After registration, by group", title_justify="left")
    for heading in ("group", "n", "Dice", "HD95, mm", "MAD, mm"):
        groups.add_column(heading, justify="left" if heading == "group" else "right", no_wrap=True)
    for name, found in summary["groups"].items():
        cells = [cell(found[f"{measure} after"], MEASURES[measure][2]) for measure in ("dice", "hd95", "mad")]
        groups.add_row(name, str(found["registrations"]), *cells)
    if summary["groups"]:
        console.print(groups)
    show_structures(summary.get("structures", {}), console)
    for name, *_ in MEASUREMENTS.values():
        found = summary[name]
        if found["count"]:
            console.print(
                f"{name}, followed - drawn, {found['count']} patients: bias {found['bias']:.1f} points, "
                f"SD {found['sd']:.1f}, mean absolute error {found['mean_absolute_error']:.1f}, "
                f"worst {found['worst']:.1f}",
                soft_wrap=True,
            )
    estimated = summary["estimated dice"]
    if estimated is not None and estimated["bad"]:
        area = estimated["area under the ROC curve"]
        console.print(
            f"estimated Dice below {DOUBTFUL}: {estimated['bad and doubted']} of the {estimated['bad']} registrations "
            f"with such a Dice, and {estimated['doubted'] - estimated['bad and doubted']} others"
            + (f"; area under the ROC curve {area:.3f}" if area is not None else ""),
            soft_wrap=True,
        )
    console.print(f"median time a registration: {summary['median seconds'] * 1000:.1f} ms")
    if summary["spacing assumed"]:
        console.print(
            f"{summary['spacing assumed']} registrations are of images without pixel spacing: mm by the assumed 1.28"
        )
    if summary["missing structure"]:
        console.print(f"not scored, missing structure: {summary['missing structure']}")
    if summary["structure lost by the warp"]:
        console.print(f"no distance, structure lost by the warp: {summary['structure lost by the warp']}")


def before_and_after(summary: Mapping[str, Any], title: str) -> Table:
    """The means over all registrations of a summary."""
    table = Table(title=title, title_justify="left")
    for heading in ("mean ± SD", "before", "after"):
        table.add_column(heading, justify="left" if heading == "mean ± SD" else "right")
    for measure, (name, unit, digits) in MEASURES.items():
        cells = [cell(summary["all"][f"{measure} {state}"], digits) for state in STATES]
        table.add_row(f"{name}, {unit}" if unit else name, *cells)
    table.add_row("folded pixels, %", "0", cell(summary["all"]["folded percent"], 4))
    return table


def cell(value: Mapping[str, float] | None, digits: int) -> str:
    return "no case" if value is None else f"{value['mean']:.{digits}f} ± {value['sd']:.{digits}f}"
