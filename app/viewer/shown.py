"""How a cine is shown: the numbers that stand for its grey values, the heart's place, and a first window."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from transforms.cine_files import CineStack
from transforms.heart_region import Region, heart_region
from transforms.slice_order import base_is_first
from transforms.study_info import read_study_info

__all__ = ["Shown", "describe"]

MOST = 2**16 - 1
WINDOW = (1.0, 99.0)  # percentiles of the heart's region that become black and white
SMALL = 120  # pixels, at most, of the longer side of a small picture


@dataclass(frozen=True)
class Scale:
    """The file's value of a number that is sent: ``low + step * number``."""

    low: float
    step: float

    @classmethod
    def of(cls, images: np.ndarray) -> Scale:
        """The values themselves where they are whole numbers of 16 bits, from the least one."""
        low, high = float(images.min()), float(images.max())
        whole = high - low <= MOST and low.is_integer() and bool((images == np.rint(images)).all())
        return cls(low, 1.0 if whole or high <= low else (high - low) / MOST)

    def bytes(self, images: np.ndarray) -> bytes:
        """Images of the cine, two bytes a pixel, the lower first."""
        numbers = np.rint((images - self.low) / self.step) if self.step != 1 else np.rint(images - self.low)
        return np.clip(numbers, 0, MOST).astype("<u2").tobytes()


_shown: WeakKeyDictionary[CineStack, Shown] = WeakKeyDictionary()
_lock = threading.Lock()


class Shown:
    """What the page needs to show a cine; found when asked for, and kept as long as the cine."""

    def __init__(self, cine: CineStack) -> None:
        self._images, self._spacing = cine.images, cine.spacing

    @classmethod
    def of(cls, cine: CineStack) -> Shown:
        """The one of a cine."""
        with _lock:
            if cine not in _shown:
                _shown[cine] = cls(cine)
            return _shown[cine]

    @cached_property
    def region(self) -> Region:
        """The heart's."""
        return heart_region(self._images, self._spacing)

    @cached_property
    def scale(self) -> Scale:
        """Of all slices and frames."""
        return Scale.of(self._images)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Width and level in the file's values, by percentiles of the heart's region."""
        heart = self.region.of(self._images)[:, ::4]
        low, high = np.percentile(heart, WINDOW).tolist()
        if high <= low:  # nearly all pixels alike
            low, high = float(heart.min()), float(heart.max())
        return max(high - low, self.scale.step), (low + high) / 2

    @property
    def factor(self) -> int:
        """How many pixels become one in a small picture, along rows and columns."""
        return -(-max(self.region.height, self.region.width) // SMALL)

    @property
    def small(self) -> np.ndarray:
        """The heart's region in small, (S, T, h, w): means of so many pixels."""
        heart, factor = self.region.of(self._images), self.factor
        height, width = heart.shape[2] // factor, heart.shape[3] // factor
        cut = heart[..., : height * factor, : width * factor]
        return cut.reshape(*cut.shape[:2], height, factor, width, factor).mean((3, 5), dtype=np.float32)


def describe(cine: CineStack) -> dict[str, Any]:
    """A cine, as the page is told of it. Slices and frames are counted from 0, as in files; the page counts from 1."""
    slices, frames, height, width = cine.images.shape
    shown = Shown.of(cine)
    base_first = base_is_first(cine)
    info = read_study_info(cine, patient_name=True)
    region, (wide, level) = shown.region, shown.window
    return {
        "slices": slices,
        "frames": frames,
        "size": [height, width],
        "spacing": list(cine.spacing),
        "times": None if cine.times is None else cine.times.tolist(),
        "scale": {"low": shown.scale.low, "step": shown.scale.step},
        "window": {"width": wide, "level": level},
        "region": list(region),
        "small": {"factor": shown.factor, "size": [side // shown.factor for side in region[2:]]},
        "view": cine.view,
        "base": None if base_first is None else "first" if base_first else "last",
        "study": {
            "name": info.patient_name,
            "id": info.patient_id,
            "sex": info.sex,
            "age": info.age_years,
            "date": info.date,
            "heart_rate": info.heart_rate,
            "heart_rate_from": info.heart_rate_from,
            "series": info.description,
        },
    }
