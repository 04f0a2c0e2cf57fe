"""What was measured on a cine as a table, one row a frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

__all__ = ["cine_table"]


def cine_table(
    areas: Mapping[str, Mapping[int, ArrayLike]],
    ml: Mapping[str, ArrayLike] | None = None,
    lengths: Mapping[int, ArrayLike] | None = None,
    strains: Mapping[str, ArrayLike] | None = None,
    times: ArrayLike | None = None,
    estimated_dice: Mapping[int, ArrayLike] | None = None,
) -> pd.DataFrame:
    """Columns ``frame`` (from 0), ``time_ms``, ``volume_ml``, ``<name>_strain_percent``, and for each slice
    ``slice_<number>_area_mm2``, ``slice_<number>_contour_mm`` and ``slice_<number>_estimated_dice``. Volumes and areas
    without a name before them are the lumen's; of others the columns begin with the structure.

    Args:
        areas: (T,) in mm² by structure and number of the slice, as from :func:`dirnet.cine.areas`.
        ml: (T,) volumes by structure; no columns without.
        lengths: (T,) in mm by number of the slice, as from :func:`dirnet.cine.contour_lengths`; no columns without.
        strains: (T,) in % by name, such as ``circumferential``; no columns without.
        estimated_dice: (T,) by number of the slice, see :mod:`dirnet.trust`; no columns without.
        times: (T,) of the frames in ms; no column without.

    Raises:
        ValueError: when there is no curve, or one is not as long as the others.
    """
    columns: dict[str, ArrayLike] = {}
    if times is not None:
        columns["time_ms"] = times
    for structure, curve in (ml or {}).items():
        columns[f"{_prefix(structure)}volume_ml"] = curve
    for name, curve in (strains or {}).items():
        columns[f"{name}_strain_percent"] = curve
    for structure, curves in areas.items():
        for number, curve in curves.items():
            columns[f"{_prefix(structure)}slice_{number}_area_mm2"] = curve
    for number, curve in (lengths or {}).items():
        columns[f"slice_{number}_contour_mm"] = curve
    for number, curve in (estimated_dice or {}).items():
        columns[f"slice_{number}_estimated_dice"] = curve
    shapes = {name: np.shape(curve) for name, curve in columns.items()}
    if not shapes or len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected curves (T,) of one length, got {shapes}")
    table = pd.DataFrame({name: np.asarray(curve, float) for name, curve in columns.items()})
    table.insert(0, "frame", np.arange(len(table)))
    return table


def _prefix(structure: str) -> str:
    return "" if structure == "lumen" else f"{structure}_"
