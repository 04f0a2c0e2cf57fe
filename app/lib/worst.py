"""Active learning: next the cine that the network registers worst."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from transforms.cine_files import read_cine_stack

from .weights import Weights

__all__ = ["WorstRegistered"]

logger = logging.getLogger(__name__)


class WorstRegistered(Strategy):
    """Of the cines without a final label, the one whose frames fit least after registration: by the mean normalised
    cross-correlation of its middle slice's first frame, warped onto each other one.

    A cine is scored once for each set of weights. Images that are no cine come last.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__("The cine that the network registers worst")
        self.weights = weights
        self._scores: dict[tuple[Any, ...], float] = {}
        self._lock = threading.Lock()

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        images = sorted(datastore.get_unlabeled_images())
        if not images:
            return None
        with self._lock:
            scores = {image: self._score(image, datastore) for image in images}
        worst = min(images, key=scores.__getitem__)
        known = np.isfinite(scores[worst])
        return {"id": worst, "ncc_after": round(scores[worst], 4) if known else None}

    def _score(self, image: str, datastore: Datastore) -> float:
        key = (image, *self.weights.version)
        if key not in self._scores:
            try:
                cine = read_cine_stack(Path(datastore.get_image_uri(image)))
            except (ValueError, FileNotFoundError):
                logger.warning("an image of the datastore is no cine and is offered last")
                self._scores[key] = np.inf
            else:
                frames = cine.images[len(cine.images) // 2]
                followed = self.weights.registrar().propagate(frames, np.ones(frames.shape[1:]), frame=0)
                self._scores[key] = float(followed.ncc_after[1:].mean())
        return self._scores[key]
