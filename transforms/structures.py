"""Structures of the heart, and which value of a label image stands for which.

A drawing is a mapping from a structure's name to its mask: ``lumen`` (blood pool of the left ventricle),
``epicardium`` (all inside the left ventricle's epicardium), ``rv`` (blood pool of the right ventricle). What is not
drawn is absent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .errors import InputError
from .values import listed

__all__ = [
    "LABELLED",
    "PRESETS",
    "STRUCTURES",
    "TITLES",
    "Labels",
    "drawing_file",
    "from_labels",
    "from_segments",
    "merge_walls",
    "parse_labels",
]

logger = logging.getLogger(__name__)

Labels = str | Mapping[str, int] | None
STRUCTURES = ("lumen", "epicardium", "rv")

PRESETS = {
    "acdc": {"rv": 1, "myocardium": 2, "lumen": 3},
    "mnms": {"lumen": 1, "myocardium": 2, "rv": 3},
}
LABELLED = ("lumen", "myocardium", "epicardium", "rv")
TITLES = {
    "lumen": "Left ventricle lumen",
    "myocardium": "Left ventricle myocardium",
    "epicardium": "Left ventricle epicardium",
    "rv": "Right ventricle lumen",
}
"""What the files that are written call them."""
SAID = {  # what others call them, in lower case; and TITLES
    "lumen": ("lumen", "lv lumen", "lv endocardium", "lv endo", "lv cavity", "lv blood pool", "endocardium"),
    "myocardium": ("myocardium", "lv myocardium", "lv wall", "myo", "lv myo"),
    "epicardium": ("epicardium", "lv epicardium", "lv epi"),
    "rv": ("rv", "right ventricle", "rv lumen", "rv endocardium", "rv endo", "rv cavity", "rv blood pool"),
}


def drawing_file(text: str | Path) -> tuple[str | None, Path]:
    """The structure and the file of ``STRUCTURE=FILE``, or None and the file of all else."""
    structure, _, file = str(text).partition("=")
    if structure in LABELLED and file and not Path(text).is_file():
        return structure, Path(file)
    return None, Path(text)


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
        segments: those in which something is drawn, (S, T, H, W), or (S, 1, H, W) without time. Without ``labels``
            there is one, the lumen.
        labels: see :func:`parse_labels`. Numbers that they do not name are passed over.
        name: of the file, in errors.
        names: what the file calls its numbers, for errors.
        lumen_needed: whether to refuse what has no lumen; a slice of a heart may have none.

    Returns:
        the lumen first; then those of epicardium, with all of lumen and myocardium, and rv that are drawn.

    Raises:
        InputError: when there are several without ``labels``; the lumen's is not among them; or of lumen and wall one
            has a time, (S, T, H, W), and the other has none, (S, 1, H, W).
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
        known = _by_name(list(masks), names)
        if known is not None and (others := [value for value in masks if value not in known.values()]):
            read = listed(list(known.values()), names)
            logger.warning("%s: read by their names: %s; passed over: %s", name, read, listed(others, names))
    if known is None:
        if len(masks) > 1:
            raise InputError(
                f"{name}: expected the mask of one structure, 0 and one other value; found 0 and {said}: "
                "which is the lumen? --labels lumen=VALUE, or acdc, or mnms"
            )
        (lumen,) = masks.values()
        return {"lumen": lumen()}
    if lumen_needed and known.get("lumen") not in masks:
        value = f", {known['lumen']}" if "lumen" in known else ""
        raise InputError(f"{name}: nothing has the lumen's value{value}; it holds {said}")
    drawn = {structure: masks[value]() for structure, value in known.items() if value in masks}
    left = {structure: mask.shape for structure, mask in drawn.items() if structure != "rv"}
    if len(set(left.values())) > 1:
        raise InputError(
            f"{name}: of {' and '.join(left)} one says on which frames it was drawn, the other does not; expected both "
            "to say it, or none"
        )
    return merge_walls(drawn)


def merge_walls(drawn: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Masks (..., H, W) of STRUCTURES from those of LABELLED: the epicardium is wall and lumen together, on images on
    which the wall is drawn."""
    masks = dict(drawn)
    walls = [masks.pop(wall) for wall in ("myocardium", "epicardium") if wall in masks]
    if walls:
        whole = np.logical_or.reduce(walls)
        there = whole.any((-2, -1), keepdims=True)
        masks["epicardium"] = whole | (masks["lumen"] & there) if "lumen" in masks else whole
    return {structure: masks[structure] for structure in STRUCTURES if structure in masks}


def _by_name(values: Sequence[float], names: Mapping[int, str]) -> dict[str, int] | None:
    """Values by structure where a file's own names say it of the lumen or of all; None where they don't."""
    known: dict[str, int] = {}
    for value in values:
        said = names.get(int(value), "").strip().lower().replace("_", " ")
        for structure, others in SAID.items():
            if said in others or said == TITLES[structure].lower():
                if structure in known:
                    return None
                known[structure] = int(value)
    return known if "lumen" in known or 0 < len(known) == len(values) else None
