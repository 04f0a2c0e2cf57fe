"""What was drawn on one frame of a whole cine, on all of them: masks, volumes, strain, and their files."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from transforms.cine import scale_intensity
from transforms.cine_files import CineStack

from ..errors import InputError
from ..files.aside import write_set_aside
from ..files.dicom import write_segmentation, write_structure_set
from ..files.formats import followed_files
from ..files.nifti import write_image
from ..files.pictures import save_picture
from ..files.tables import write_csv
from ..registrar import Registrar
from ..registration import Propagation
from . import (
    VentricularFunction,
    VolumeCurve,
    areas,
    cine_table,
    cine_volume,
    circumferential_strain,
    contour_lengths,
    curve_figure,
    save_animation,
    ventricular_function,
)
from .plausibility import doubtful_slices, warnings_of

logger = logging.getLogger(__name__)

__all__ = ["Followed", "follow", "save", "write_masks"]


@dataclass(frozen=True, eq=False)
class Followed:
    """A left ventricle's lumen through a cycle.

    Attributes:
        cine: as it was read.
        frame: on which it was drawn.
        slices: by number, those on which it was drawn.
        masks: (S, T, H, W) bool; empty on the other slices.
        areas: (S, T) mm², nan on the other slices; 0 where the lumen has closed.
        lengths: (S, T) mm of the contours, as ``areas``.
        volume: over the cycle; None where the distance between slices is unknown.
        function: by the volume, or without one by the area of all slices together: then its frames alone hold.
        circumferential: (T,) strain of the contours of all slices together, in %, from end-diastole.
    """

    cine: CineStack
    frame: int
    slices: dict[int, Propagation]
    masks: np.ndarray
    areas: np.ndarray
    lengths: np.ndarray
    volume: VolumeCurve | None
    function: VentricularFunction
    circumferential: np.ndarray

    @property
    def numbers(self) -> dict[str, Any]:
        """What the cycle says, for a table or a report; None for what could not be measured."""
        function = {key: _number(value) for key, value in dataclasses.asdict(self.function).items()}
        numbers: dict[str, Any] = {
            "drawn_on_frame": self.frame,
            "slices": len(self.masks),
            "slices_drawn": len(self.slices),
            "slice_distances_mm": self._distances,
            "end_diastolic_frame": function["ed"],
            "end_systolic_frame": function["es"],
        }
        names = {
            "edv": "end_diastolic_volume_ml",
            "esv": "end_systolic_volume_ml",
            "stroke_volume": "stroke_volume_ml",
            "ejection_fraction": "ejection_fraction_percent",
        }
        for key, name in names.items():
            numbers[name] = function[key] if self.volume is not None else None
        curve = self.circumferential
        peak = curve[np.nanargmax(np.abs(curve))] if np.isfinite(curve).any() else np.nan
        numbers["peak_circumferential_strain_percent"] = _number(peak)
        folded = max(float(result.folded_percent.max()) for result in self.slices.values())
        numbers["folded_percent"] = round(folded, 4)
        lowest = min(float(result.estimated_dice.min()) for result in self.slices.values())
        numbers["lowest_estimated_dice"] = _number(lowest)
        numbers["slices_to_look_at"] = doubtful_slices(self)
        numbers["warnings"] = warnings_of(self)
        return numbers

    @property
    def _distances(self) -> list[float] | None:
        """Between the middles of neighbouring slices, as the volumes have them; of one slice its own height."""
        positions, distance = self.cine.positions, self.cine.distance
        if positions is not None:
            return np.diff(positions).round(2).tolist()
        return None if distance is None else [round(distance, 2)]


def follow(registrar: Registrar, cine: CineStack, drawn: np.ndarray, frame: int) -> Followed:
    """Follow what was drawn on one frame, slice by slice.

    Args:
        registrar: that registers the frames.
        cine: of S slices.
        drawn: (S, H, W) bool; slices without are passed over.
        frame: on which it was drawn, from 0.

    Raises:
        ValueError: when there is no such frame, or nothing is drawn.
    """
    slices = {
        number: registrar.propagate(cine.images[number], mask, frame) for number, mask in enumerate(drawn) if mask.any()
    }
    if not slices:
        raise InputError("nothing is drawn on any slice")
    masks = np.zeros(cine.images.shape, bool)
    area, length = (np.full(masks.shape[:2], np.nan) for _ in range(2))
    for number, result in slices.items():
        masks[number] = result.masks
        # empty where drawn before: it has closed
        area[number] = np.nan_to_num(areas(result.masks, cine.spacing))
        length[number] = np.nan_to_num(contour_lengths(result.masks, cine.spacing))
    volume = cine_volume(area, cine)
    function = ventricular_function(np.nansum(area, 0) if volume is None else volume.ml)
    ed = frame if function.ed is None else function.ed
    circumferential = circumferential_strain(length, ed)
    return Followed(cine, frame, slices, masks, area, length, volume, function, circumferential)


def save(followed: Followed, folder: Path, name: str, overwrite: bool = False) -> list[Path]:
    """Write ``<name>_…``: masks, a table of the cycle, its numbers, plots, three slices as animation; of a cine from
    DICOM files a DICOM Segmentation and RT Structure Set too. All files appear, or none.

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
        write_segmentation(paths["segmentation.dcm"], followed.masks, cine.files, cine.frame_numbers)
        write_structure_set(paths["rtstruct.dcm"], followed.masks, cine.files, cine.frame_numbers)
    write_masks(paths["masks.nii.gz"], followed.masks, cine)
    drawn_areas = {number: followed.areas[number] for number in followed.slices}
    ml = None if followed.volume is None else followed.volume.ml
    lengths = {number: followed.lengths[number] for number in followed.slices}
    estimates = {number: result.estimated_dice for number, result in followed.slices.items()}
    strain = {"circumferential": followed.circumferential}
    table = cine_table(drawn_areas, ml, lengths, strain, cine.times, estimates)
    write_csv(paths["cycle.csv"], table)
    paths["numbers.json"].write_text(json.dumps(followed.numbers, indent=1) + "\n")
    if ml is not None:
        figure = curve_figure({"LV volume": ml}, "LV volume", "ml", function.ed, function.es, cine.times)
    else:
        curves = {f"slice {number}": area / 100 for number, area in drawn_areas.items()}
        figure = curve_figure(curves, "lumen area", "cm²", function.ed, function.es, cine.times)
    save_picture(figure, paths["cycle.png"])
    save_picture(curve_figure(strain, "strain", "%", function.ed, function.es, cine.times), paths["strain.png"])
    drawn = list(followed.slices)
    shown = list(dict.fromkeys([drawn[0], drawn[len(drawn) // 2], drawn[-1]]))  # the errors are at base and apex
    frame_ms = max(20.0, float(np.diff(cine.times).mean())) if cine.times is not None else 50.0
    images = np.stack([scale_intensity(cine.images[number]) for number in shown])
    titles = [f"slice {number}" for number in shown]
    save_animation(paths["cine.gif"], images, followed.masks[shown], followed.frame, frame_ms, titles)


def write_masks(path: str | Path, masks: np.ndarray, cine: CineStack) -> None:
    """Write masks (S, T, H, W) of a cine as NIfTI, 0 and 1: in the layout of the cine's own file where that is NIfTI,
    else (x, y, slice, time) at the slices' place.

    NIfTI has one distance for all slices. Where they lie unequally far apart, and where a cine has no place, the file
    has none either: both codes are 0.

    The file appears whole or not at all.
    """
    array = masks.astype(np.uint8).transpose(1, 0, 2, 3)
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


def _number(value: float | int | None) -> float | int | None:
    if value is None or isinstance(value, int | np.integer):
        return None if value is None else int(value)
    return None if np.isnan(value) else round(float(value), 2)
