"""What was drawn on a whole cine, on all its frames: masks, volumes and strain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transforms.authors import Authors
from transforms.cine_files import CineStack
from transforms.structures import STRUCTURES
from transforms.study_info import StudyInfo, read_study_info

from ..errors import InputError
from ..propagation import Propagation, drawn_frames
from ..registrar import Registrar
from . import (
    VentricularFunction,
    VolumeCurve,
    areas,
    cine_volume,
    circumferential_strain,
    contour_lengths,
    ventricular_function,
)
from .numbers import numbers_of
from .phases import Phases, shares
from .wall import Insertions, Wall, measure_wall

__all__ = ["Followed", "follow"]


@dataclass(frozen=True, eq=False)
class Followed:
    """A heart's structures through a cycle.

    Attributes:
        cine: as it was read.
        slices: by number, those on which something was drawn.
        structures: (S, T, H, W) bool by structure; empty on other slices, and where a slice is left out.
        areas: (S, T) mm² by structure, nan on slices where it was not drawn; 0 where it has closed. On frames between
            the phases less than its own of a slice that is left out at one of them, see :func:`.phases.shares`.
        lengths: (S, T) mm of the lumen's contours, nan where there is none or the slice is left out.
        volumes: over the cycle, by structure; without those where the distance between slices is unknown.
        function: of the left ventricle by its volume, or without one by the area of all slices together: then its
            frames alone hold.
        circumferential: (T,) strain of the lumen's contours of all slices together, in %, from end-diastole.
        phases: as the reader has given them.
        study: what is known of patient and examination.
        wall: how thick the left ventricle's wall is; None without its two contours.
        authors: of what was not drawn by the reader alone.
        notes: what else a reader has to know of the drawing, among the warnings.
    """

    cine: CineStack
    slices: dict[int, Propagation]
    structures: dict[str, np.ndarray]
    areas: dict[str, np.ndarray]
    lengths: np.ndarray
    volumes: dict[str, VolumeCurve]
    function: VentricularFunction
    circumferential: np.ndarray
    phases: Phases
    study: StudyInfo
    wall: Wall | None
    authors: Authors = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def masks(self) -> np.ndarray:
        """Of the lumen, (S, T, H, W) bool; all empty where none was drawn."""
        return self.structures.get("lumen", np.zeros(self.cine.images.shape, bool))

    @property
    def drawn(self) -> dict[str, dict[int, list[int]]]:
        """Frames that were drawn on, by structure and slice."""
        return {
            structure: {n: list(one.drawn[structure]) for n, one in self.slices.items() if structure in one.drawn}
            for structure in self.structures
        }

    @property
    def numbers(self) -> dict[str, Any]:
        """What the cycle says, for a table or a report; None for what could not be measured."""
        return numbers_of(self)


def follow(
    registrar: Registrar,
    cine: CineStack,
    drawn: Mapping[str, np.ndarray],
    *,
    phases: Phases | None = None,
    study: StudyInfo | None = None,
    insertions: Insertions | None = None,
    earlier: Followed | None = None,
    progress: Callable[[int, int], None] | None = None,
    authors: Authors | None = None,
    notes: Sequence[str] = (),
) -> Followed:
    """Follow what was drawn, slice by slice.

    Args:
        registrar: that registers the frames.
        cine: of S slices.
        drawn: (S, T, H, W) bool by structure; a frame of a slice without any of a structure was not drawn on, see
            :meth:`dirnet.registrar.Registrar.propagate`.
        phases: end-diastole and end-systole by hand, and slices that are left out at one of them. Of a lumen that was
            drawn on two frames, of some slice on both, those are the phases by default.
        study: what is known of patient and examination; by default what the cine's files say.
        insertions: of the right ventricle on the left one, where segments begin; by default by its mask.
        earlier: of the same cine; slices on which the same was drawn are taken from it.
        progress: is told how many slices are done, and of how many.
        authors: of what was not drawn by the reader alone: a network has drawn it, which is among the warnings.
        notes: what else a reader has to know of the drawing, such as where papillary muscles count.

    Raises:
        InputError: when nothing is drawn, a structure is unknown or of another size, or ``phases`` or ``insertions`` do
            not fit.
    """
    phases = phases or Phases()
    phases.check(*cine.images.shape[:2])
    height, width = cine.images.shape[2:]
    for x, y in insertions or ():
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"insertions: expected points in images of {width} x {height} pixels, got {x:g},{y:g}")
    for structure, masks in drawn.items():
        if masks.shape != cine.images.shape:
            raise InputError(f"{structure}: expected masks of the cine's {cine.images.shape}, found {masks.shape}")
    chosen = [n for n in range(len(cine.images)) if any(masks[n].any() for masks in drawn.values())]
    if not chosen:
        raise InputError("nothing is drawn on any slice")
    slices: dict[int, Propagation] = {}
    for number in chosen:
        drawing = {structure: masks[number] for structure, masks in drawn.items()}
        known = None if earlier is None else earlier.slices.get(number)
        same = known is not None and _same_drawing(drawing, known)
        slices[number] = known if same and known else registrar.propagate(cine.images[number], drawing)
        if progress is not None:
            progress(len(slices), len(chosen))
    if study is None:
        study = read_study_info(cine) if earlier is None else earlier.study
    measured = _measured(cine, slices, phases, study, insertions)
    return dataclasses.replace(measured, authors=authors or {}, notes=tuple(notes))


def _same_drawing(drawing: Mapping[str, np.ndarray], followed: Propagation) -> bool:
    return drawn_frames(drawing) == followed.drawn and all(
        np.array_equal(drawing[structure][list(frames)], followed.structures[structure][list(frames)])
        for structure, frames in followed.drawn.items()
    )


def _measured(
    cine: CineStack,
    slices: dict[int, Propagation],
    phases: Phases,
    study: StudyInfo,
    insertions: Insertions | None,
) -> Followed:
    found = [name for name in STRUCTURES if any(name in one.structures for one in slices.values())]
    structures = {name: np.zeros(cine.images.shape, bool) for name in found}
    area = {name: np.full(cine.images.shape[:2], np.nan) for name in found}
    lengths = np.full(cine.images.shape[:2], np.nan)
    for number, one in slices.items():
        for name, masks in one.structures.items():
            structures[name][number] = masks
            area[name][number] = np.nan_to_num(areas(masks, cine.spacing))  # empty where drawn before: it has closed
        if "lumen" in one.structures:
            lengths[number] = np.nan_to_num(contour_lengths(one.structures["lumen"], cine.spacing))
    function = _function(area, _volumes(area, cine), _with_drawn_frames(phases, slices, area))
    if (phases.left_out_ed or phases.left_out_es) and function.ed is not None and function.es is not None:
        parts = shares(phases, function.ed, function.es, *cine.images.shape[:2])
        for masks in structures.values():
            masks[parts < 0.5] = False
        lengths[(parts < 1).any(1)] = np.nan
        never = (parts == 0).all(1)
        area = {name: np.where(never[:, None], np.nan, curves * parts) for name, curves in area.items()}
        function = _function(area, _volumes(area, cine), dataclasses.replace(phases, ed=function.ed, es=function.es))
    ed = 0 if function.ed is None else function.ed
    along = cine.view == "long axis"  # the contour is then no circumference, and has no wall at the valve
    circumferential = np.full(cine.images.shape[1], np.nan) if along else circumferential_strain(lengths, ed)
    wall = None if along else measure_wall(cine, slices, structures, function.ed, function.es, insertions)
    return Followed(
        cine,
        slices,
        structures,
        area,
        lengths,
        _volumes(area, cine),
        function,
        circumferential,
        phases,
        study,
        wall,
    )


def _with_drawn_frames(phases: Phases, slices: Mapping[int, Propagation], area: Mapping[str, np.ndarray]) -> Phases:
    """A lumen that was drawn on two frames, of some slice on both, was drawn at end-diastole and end-systole: so its
    ejection fraction is that of the drawn contours."""
    each = [one.drawn.get("lumen", ()) for one in slices.values()]
    drawn = sorted({frame for frames in each for frame in frames})
    if len(drawn) != 2 or tuple(drawn) not in each or phases.ed is not None or phases.es is not None:
        return phases
    larger, smaller = sorted(drawn, key=lambda frame: -float(np.nansum(area["lumen"][:, frame])))
    return dataclasses.replace(phases, ed=larger, es=smaller)


def _volumes(area: Mapping[str, np.ndarray], cine: CineStack) -> dict[str, VolumeCurve]:
    found = {name: cine_volume(curves, cine) for name, curves in area.items()}
    return {name: curve for name, curve in found.items() if curve is not None}


def _function(
    area: Mapping[str, np.ndarray], volumes: Mapping[str, VolumeCurve], phases: Phases
) -> VentricularFunction:
    """Of the left ventricle; of another structure, where the lumen was not drawn, the frames alone."""
    if "lumen" not in area:
        first = next(iter(area))
        curve = volumes[first].ml if first in volumes else np.nansum(area[first], 0)
        function = ventricular_function(curve, phases.ed, phases.es)
        return dataclasses.replace(function, edv=np.nan, esv=np.nan, stroke_volume=np.nan, ejection_fraction=np.nan)
    curve = volumes["lumen"].ml if "lumen" in volumes else np.nansum(area["lumen"], 0)
    return ventricular_function(curve, phases.ed, phases.es)
