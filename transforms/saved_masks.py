"""What stands beside masks that this project saved: which value is which structure, where it was drawn, and by whom.

Masks in NIfTI say neither. ``<name>_masks.json`` beside ``<name>_masks.nii.gz`` does, so that saved work can be opened
again: what was drawn as drawn, and what was followed from it followed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .authors import MENDED, Authors, as_authors, entries, parse_authors
from .errors import InputError
from .structures import parse_labels

__all__ = ["SavedMasks", "describe", "is_described_by", "read_saved", "sidecar"]


@dataclass(frozen=True)
class SavedMasks:
    """
    Attributes:
        labels: value by structure.
        drawn: frames that were drawn on by hand, by structure and slice; empty where the masks have changed since.
        authors: of those that were not drawn by the reader alone; mended, where the masks have changed since.
        changed: whether they have.
    """

    labels: dict[str, int]
    drawn: dict[str, dict[int, list[int]]]
    authors: Authors
    changed: bool

    def only_drawn(self, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Masks (S, T, H, W) by structure, of the frames that were drawn on alone."""
        kept = {}
        for structure, frames in self.drawn.items():
            if structure in masks:
                kept[structure] = np.zeros_like(masks[structure])
                for number, times in frames.items():
                    kept[structure][number, times] = masks[structure][number, times]
        return kept


def sidecar(masks: Path) -> Path:
    """The file beside saved masks, ``a_masks.json`` of ``a_masks.nii.gz``."""
    return masks.with_name(masks.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def describe(
    masks: Path, labels: Mapping[str, int], drawn: Mapping[str, Mapping[int, list[int]]], authors: Authors
) -> dict[str, Any]:
    """What to write beside masks that have just been written."""
    return {"labels": dict(labels), "drawn": drawn, "by": authors, "sha256": _digest(masks)}


def is_described_by(masks: Path, path: Path) -> bool:
    """Whether what stands in a file of :func:`describe`, if there is one, is of these masks, wherever they lie now."""
    try:
        return path.is_file() and bool(json.loads(path.read_text())["sha256"] == _digest(masks))
    except (KeyError, TypeError, ValueError):
        return False


def read_saved(masks: Path, shape: tuple[int, int]) -> SavedMasks | None:
    """What stands beside masks; None where nothing does.

    Args:
        masks: of NIfTI.
        shape: slices and frames of the cine that they belong to.

    Raises:
        InputError: when it cannot be understood.
    """
    path = sidecar(masks)
    if path == masks or not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        labels = parse_labels(found["labels"])
        drawn = {
            str(structure): {
                _index(number, shape[0]): [_index(time, shape[1]) for time in times] for number, times in slices.items()
            }
            for structure, slices in found["drawn"].items()
        }
        authors = parse_authors(found.get("by", {}), shape)
        same = found["sha256"] == _digest(masks)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: expected labels and drawn frames of {masks.name}, as saved beside it; or no such file ({error})"
        ) from error
    if same:
        return SavedMasks(labels or {}, drawn, authors, changed=False)
    mended = as_authors((structure, number, frame, MENDED) for structure, number, frame, _ in entries(authors))
    return SavedMasks(labels or {}, {}, mended, changed=True)


def _index(value: Any, count: int) -> int:
    if not 0 <= int(value) < count:
        raise ValueError(f"{value} is not 0 to {count - 1}")
    return int(value)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
