"""When to validate."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler

__all__ = ["IntervalValidation"]


class IntervalValidation(ValidationHandler):
    """MONAI's handler at the start, every ``interval`` iterations and after the last, which need not be a multiple."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, iteration: int) -> bool:
        return iteration % self.interval == 0 or iteration == engine.state.epoch_length
