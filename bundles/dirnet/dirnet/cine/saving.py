"""A followed cine in files: masks, DICOM objects, tables, plots, an animation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from transforms.cine import scale_intensity
from transforms.cine_files import CineStack
from transforms.saved_masks import describe

from ..errors import InputError
from ..files.aside import write_set_aside
from ..files.dicom import write_segmentation, write_structure_set
from ..files.formats import OF_DICOM, followed_files, followed_formats
from ..files.nifti import write_image
from ..files.pictures import save_picture
from ..files.segments import write_segments
from ..files.tables import write_csv
from . import cine_table, curve_figure, save_animation
from .curves import volume_figure
from .follow import Followed
from .report import write_report

__all__ = ["LABELS", "WRITERS", "drawn_on", "save", "write_masks"]

logger = logging.getLogger(__name__)

LABELS = {"lumen": 1, "myocardium": 2, "rv": 3}
"""Values of masks of several structures: those of the preset ``mnms``."""
LABELLED = {"lumen": "lumen", "myocardium": "epicardium", "rv": "rv"}  # of which structure each value is a part


def save(
    followed: Followed,
    folder: Path,
    name: str,
    overwrite: bool = False,
    formats: Sequence[str] | None = None,
    *,
    weights: str = "unknown",
    patient_name: bool = False,
) -> list[Path]:
    """Write a followed cine as ``<name>_…`` in some formats: all files or none.

    ======== ==========================================================================================================
    masks    ``_masks.nii.gz`` of all frames, and ``_masks.json``, which says what they are
    seg      ``_segmentation.dcm``, a DICOM Segmentation; of a cine from DICOM files
    rtstruct ``_rtstruct.dcm``, a DICOM RT Structure Set; likewise
    slicer   ``_ed.seg.nrrd`` and ``_es.seg.nrrd``, end-diastole and end-systole as 3D Slicer's segmentations
    table    ``_cycle.csv`` and ``_numbers.json``
    pictures ``_cycle.png``, ``_strain.png`` and ``_cine.gif``, three slices as animation
    report   ``_report.html``, two pages to be read and printed
    ======== ==========================================================================================================

    Args:
        followed: by :func:`dirnet.cine.follow.follow`.
        folder, name: where, and how the files' names begin.
        overwrite: whether files that exist are replaced.
        formats: all that the cine can have, except ``slicer`` and ``report``, by default.
        weights: which are named in the report.
        patient_name: whether the patient is named in the report.

    Raises:
        InputError: when there is no such format, or the cine cannot have it.
        FileExistsError: before anything is written, when one of the files exists and may not be replaced.
    """
    chosen = followed_formats(formats, bool(followed.cine.files))
    if "slicer" in chosen:
        _check_even(followed.cine)
    names = followed_files(name, chosen)
    writers = WRITERS | {"report": partial(_report, weights=weights, patient_name=patient_name)}
    with write_set_aside(folder, names.values(), overwrite) as aside:
        paths = {result: aside / file for result, file in names.items()}
        for form in sorted(chosen, key=lambda form: form not in OF_DICOM):  # first those that can be refused
            writers[form](followed, paths)
    return [folder / file for file in names.values()]


Paths = Mapping[str, Path]  # of all files, by result


def _segmentation(followed: Followed, paths: Paths) -> None:
    cine, drawn = followed.cine, drawn_on(followed.drawn, followed.cine)
    write_segmentation(paths["segmentation.dcm"], followed.structures, cine.files, cine.frame_numbers, drawn)


def _structure_set(followed: Followed, paths: Paths) -> None:
    cine = followed.cine
    write_structure_set(paths["rtstruct.dcm"], followed.structures, cine.files, cine.frame_numbers)


def _masks(followed: Followed, paths: Paths) -> None:
    write_masks(paths["masks.nii.gz"], followed.structures, followed.cine)
    about = describe(paths["masks.nii.gz"], LABELS, followed.drawn, followed.authors)
    paths["masks.json"].write_text(json.dumps(about, indent=1) + "\n")


def _slicer(followed: Followed, paths: Paths) -> None:
    labels, grid = _labels(followed.structures, followed.cine), _grid(followed.cine)
    values = {label: LABELS[label] for label, structure in LABELLED.items() if structure in followed.structures}
    for phase, frame in (("ed", followed.function.ed), ("es", followed.function.es)):
        write_segments(paths[f"{phase}.seg.nrrd"], labels[:, frame or 0], values, grid)


def _table(followed: Followed, paths: Paths) -> None:
    slices = list(followed.slices)
    estimates = {number: result.estimated_dice for number, result in followed.slices.items()}
    table = cine_table(
        {
            name: {n: curves[n] for n in slices if np.isfinite(curves[n]).any()}
            for name, curves in followed.areas.items()
        },
        {name: curve.ml for name, curve in followed.volumes.items()},
        {number: followed.lengths[number] for number in slices if np.isfinite(followed.lengths[number]).any()},
        {"circumferential": followed.circumferential},
        followed.cine.times,
        estimates,
    )
    write_csv(paths["cycle.csv"], table)
    paths["numbers.json"].write_text(json.dumps(followed.numbers, indent=1) + "\n")


def _pictures(followed: Followed, paths: Paths) -> None:
    cine, function, slices = followed.cine, followed.function, list(followed.slices)
    save_picture(volume_figure(followed), paths["cycle.png"])
    strain = {"circumferential": followed.circumferential}
    save_picture(curve_figure(strain, "strain", "%", function.ed, function.es, cine.times), paths["strain.png"])
    shown = list(dict.fromkeys([slices[0], slices[len(slices) // 2], slices[-1]]))  # the errors are at base and apex
    frame_ms = max(20.0, float(np.diff(cine.times).mean())) if cine.times is not None else 50.0
    images = np.stack([scale_intensity(cine.images[number]) for number in shown])
    masks = {name: found[shown] for name, found in followed.structures.items()}
    titles = [f"slice {number}" for number in shown]
    marked = np.any([times[shown] for times in drawn_on(followed.drawn, followed.cine).values()], 0)
    save_animation(paths["cine.gif"], images, masks, marked, frame_ms, titles)


def _report(followed: Followed, paths: Paths, weights: str = "unknown", patient_name: bool = False) -> None:
    path = paths["report.html"]
    write_report(followed, path, path.name.removesuffix("_report.html"), weights, patient_name)


WRITERS: dict[str, Callable[[Followed, Paths], None]] = {
    "masks": _masks,
    "seg": _segmentation,
    "rtstruct": _structure_set,
    "slicer": _slicer,
    "table": _table,
    "pictures": _pictures,
    "report": _report,
}


def drawn_on(drawn: Mapping[str, Mapping[int, Sequence[int]]], cine: CineStack) -> dict[str, np.ndarray]:
    """Which frames were drawn on, (S, T) bool by structure, of those by structure and slice."""
    found = {}
    for structure, slices in drawn.items():
        found[structure] = np.zeros(cine.images.shape[:2], bool)
        for number, frames in slices.items():
            found[structure][number, list(frames)] = True
    return found


def write_masks(path: str | Path, masks: np.ndarray | Mapping[str, np.ndarray], cine: CineStack) -> None:
    """Write masks (S, T, H, W) of a cine as NIfTI, those of the lumen or by structure, with the values of
    :data:`LABELS`: in the layout of the cine's own file where that is NIfTI, else (x, y, slice, time) at the slices'
    place.

    NIfTI has one distance for all slices. Where they lie unequally far apart, and where a cine has no place, the file
    has none either: both codes are 0.

    The file appears whole or not at all.
    """
    labels = _labels(masks if isinstance(masks, Mapping) else {"lumen": masks}, cine)
    array = labels.transpose(1, 0, 2, 3)
    if cine.source is not None:
        image = sitk.GetImageFromArray(array if cine.source.GetDimension() == 4 else array[:, 0], isVector=False)
        image.CopyInformation(cine.source)
    else:
        image = sitk.GetImageFromArray(array, isVector=False)
        grid, times = _grid(cine), cine.times
        direction = np.eye(4)
        direction[:3, :3] = np.reshape(grid.GetDirection(), (3, 3))
        step = float(np.diff(times).mean()) if times is not None else 1000.0  # ms; NIfTI has seconds
        image.SetSpacing((*grid.GetSpacing(), step / 1000))
        image.SetOrigin((*grid.GetOrigin(), 0.0))
        image.SetDirection(direction.ravel().tolist())
    if not cine.even:
        logger.warning(
            "%s: has no place in space, for its slices lie unequally far apart, which NIfTI cannot say", Path(path).name
        )
    write_image(path, image, placed=cine.placed and cine.even)


def _labels(structures: Mapping[str, np.ndarray], cine: CineStack) -> np.ndarray:
    """A label image (S, T, H, W) with the values of :data:`LABELS`."""
    labels = np.zeros(cine.images.shape, np.uint8)
    for label in ("rv", "myocardium", "lumen"):  # each over the one before
        if LABELLED[label] in structures:
            labels[np.asarray(structures[LABELLED[label]], bool)] = LABELS[label]
    return labels


def _grid(cine: CineStack) -> sitk.Image:
    """A cine's slices as one volume (W, H, S) without content."""
    first = cine.grids[0]
    grid = sitk.Image([*first.GetSize()[:2], len(cine.grids)], sitk.sitkUInt8)
    grid.SetSpacing((*first.GetSpacing()[:2], cine.distance or first.GetSpacing()[2]))
    if cine.placed:
        grid.SetOrigin(first.GetOrigin())
        grid.SetDirection(first.GetDirection())
    return grid


def _check_even(cine: CineStack) -> None:
    if not cine.even:
        raise InputError(
            "the format slicer needs slices that are equally far apart, and the cine's are not; its DICOM Segmentation "
            "has the place of each"
        )
