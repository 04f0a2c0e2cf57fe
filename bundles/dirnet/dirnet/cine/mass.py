"""The left ventricle's muscle: its volume by discs, and its mass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["DENSITY", "myocardial_mass", "wall_areas"]

DENSITY = 1.05  # g/ml, of myocardium (Kawel-Boehm et al., JCMR 2020)


def wall_areas(areas: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Area of the wall on each slice and frame, (S, T) mm²: within the epicardium but the lumen. nan on slices whose
    epicardium was not drawn; all of it is wall where no lumen was drawn, as at the apex. None where one of the two was
    drawn nowhere.

    Args:
        areas: (S, T) mm² by structure, nan on slices where it was not drawn.
    """
    if not {"lumen", "epicardium"} <= set(areas):
        return None
    return areas["epicardium"] - np.nan_to_num(areas["lumen"])


def myocardial_mass(ml: np.ndarray, frame: int | None) -> float:
    """Mass in g of the wall's volume (T,) on one frame; nan where it is unknown."""
    return np.nan if frame is None else DENSITY * float(ml[frame])
