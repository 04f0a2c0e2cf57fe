"""A bar with loss and time left, and a line for each validation."""

from __future__ import annotations

import math
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import Evaluator

__all__ = ["Progress"]


class Progress(ProgressBar):
    """Ignite's bar over the iterations of an engine, attached in MONAI's way.

    Args:
        description: before the bar.
        validator: engine whose metrics are printed above the bar each time it has run.
    """

    def __init__(self, description: str, validator: Evaluator | None = None) -> None:
        super().__init__(persist=True, desc=description, mininterval=0.5)
        self.validator = validator
        self._engine: Engine | None = None

    def attach(self, engine: Engine) -> None:  # type: ignore[override]
        self._engine = engine
        super().attach(engine, output_transform=_loss, event_name=Events.ITERATION_COMPLETED(event_filter=_is_shown))
        if self.validator is not None:
            self.validator.add_event_handler(Events.COMPLETED, self._print, engine)

    def _reset(self, pbar_total: int | None) -> None:
        # as Ignite's, which starts every bar at 1: a training that goes on starts where it was
        engine: Any = self._engine
        self.pbar = self.pbar_cls(
            total=pbar_total,
            leave=self.persist,
            bar_format=self.bar_format,
            initial=max(1, engine.state.iteration),
            **self.tqdm_kwargs,
        )

    def _print(self, validator: Engine, engine: Engine) -> None:
        scores = ", ".join(f"{name} {_score(value)}" for name, value in sorted(validator.state.metrics.items()))
        self.log_message(f"iteration {engine.state.iteration}: {scores}")


def _score(value: float) -> str:
    return "not measured" if math.isnan(value) else f"{value:.4f}"


def _loss(output: dict) -> dict[str, float]:
    return {"loss": output["loss"].item()} if "loss" in output else {}


def _is_shown(engine: Engine, iteration: int) -> bool:
    """Every fifth and the last: a bar drawn anew for each batch fills the log of a run that has no terminal."""
    return iteration % 5 == 0 or iteration == engine.state.epoch_length
