"""A followed cine in files: masks, DICOM objects, tables, plots, an animation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure

from transforms.cine import scale_intensity
from transforms.cine_files import CineStack
from transforms.saved_masks import describe

from ..files.aside import write_set_aside
from ..files.dicom import write_segmentation, write_structure_set
from ..files.formats import followed_files
from ..files.nifti import write_image
from ..files.pictures import save_picture
from ..files.tables import write_csv
from . import cine_table, curve_figure, save_animation
from .follow import Followed

__all__ = ["LABELS", "save", "write_masks"]

logger = logging.getLogger(__name__)

LABELS = {"lumen": 1, "myocardium": 2, "rv": 3}
"""Values of masks of several structures: those of the preset ``mnms``."""


def save(followed: Followed, folder: Path, name: str, overwrite: bool = False) -> list[Path]:
    """Write ``<name>_…``: masks and what they are, a table of the cycle, its numbers, plots, three slices as animation;
    of a cine from DICOM files a DICOM Segmentation and RT Structure Set too. All files appear, or none.

    Raises:
        FileExistsError: before anything is written, when one of the files exists and may not be replaced.
    """
    names = followed_files(name, bool(followed.cine.files))
    with write_set_aside(folder, names.values(), overwrite) as aside:
        _write(followed, {result: aside / name for result, name in names.items()})
    return [folder / name for name in names.values()]


def _write(followed: Followed, paths: dict[str, Path]) -> None:
    """Each result to its path."""
    cine, function = followed.cine, followed.function
    if cine.files:  # first: those that can be refused
        drawn = _drawn_frames(followed)
        write_segmentation(paths["segmentation.dcm"], followed.structures, cine.files, cine.frame_numbers, drawn)
        write_structure_set(paths["rtstruct.dcm"], followed.structures, cine.files, cine.frame_numbers)
    write_masks(paths["masks.nii.gz"], followed.structures, cine)
    about = describe(paths["masks.nii.gz"], LABELS, followed.drawn)
    paths["masks.json"].write_text(json.dumps(about, indent=1) + "\n")
    slices = list(followed.slices)
    estimates = {number: result.estimated_dice for number, result in followed.slices.items()}
    strain = {"circumferential": followed.circumferential}
    table = cine_table(
        {
            name: {n: curves[n] for n in slices if np.isfinite(curves[n]).any()}
            for name, curves in followed.areas.items()
        },
        {name: curve.ml for name, curve in followed.volumes.items()},
        {number: followed.lengths[number] for number in slices if np.isfinite(followed.lengths[number]).any()},
        strain,
        cine.times,
        estimates,
    )
    write_csv(paths["cycle.csv"], table)
    paths["numbers.json"].write_text(json.dumps(followed.numbers, indent=1) + "\n")
    save_picture(_curves(followed), paths["cycle.png"])
    save_picture(curve_figure(strain, "strain", "%", function.ed, function.es, cine.times), paths["strain.png"])
    shown = list(dict.fromkeys([slices[0], slices[len(slices) // 2], slices[-1]]))  # the errors are at base and apex
    frame_ms = max(20.0, float(np.diff(cine.times).mean())) if cine.times is not None else 50.0
    images = np.stack([scale_intensity(cine.images[number]) for number in shown])
    masks = {name: found[shown] for name, found in followed.structures.items()}
    titles = [f"slice {number}" for number in shown]
    drawn_on = np.any([times[shown] for times in _drawn_frames(followed).values()], 0)
    save_animation(paths["cine.gif"], images, masks, drawn_on, frame_ms, titles)


def _drawn_frames(followed: Followed) -> dict[str, np.ndarray]:
    """Which frames were drawn on, (S, T) bool by structure."""
    found = {}
    for structure, slices in followed.drawn.items():
        found[structure] = np.zeros(followed.cine.images.shape[:2], bool)
        for number, frames in slices.items():
            found[structure][number, frames] = True
    return found


def _curves(followed: Followed) -> Figure:
    function, times = followed.function, followed.cine.times
    if followed.volumes:
        names = {"lumen": "LV", "epicardium": "LV with wall", "rv": "RV"}
        curves = {f"{names[name]} volume": curve.ml for name, curve in followed.volumes.items()}
        quantity = next(iter(curves)) if len(curves) == 1 else "volume"
        return curve_figure(curves, quantity, "ml", function.ed, function.es, times)
    name, areas = next(iter(followed.areas.items()))
    curves = {f"slice {number}": areas[number] / 100 for number in followed.slices if np.isfinite(areas[number]).any()}
    return curve_figure(curves, f"{name} area", "cm²", function.ed, function.es, times)


def write_masks(path: str | Path, masks: np.ndarray | Mapping[str, np.ndarray], cine: CineStack) -> None:
    """Write masks (S, T, H, W) of a cine as NIfTI, those of the lumen or by structure, with the values of
    :data:`LABELS`: in the layout of the cine's own file where that is NIfTI, else (x, y, slice, time) at the slices'
    place.

    NIfTI has one distance for all slices. Where they lie unequally far apart, and where a cine has no place, the file
    has none either: both codes are 0.

    The file appears whole or not at all.
    """
    structures = masks if isinstance(masks, Mapping) else {"lumen": masks}
    labels = np.zeros(cine.images.shape, np.uint8)
    for structure, label in (
        ("rv", "rv"),
        ("epicardium", "myocardium"),
        ("lumen", "lumen"),
    ):  # each over the one before
        if structure in structures:
            labels[np.asarray(structures[structure], bool)] = LABELS[label]
    array = labels.transpose(1, 0, 2, 3)
    if cine.source is not None:
        image = sitk.GetImageFromArray(array if cine.source.GetDimension() == 4 else array[:, 0], isVector=False)
        image.CopyInformation(cine.source)
    else:
        image = sitk.GetImageFromArray(array, isVector=False)
        first, times = cine.grids[0], cine.times
        direction = np.eye(4)
        direction[:3, :3] = np.reshape(first.GetDirection(), (3, 3))
        step = float(np.diff(times).mean()) if times is not None else 1000.0  # ms; NIfTI has seconds
        image.SetSpacing((*first.GetSpacing()[:2], cine.distance or first.GetSpacing()[2], step / 1000))
        image.SetOrigin((*first.GetOrigin(), 0.0))
        image.SetDirection(direction.ravel().tolist())
    if not cine.even:
        logger.warning(
            "%s: has no place in space, for its slices lie unequally far apart, which NIfTI cannot say", Path(path).name
        )
    write_image(path, image, placed=cine.placed and cine.even)
