"""Checkpoints: the best weights, and all that a stopped training needs to go on."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from ..errors import InputError, check_flag
from ..files.aside import buffered, write_aside
from ..nets.weights import read_checkpoint

__all__ = ["TrainingState", "check_run"]

logger = logging.getLogger(__name__)


def check_run(output_dir: str | Path, resume: bool, about: Mapping[str, Any]) -> None:
    """Whether a training may start in ``output_dir``, before anything is read or written.

    Args:
        output_dir: of the training.
        resume: whether it shall go on with the training that the folder holds.
        about: what :class:`TrainingState` keeps of a run, a file ``<name>.json`` each; the same when it is resumed.
            Of its ``settings``, the numbers are checked.

    Raises:
        FileExistsError: when the folder holds a training and ``resume`` is false.
        FileNotFoundError: when it holds none, or not all of one, and ``resume`` is true.
        ValueError: when a setting is no number that it can be, or what is to be resumed was started with other
            settings or data.
    """
    _check_numbers(about.get("settings", {}))
    folder = Path(output_dir)
    if not check_flag(resume, "resume"):
        if any(folder.glob("*.pt")):
            raise FileExistsError(
                f"'{folder}' holds a training already: go on with it by --resume True, or choose another --output_dir"
            )
        return
    if not (folder / "last.pt").is_file():
        raise FileNotFoundError(f"'{folder}' holds no last.pt to go on from")
    for name, content in about.items():
        path = folder / f"{name}.json"
        before, now = _read_about(path), json.loads(_json(content))
        changes = [f"{key} {before.get(key)!r} (now {now.get(key)!r})" for key in now if before.get(key) != now[key]]
        if changes:
            summary = ", ".join(change if len(change) < 200 else change.split(" ", 1)[0] for change in changes)
            raise InputError(f"{path} is of a training with other settings, which cannot be resumed: {summary}")


def _check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse what would fail deep in torch; settings that a training does not have are passed over."""
    for key in ("iterations", "batch_size"):
        value = settings.get(key, 1)
        if type(value) is not int or value < 1:
            raise InputError(f"{key} must be a whole number from 1, got {value!r}")
    rate = settings.get("learning_rate", 1.0)
    if type(rate) not in (int, float) or not 0 < rate < math.inf:
        raise InputError(f"learning_rate must be a number above 0, got {rate!r}")


def _read_about(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path.parent}' holds no {path.name}, which says what its training was started with: put it back, or "
            "start anew in another --output_dir"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            f"{path} is damaged, which says what its training was started with: put it back, or start anew in another "
            "--output_dir"
        ) from error


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, default=str) + "\n"


class TrainingState:
    """Keeps a training's checkpoints in a folder, each whole at any time.

    - ``model.pt``: the weights that scored best at validation, as :func:`load_weights` and MONAI's ``ckpt_export``
      read them;
    - ``last.pt``: network, optimizer, schedule, iteration and best score, from which ``resume`` goes on to the same
      weights as an unbroken training;
    - ``model_final.pt``: the weights of the last iteration, when the training is complete.

    Attach it after the handlers that step the schedule and validate, so that it keeps what they left. What the training
    was started with is kept beside these, as ``<name>.json``. Of processes that train together only the first writes.

    Args:
        folder: where the files go.
        network, optimizer, lr_scheduler: what is kept.
        sampler: a :class:`transforms.pairing.RemainingBatches`, told where to start.
        validator: engine whose metric ``metric`` (lower is better) tells the best weights.
        interval: iterations between two writings of ``last.pt``.
        about: what the training is started with, by name.
        resume: whether to start from ``last.pt``.
    """

    def __init__(
        self,
        folder: str | Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: Any,
        sampler: Any,
        validator: Engine,
        interval: int,
        metric: str = "val_loss",
        about: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.objects = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.sampler = sampler
        self.validator = validator
        self.interval = interval
        self.metric = metric
        self.about = dict(about or {})
        self.resume = resume
        self.best = float("inf")

    def attach(self, engine: Engine) -> None:
        if self.resume:
            self.load(engine)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.stop)
        if idist.get_rank() > 0:
            return
        if not self.resume:
            engine.add_event_handler(Events.STARTED, self.start)
        self.validator.add_event_handler(Events.COMPLETED, self.keep_best)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self.save)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish)

    def load(self, engine: Engine) -> None:
        """
        Raises:
            ValueError: when the training is complete.
        """
        path = self.folder / "last.pt"
        state = read_checkpoint(path)
        if state["iteration"] >= self.sampler.iterations:
            raise InputError(f"the training in '{self.folder}' is complete: {state['iteration']} iterations")
        for name, target in self.objects.items():
            target.load_state_dict(state[name])
        self.best = state["best"]
        self.sampler.start = state["iteration"]
        engine.state.iteration = state["iteration"]
        logger.info(f"going on from iteration {state['iteration']} of {path}")

    def start(self, engine: Engine) -> None:
        for name, content in self.about.items():
            with write_aside(self.folder / f"{name}.json") as path:
                path.write_text(_json(content))
        self.save(engine)

    def keep_best(self, validator: Engine) -> None:
        score = validator.state.metrics[self.metric]
        if score < self.best:
            self.best = score
            self._write("model.pt", self.objects["network"].state_dict())

    def save(self, engine: Engine) -> None:
        if engine.state.iteration == self.sampler.iterations:  # before last.pt says that all is done
            self._write("model_final.pt", self.objects["network"].state_dict())
        state = {name: target.state_dict() for name, target in self.objects.items()}
        state.update(iteration=engine.state.iteration, best=self.best)
        self._write("last.pt", state)

    def finish(self, engine: Engine) -> None:
        self.save(engine)
        logger.info(f"best weights (validation loss {self.best:.4f}): {self.folder / 'model.pt'}")

    def stop(self, engine: Engine, error: BaseException) -> None:
        """Raise what stopped the training; an interruption says how to go on."""
        if isinstance(error, KeyboardInterrupt) and (self.folder / "last.pt").is_file():
            command = "the same command" if self.resume else "the same command and --resume True"
            raise KeyboardInterrupt(
                f"training interrupted; {command} goes on from the state last saved in '{self.folder}', at most "
                f"{self.interval} iterations back"
            ) from error
        raise error

    def _write(self, name: str, content: Any) -> None:
        with write_aside(self.folder / name) as path, buffered(path) as stream:
            torch.save(content, stream)
