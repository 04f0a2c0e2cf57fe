"""What is measured of a heart, by the size of its patient."""

from __future__ import annotations

import math

from ..errors import InputError

__all__ = ["body_surface_area"]

HEIGHTS, WEIGHTS = (30.0, 250.0), (1.0, 400.0)  # cm, kg


def body_surface_area(height_cm: float | None, weight_kg: float | None) -> float | None:
    """Body surface area in m², by Mosteller: √(height · weight / 3600) ("Simplified calculation of body-surface
    area", NEJM 1987); None where height or weight is unknown.

    Raises:
        InputError: when one of the two is no person's.
    """
    for name, value, unit, (low, high) in (("height", height_cm, "cm", HEIGHTS), ("weight", weight_kg, "kg", WEIGHTS)):
        if value is not None and not low <= value <= high:
            raise InputError(f"{name}: expected {low:g} to {high:g} {unit}, got {value:g}")
    if height_cm is None or weight_kg is None:
        return None
    return math.sqrt(height_cm * weight_kg / 3600)
