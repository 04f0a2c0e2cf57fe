"""Ejection fraction of each patient of an evaluation: the drawn end-diastolic lumen carried to end-systole."""

from __future__ import annotations

import pandas as pd

__all__ = ["ejection_fractions"]


def ejection_fractions(table: pd.DataFrame) -> pd.DataFrame:
    """Ejection fraction by patient, over the slices drawn at end-diastole and at end-systole.

    Slices are as thick as each other, so areas stand for volumes.

    Args:
        table: a row a registration: ``patient``, ``pathology``, ``direction``, ``missing``, and the areas in mm² of
            the drawn moving, the drawn fixed and the warped lumen, ``moving_mm2``, ``fixed_mm2``, ``warped_mm2``.

    Returns:
        a row a patient: ``patient``, ``pathology``, ``slices``; in %, ``drawn_ef`` by the lumen drawn at end-systole,
        ``followed_ef`` by the warped one; ``difference``, followed − drawn.
    """
    forward = table[(table["direction"] == "ED-ES") & ~table["missing"]]
    by_patient = forward.groupby(["patient", "pathology"], dropna=False, sort=False)
    areas = by_patient[["moving_mm2", "fixed_mm2", "warped_mm2"]].sum()
    found = pd.DataFrame({"slices": by_patient.size()})
    for name, end_systole in (("drawn_ef", "fixed_mm2"), ("followed_ef", "warped_mm2")):
        found[name] = 100 * (1 - areas[end_systole] / areas["moving_mm2"])
    found["difference"] = found["followed_ef"] - found["drawn_ef"]
    return found.reset_index()
