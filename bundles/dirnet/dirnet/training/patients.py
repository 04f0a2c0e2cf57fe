"""What an evaluation says of each patient: the drawn end-diastolic lumen carried to end-systole, and drawn there."""

from __future__ import annotations

import pandas as pd

__all__ = ["MEASUREMENTS", "by_patient"]

# in %, the change of an amount from end-diastole to end-systole, summed over the slices: its name, amount and sign
MEASUREMENTS = {"ef": ("ejection fraction", "mm2", -1), "strain": ("circumferential strain", "mm", 1)}


def by_patient(table: pd.DataFrame) -> pd.DataFrame:
    """Ejection fraction and endocardial circumferential strain by patient, over the slices drawn at both phases.

    Slices are as thick as each other, so areas stand for volumes. Strain is the change in length of all contours
    together, see :mod:`dirnet.cine.contour_length`.

    Args:
        table: a row a registration: ``patient``, ``pathology``, ``direction``, ``missing``, and area in mm² and length
            in mm of the contours drawn on the moving and the fixed frame and of the warped one: ``moving_mm2``,
            ``fixed_mm2``, ``warped_mm2``, ``moving_mm``, ``fixed_mm``, ``warped_mm``.

    Returns:
        a row a patient: ``patient``, ``pathology``, ``slices``; in %, ``drawn_ef`` by the lumen drawn at end-systole,
        ``followed_ef`` by the warped one, ``ef_difference``, followed − drawn; the same of ``strain``.
    """
    forward = table[(table["direction"] == "ED-ES") & ~table["missing"]]
    groups = forward.groupby(["patient", "pathology"], dropna=False, sort=False)
    found = pd.DataFrame({"slices": groups.size()})
    for name, (_, amount, sign) in MEASUREMENTS.items():
        sums = groups[[f"{mask}_{amount}" for mask in ("moving", "fixed", "warped")]].sum()
        for way, mask in (("drawn", "fixed"), ("followed", "warped")):
            found[f"{way}_{name}"] = sign * 100 * (sums[f"{mask}_{amount}"] / sums[f"moving_{amount}"] - 1)
        found[f"{name}_difference"] = found[f"followed_{name}"] - found[f"drawn_{name}"]
    return found.reset_index()
