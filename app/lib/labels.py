"""Which value of a label is which structure, as this server and its clients say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from dirnet.cine.saving import LABELS
from transforms.nifti_files import is_nifti, read_nifti
from transforms.structures import TITLES

__all__ = ["NAMES", "labels_of"]

NAMES = {TITLES[structure].lower(): value for structure, value in LABELS.items()}
"""Values by name: what the server tells its clients, and writes itself."""


def labels_of(label: str | Path, info: Mapping[str, Any]) -> dict[str, int] | None:
    """Values by structure of a label that a client drew; None where the file itself says them, or has one value that
    is none of the server's: that is the lumen.

    Args:
        label: NIfTI, which has no names; of other files None.
        info: of the label; 3D Slicer's module names in its ``label_info`` the segments by value.
    """
    if not is_nifti(Path(label)):
        return None
    named = {str(part.get("name")).lower(): part.get("idx") for part in _parts(info)}
    values = {structure: named[TITLES[structure].lower()] for structure in LABELS if TITLES[structure].lower() in named}
    if "lumen" in values and all(type(value) is int and value > 0 for value in values.values()):
        return values
    found = np.unique(sitk.GetArrayFromImage(read_nifti(label).image))
    return dict(LABELS) if set(found.tolist()) <= {0, *LABELS.values()} else None


def _parts(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = info.get("label_info")
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
