"""The volume curves of a followed heart as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from .pictures import curve_figure

if TYPE_CHECKING:
    from .follow import Followed

__all__ = ["volume_figure"]

NAMES = {"lumen": "LV", "epicardium": "LV with wall", "rv": "RV"}


def volume_figure(followed: Followed) -> Figure:
    """Volumes of the ventricles over the cycle; without volumes, the areas of the first structure's slices."""
    function, times = followed.function, followed.cine.times
    if followed.volumes:
        shown = [name for name in followed.volumes if name != "epicardium"] or list(followed.volumes)
        curves = {f"{NAMES[name]} volume": followed.volumes[name].ml for name in shown}
        quantity = next(iter(curves)) if len(curves) == 1 else "volume"
        return curve_figure(curves, quantity, "ml", function.ed, function.es, times)
    name, areas = next(iter(followed.areas.items()))
    curves = {f"slice {number}": areas[number] / 100 for number in followed.slices if np.isfinite(areas[number]).any()}
    return curve_figure(curves, f"{name} area", "cm²", function.ed, function.es, times)
