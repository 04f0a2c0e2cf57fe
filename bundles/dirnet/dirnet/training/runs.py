"""The trainings of a folder side by side: what each was made with, how far it is, and how well it does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from ignite.engine import Engine, Events
from rich.console import Console
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from ..errors import InputError
from ..nets.weights import read_checkpoint
from .record import is_running, options_of, read_record

__all__ = ["RunSummary", "TrainingRun", "best_scores", "find_runs", "runs_table", "show_runs"]

LOSS = "val_loss"  # by which the best weights are chosen, those of model.pt
MORE = ("dataset_dir",)  # options that a resumed training may change, and that are worth comparing


@dataclass(frozen=True)
class TrainingRun:
    """A training by what its folder holds.

    Attributes:
        folder: of the run, its ``output_dir``.
        started: when.
        iteration, iterations: done, as last saved, and asked for.
        running: whether a process trains there now.
        scores: of its best weights at validation, by name.
        options: of its whole config, by place; those of ``settings.json`` as they were resolved.
    """

    folder: Path
    started: datetime
    iteration: int
    iterations: int
    running: bool
    scores: Mapping[str, float]
    options: Mapping[str, Any]

    @property
    def state(self) -> str:
        if self.iteration >= self.iterations:
            return "finished"
        return f"{'running' if self.running else 'stopped'} at {self.iteration} of {self.iterations}"


def find_runs(folder: Path) -> tuple[list[TrainingRun], list[str]]:
    """The trainings in a folder and in the folders below, in the order in which they were started; and what is wrong
    with those that cannot be read, a line each.

    Raises:
        FileNotFoundError: when there is no such folder.
        InputError: when there is no training in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder '{folder}' does not exist")
    places = sorted({path.parent for name in ("last.pt", "config.json") for path in folder.rglob(name)})
    places = [place for place in places if (place / "last.pt").is_file() or (place / "settings.json").is_file()]
    if not places:
        raise InputError(f"'{folder}' holds no training: no folder in it has a last.pt and a config.json")
    runs, damaged = [], []
    for place in places:
        try:
            runs.append(read_run(place))
        except (InputError, FileNotFoundError, PermissionError) as error:
            damaged.append(f"{place}: {error}")
    return sorted(runs, key=lambda run: run.started), damaged


def read_run(folder: Path) -> TrainingRun:
    """
    Raises:
        FileNotFoundError, InputError: when one of its files is missing, or damaged.
    """
    settings, config = (read_record(folder / f"{name}.json") for name in ("settings", "config"))
    state = read_checkpoint(folder / "last.pt")
    try:
        iteration, iterations, best = int(state["iteration"]), int(settings["iterations"]), float(state["best"])
        options = {**dict(options_of(config)), **{key: config[key] for key in MORE if key in config}}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected the record of a training, found another: {error!r}") from error
    options.update({key: value for key, value in settings.items() if key in options})
    started = datetime.fromtimestamp((folder / "settings.json").stat().st_mtime)
    scores = best_scores(folder / "events")
    if best < float("inf"):
        scores = {LOSS: best, **{name: value for name, value in scores.items() if name != LOSS}}
    return TrainingRun(folder, started, iteration, iterations, is_running(folder), scores, options)


def best_scores(events: Path) -> dict[str, float]:
    """The validation scores where the loss was least, by name, from a run's events for TensorBoard; none where there
    are no such events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # here: it takes a second

    if not events.is_dir():
        return {}
    found = EventAccumulator(str(events), {"scalars": 0, "images": 1, "tensors": 1}).Reload()
    names = [name for name in found.Tags()["scalars"] if name.startswith("val_")]
    scores = {
        name: {event.step: event.value for event in found.Scalars(name) if math.isfinite(event.value)} for name in names
    }
    if not scores.get(LOSS):
        return {}
    best = min(scores[LOSS], key=lambda step: scores[LOSS][step])
    return {name: values[best] for name, values in scores.items() if best in values}


def runs_table(runs: Sequence[TrainingRun], folder: Path) -> pd.DataFrame:
    """A row a run: ``run`` (its folder, from ``folder``), ``started``, ``state``, the scores, and a column for each
    option in which the runs differ, empty where a run doesn't have it."""
    options = list(dict.fromkeys(key for run in runs for key in run.options))
    differing = [key for key in options if len({json.dumps(run.options.get(key), default=str) for run in runs}) > 1]
    scores = list(dict.fromkeys(name for run in runs for name in run.scores))
    rows = []
    for run in runs:
        row: dict[str, Any] = {
            "run": run.folder.relative_to(folder).as_posix(),
            "started": run.started.isoformat(" ", "minutes"),
            "state": run.state,
        }
        row |= {name: run.scores.get(name, float("nan")) for name in scores}
        row |= {key: _text(run.options[key]) for key in differing if key in run.options}
        rows.append(row)
    return pd.DataFrame(rows, columns=["run", "started", "state", *scores, *differing])


def show_runs(table: pd.DataFrame, console: Console) -> None:
    """Print :func:`runs_table`, the options in which a run differs below each other."""
    scores = [name for name in table.columns if name.startswith("val_")]
    first = ["run", "started", "state"]
    shown = Table(caption="scores: at validation, of the best weights, model.pt", caption_justify="left")
    for name in first:
        shown.add_column(name, overflow="fold")
    for name in scores:
        shown.add_column(name, justify="right")
    shown.add_column("options that differ", overflow="fold")
    for row in table.to_dict("records"):
        different = [
            f"{key} {value}" for key, value in row.items() if key not in (*first, *scores) and isinstance(value, str)
        ]
        numbers = ["" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in scores]
        shown.add_row(*(row[name] for name in first), *numbers, "\n".join(different))
    console.print(shown, markup=False)


class RunSummary:
    """Says at the end of a training, in its events, what it was made with and what came of it: TensorBoard's tab
    HPARAMS compares runs by it.

    Its hyperparameters are those of ``settings``; ``best_val_loss`` and so on are the scores of the best weights.

    Args:
        writer: of the run's events.
        settings: by name, any values.
    """

    def __init__(self, writer: SummaryWriter, settings: Mapping[str, Any]) -> None:
        self.writer = writer
        self.settings = settings

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.writer.flush()
        for name, value in best_scores(Path(self.writer.log_dir)).items():
            self.writer.add_scalar(f"best_{name}", value, engine.state.iteration)
        # The plugin takes the names of hyperparameters from the first run that says them all, and would lose those that
        # another run alone has: not said, it collects them from all runs.
        _, *session = hparams(dict(_flat(self.settings)), {})
        file_writer: Any = self.writer.file_writer
        for summary in session:
            file_writer.add_summary(summary)


def _flat(settings: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str | float]]:
    """Numbers and texts, by place."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}#")
        elif type(value) in (int, float):
            yield f"{place}{key}", value
        elif value is not None:
            yield f"{place}{key}", _text(value)


def _text(value: Any) -> str:
    return " ".join((value if isinstance(value, str) else json.dumps(value, default=str)).split())
