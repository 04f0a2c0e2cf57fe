"""Active learning: next the cine that the network registers worst."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from dirnet.errors import InputError
from transforms.cine_files import read_cine_stack

from .weights import Weights

__all__ = ["WorstRegistered"]

logger = logging.getLogger(__name__)

NEW = 20  # cines scored in one call


class WorstRegistered(Strategy):
    """Of the cines without a final label, the one whose frames fit least after registration: by the mean normalised
    cross-correlation of its middle slice's first frame, warped onto each other one.

    A cine is scored once for each set of weights, and a call scores twenty new ones at most: an archive is not fetched
    whole for one answer. Images that cannot be read as cines come last.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__("The cine that the network registers worst")
        self.weights = weights
        self._scores: dict[str, float] = {}
        self._version = weights.version  # that the scores are of
        self._lock = threading.Lock()

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        images = sorted(datastore.get_unlabeled_images())
        if not images:
            return None
        with self._lock:
            if self._version != self.weights.version:
                self._version, self._scores = self.weights.version, {}
            for image in [image for image in images if image not in self._scores][:NEW]:
                self._scores[image] = self._score(image, datastore)
            scores = {image: self._scores[image] for image in images if image in self._scores}
        worst = min(scores, key=scores.__getitem__)
        score = scores[worst]
        return {"id": worst, "ncc_after": round(score, 4) if np.isfinite(score) else None}

    def _score(self, image: str, datastore: Datastore) -> float:
        try:
            cine = read_cine_stack(Path(datastore.get_image_uri(image)))
        except (InputError, OSError):  # OSError: an archive that does not answer, too
            logger.warning("an image of the datastore is no cine, or cannot be had, and is offered last")
            return np.inf
        frames = cine.images[len(cine.images) // 2]
        followed = self.weights.registrar().propagate(frames, np.ones(frames.shape[1:]), frame=0)
        return float(followed.ncc_after[1:].mean())
