"""The volume curves of a followed heart as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .pictures import curve_figure

if TYPE_CHECKING:
    from .counting import Counting
    from .follow import Followed

__all__ = ["volume_figure"]

NAMES = {"lumen": "LV", "epicardium": "LV with wall", "rv": "RV"}


def volume_figure(followed: Followed, counting: Counting | None = None) -> Figure:
    """Volumes of the ventricles over the cycle; without volumes, the areas of the first structure's slices.

    Slices and frames are counted from 0, or as ``counting`` does.
    """
    first = counting.frame(0) if counting else 0
    function, times = followed.function, followed.cine.times
    if followed.volumes:
        shown = [name for name in followed.volumes if name != "epicardium"] or list(followed.volumes)
        curves = {f"{NAMES[name]} volume": followed.volumes[name].ml for name in shown}
        quantity = next(iter(curves)) if len(curves) == 1 else "volume"
        return curve_figure(curves, quantity, "ml", function.ed, function.es, times, first)
    name, areas = next(iter(followed.areas.items()))
    numbers = {n: counting.slice(n) if counting else n for n in followed.slices if np.isfinite(areas[n]).any()}
    curves = {f"slice {number}": areas[n] / 100 for n, number in numbers.items()}
    return curve_figure(curves, f"{name} area", "cm²", function.ed, function.es, times, first)
