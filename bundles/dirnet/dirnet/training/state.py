"""Checkpoints: the best weights, and all that a stopped training needs to resume."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn

from ..errors import InputError
from ..files.aside import buffered, write_aside
from ..nets.weights import read_checkpoint
from .record import release, write_record

__all__ = ["TrainingState"]

logger = logging.getLogger(__name__)


class TrainingState:
    """Keeps a training's checkpoints in a folder, each whole at any time.

    - ``model.pt``: the weights that scored best at validation, as :func:`dirnet.nets.weights.load_network` and MONAI's
      ``ckpt_export`` read them;
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
        head: trained beside the network, and kept in ``last.pt`` alone.
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
        head: nn.Module | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.objects = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        if head is not None:
            self.objects["head"] = head
        self.sampler = sampler
        self.validator = validator
        self.interval = interval
        self.metric = metric
        self.about = dict(about or {})
        self.resume = resume
        self.best = float("inf")

    def attach(self, engine: Engine) -> None:
        if self.resume:
            try:
                self.load(engine)
            except BaseException:
                release(self.folder)
                raise
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.stop)
        engine.add_event_handler(Events.COMPLETED, lambda: release(self.folder))
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
        logger.info(f"resuming from iteration {state['iteration']} of {path}")

    def start(self, engine: Engine) -> None:
        write_record(self.folder, self.about)
        self.save(engine)  # before the first validation: from now on there is something to resume

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
        """Raise what stopped the training; an interruption says how to resume."""
        release(self.folder)
        if isinstance(error, KeyboardInterrupt) and (self.folder / "last.pt").is_file():
            command = "the same command" if self.resume else "the same command and --resume True"
            raise KeyboardInterrupt(
                f"training interrupted; {command} resumes from the state last saved in '{self.folder}', at most "
                f"{self.interval} iterations back"
            ) from error
        raise error

    def _write(self, name: str, content: Any) -> None:
        with write_aside(self.folder / name) as path, buffered(path) as stream:
            torch.save(content, stream)
