"""First contours in files: masks, what they are, and a picture of all slices to look at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from transforms.authors import UNSEEN, as_authors
from transforms.cine import scale_intensity
from transforms.cine_files import CineStack
from transforms.saved_masks import describe

from ..files.aside import write_set_aside
from ..files.formats import first_files
from ..files.pictures import save_picture, window_around
from .saving import LABELS, write_masks

__all__ = ["authors_of_first", "drawn_figure", "on_frame", "save_first"]

COLOURS = {"lumen": "#F0E442", "epicardium": "#56B4E9"}
MARGIN = 1.6  # sides of the windows shown, in those of what is drawn


def save_first(
    drawn: Mapping[str, np.ndarray], cine: CineStack, frame: int, folder: Path, name: str, overwrite: bool = False
) -> list[Path]:
    """Write ``<name>_first_contours`` as NIfTI of all frames, drawn on one, as JSON, what these are, and as PNG.

    ``dirnet propagate`` and :func:`transforms.drawings.read_keyframes` read the NIfTI, and the frame with it.

    Args:
        drawn: (S, H, W) bool by structure, see :meth:`dirnet.first_contours.FirstContours.draw`.
        cine, frame: on which.
        folder: where the files go.
        name: how theirs begin.
        overwrite: whether files that exist may be replaced.

    Raises:
        FileExistsError: before anything is written, when one of the files exists and may not be replaced.
    """
    names = first_files(name)
    structures = on_frame(drawn, cine, frame)
    slices = {
        structure: {int(number): [frame] for number in np.flatnonzero(masks.any((1, 2)))}
        for structure, masks in drawn.items()
    }
    with write_set_aside(folder, names.values(), overwrite) as aside:
        paths = {result: aside / file for result, file in names.items()}
        write_masks(paths["nii.gz"], structures, cine)
        about = describe(paths["nii.gz"], LABELS, slices, authors_of_first(structures))
        paths["json"].write_text(json.dumps(about, indent=1) + "\n")
        save_picture(drawn_figure(cine.images[:, frame], drawn), paths["png"])
    return [folder / file for file in names.values()]


def on_frame(drawn: Mapping[str, np.ndarray], cine: CineStack, frame: int) -> dict[str, np.ndarray]:
    """Masks (S, T, H, W) of a cine that are drawn on one frame, as :func:`dirnet.cine.follow.follow` takes them."""
    structures = {}
    for structure, masks in drawn.items():
        structures[structure] = np.zeros(cine.images.shape, bool)
        structures[structure][:, frame] = masks
    return structures


def authors_of_first(drawn: Mapping[str, np.ndarray]) -> dict[str, dict[int, dict[int, str]]]:
    """Of masks (S, T, H, W) that a network drew, and nobody has looked at."""
    return as_authors(
        (structure, number, frame, UNSEEN)
        for structure, masks in drawn.items()
        for number, frame in np.argwhere(masks.any((2, 3))).tolist()
    )


def drawn_figure(images: np.ndarray, drawn: Mapping[str, np.ndarray], columns: int = 5) -> Figure:
    """Slices (S, H, W) near what is drawn on them, (S, H, W) by structure, with its contours."""
    anywhere = np.logical_or.reduce(list(drawn.values())).any(0)
    extent = max(int(np.ptp(where)) + 1 for where in np.nonzero(anywhere))
    shown = window_around(anywhere, anywhere.shape, round(MARGIN * extent))
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    for number, ax in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        ax.axis("off")
        if number >= len(images):
            continue
        ax.imshow(scale_intensity(images[number][shown], (1, 99)), cmap="gray", vmin=0, vmax=1)
        found = {structure: masks[number][shown] for structure, masks in drawn.items() if masks[number].any()}
        for structure, mask in found.items():
            ax.contour(mask, levels=[0.5], colors=COLOURS.get(structure, "w"), linewidths=1.0)
        ax.set_title(f"slice {number}" + ("" if found else ": nothing"), fontsize=9)
    return figure
