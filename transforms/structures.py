"""Structures of the heart, and which value of a label image stands for which.

A drawing is a mapping from a structure's name to its mask: ``lumen`` (blood pool of the left ventricle),
``epicardium`` (all inside the left ventricle's epicardium), ``rv`` (blood pool of the right ventricle). What is not
drawn is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from .errors import InputError
from .values import listed

__all__ = ["PRESETS", "STRUCTURES", "Labels", "from_labels", "from_segments", "parse_labels"]

Labels = str | Mapping[str, int] | None
STRUCTURES = ("lumen", "epicardium", "rv")

PRESETS = {
    "acdc": {"rv": 1, "myocardium": 2, "lumen": 3},
    "mnms": {"lumen": 1, "myocardium": 2, "rv": 3},
}
LABELLED = ("lumen", "myocardium", "epicardium", "rv")


def parse_labels(labels: Labels) -> dict[str, int] | None:
    """Values by structure, of a preset's name, "lumen=3,myocardium=2,rv=1" or such a mapping; None stays None.

    Raises:
        InputError: when it is none of these, names no lumen, or gives two structures one value.
    """
    if labels is None:
        return None
    expected = f"labels: expected {', '.join(PRESETS)}, or values such as lumen=3,myocardium=2,rv=1"
    if isinstance(labels, str):
        if labels in PRESETS:
            return dict(PRESETS[labels])
        texts = [part.partition("=")[::2] for part in labels.split(",")]
        if not all(value.strip().isdecimal() for _, value in texts):
            raise InputError(f"{expected}, found {labels!r}")
        count, values = len(texts), {name.strip(): int(value) for name, value in texts}
    else:
        count, values = len(labels), dict(labels)
    if not set(values) <= set(LABELLED) or len(set(map(repr, values.values()))) < count:
        raise InputError(f"{expected}, each of {', '.join(LABELLED)} once; found {labels!r}")
    if "lumen" not in values or not all(type(value) is int and value > 0 for value in values.values()):
        raise InputError(f"{expected}, with a lumen and values above 0; found {labels!r}")
    if "myocardium" in values and "epicardium" in values:
        raise InputError(f"{expected}, with myocardium (the wall) or epicardium, not both; found {labels!r}")
    return values


def from_labels(
    image: np.ndarray,
    labels: Labels,
    name: str | Path,
    names: Mapping[int, str] | None = None,
    lumen_needed: bool = True,
) -> dict[str, np.ndarray]:
    """Masks by structure, bool, of a label image of any shape, 0 where nothing is drawn.

    Arguments, result and errors as of :func:`from_segments`; InputError too when values are no whole numbers.
    """
    values = np.unique(image[image != 0]).tolist()
    if labels is not None and any(value % 1 for value in values):
        raise InputError(f"{name}: expected whole numbers as labels, found {listed(values)}")
    masks = {value: partial(np.equal, image, value) for value in values}
    return _named(masks, labels, name, names or {}, lumen_needed)


def from_segments(
    segments: Mapping[int, np.ndarray],
    labels: Labels,
    name: str | Path,
    names: Mapping[int, str] | None = None,
    lumen_needed: bool = True,
) -> dict[str, np.ndarray]:
    """Masks by structure, bool, of masks by number, which may overlap.

    Args:
        segments: those in which something is drawn, of one shape. Without ``labels`` there is one, the lumen.
        labels: see :func:`parse_labels`. Numbers that they do not name are passed over.
        name: of the file, in errors.
        names: what the file calls its numbers, for errors.
        lumen_needed: whether to refuse what has no lumen; a slice of a heart may have none.

    Returns:
        the lumen first; then those of epicardium, with all of lumen and myocardium, and rv that are drawn.

    Raises:
        InputError: when there are several without ``labels``, or the lumen's is not among them.
    """
    return _named(
        {number: partial(np.asarray, mask) for number, mask in segments.items()},
        labels,
        name,
        names or {},
        lumen_needed,
    )


def _named(
    masks: Mapping[float, Callable[[], np.ndarray]],
    labels: Labels,
    name: str | Path,
    names: Mapping[int, str],
    lumen_needed: bool,
) -> dict[str, np.ndarray]:
    known, said = parse_labels(labels), listed(list(masks), names)
    if known is None:
        if len(masks) > 1:
            raise InputError(
                f"{name}: expected the mask of one structure, 0 and one other value; found 0 and {said}: "
                "which is the lumen? --labels lumen=VALUE, or acdc, or mnms"
            )
        (lumen,) = masks.values()
        return {"lumen": lumen()}
    if lumen_needed and known["lumen"] not in masks:
        raise InputError(f"{name}: nothing has the lumen's value, {known['lumen']}; it holds {said}")
    drawn = {structure: masks[value]() for structure, value in known.items() if value in masks}
    walls = [drawn.pop(wall) for wall in ("myocardium", "epicardium") if wall in drawn]
    if walls:
        drawn["epicardium"] = walls[0] | drawn["lumen"] if "lumen" in drawn else walls[0]
    return {structure: drawn[structure] for structure in STRUCTURES if structure in drawn}
