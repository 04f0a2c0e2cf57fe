"""When to validate."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

from ..errors import InputError

__all__ = ["IntervalValidation"]


class IntervalValidation(ValidationHandler):
    """MONAI's handler at the start, every ``interval`` iterations and after the last, which need not be a multiple.

    Args:
        interval: ``val_interval`` of the configs.
        validator: what is run; may be set later.

    Raises:
        ValueError: when the interval is no whole number from 1.
    """

    def __init__(self, interval: int, validator: Evaluator | None = None) -> None:
        if type(interval) is not int or interval < 1:
            raise InputError(f"val_interval must be a whole number from 1, got {interval!r}")
        super().__init__(interval, validator)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)  # the one epoch: after all that starts the training
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=self._is_due), self)

    def __call__(self, engine: Engine) -> None:
        with torch.compiler.set_stance("force_eager"):  # to compile for its few batches of other sizes would not pay
            super().__call__(engine)

    def _is_due(self, engine: Engine, iteration: int) -> bool:
        return iteration % self.interval == 0 or iteration == engine.state.epoch_length
