"""What makes a followed contour doubtful, in sentences that a reader sees before the numbers are used."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from transforms.dicom_series import unequal
from transforms.numbered import numbered

from ..trust import DOUBTFUL
from .volumes import ventricular_function

if TYPE_CHECKING:
    from .follow import Followed

__all__ = ["doubtful_slices", "warnings_of"]

MOST_FOLDED = 0.1  # % of the pixels of the window that is registered
CIRCUMFERENTIAL_STRAIN = (-55.0, 10.0)  # %, of hearts, ill ones too
EJECTION_FRACTION = (5.0, 90.0)  # %, of either ventricle, ill ones too
# Area at end-diastole. Of 44 patients of the Sunnybrook data, drawn from base to apex by an expert, one is above the
# first and one below the second.
APEX_AREA = 0.6  # of the smaller end slice, as a part of the largest
BASE_GROWTH = 0.8  # of the larger end slice's neighbour, as a part of that slice's


def warnings_of(followed: Followed) -> list[str]:
    """What is doubtful in a cine's followed contours; empty where nothing is.

    A single drawn frame that comes out as end-systole; folds above 0.1 %, contours that touch the image's border or
    probably fit badly; strain or ejection fractions beyond what hearts do; slices that were not drawn on between
    others, lie unequally far apart, or probably do not reach base or apex; a right ventricle on few of the lumen's
    slices; slices of the lumen without epicardium, where that was drawn on others.
    """
    parts = (_of_frame, _of_fields, _of_contours, _of_strain, _of_ejection, _of_extent, _of_right_ventricle, _of_wall)
    return [warning for part in parts for warning in part(followed)]


def doubtful_slices(followed: Followed) -> list[int]:
    """Slices on a frame of which the contour probably fits badly, see :mod:`dirnet.trust`."""
    return [number for number, result in followed.slices.items() if result.estimated_dice.min() < DOUBTFUL]


def _of_frame(followed: Followed) -> Iterator[str]:
    drawn = {frame for slices in followed.drawn.values() for frames in slices.values() for frame in frames}
    if drawn == {followed.function.es} and followed.function.ed not in drawn:
        yield (
            f"drawn on frame {followed.function.es} alone, which comes out as end-systole, and frame "
            f"{followed.function.ed} as end-diastole: was it drawn there?"
        )


def _of_fields(followed: Followed) -> Iterator[str]:
    folded = {number: float(result.folded_percent.max()) for number, result in followed.slices.items()}
    many = [number for number, percent in folded.items() if percent > MOST_FOLDED]
    if many:
        worst = max(folded.values())
        yield f"{_slices(many)}: the field folds, up to {worst:.2f} % of the pixels (above {MOST_FOLDED} %)"


def _of_contours(followed: Followed) -> Iterator[str]:
    masks = np.logical_or.reduce(list(followed.structures.values()))
    border = np.concatenate([masks[..., [0, -1], :], masks[..., :, [0, -1]].swapaxes(2, 3)], axis=3)
    if border.any():
        slices = np.flatnonzero(border.any(axis=(1, 2, 3))).tolist()
        yield f"{_slices(slices)}: the contour touches the image's border; what lies beyond is not counted"
    if doubtful := doubtful_slices(followed):
        yield f"{_slices(doubtful)}: the contour probably fits badly (estimated Dice below {DOUBTFUL})"


def _of_strain(followed: Followed) -> Iterator[str]:
    low, high = CIRCUMFERENTIAL_STRAIN
    known = followed.circumferential[np.isfinite(followed.circumferential)]
    beyond = known[(known < low) | (known > high)]
    if len(beyond):
        peak = beyond[np.argmax(np.abs(beyond))]
        yield f"circumferential strain of {peak:.0f} %: beyond what hearts do ({low:.0f} to {high:.0f} %)"


def _of_ejection(followed: Followed) -> Iterator[str]:
    ed, es = followed.function.ed, followed.function.es
    low, high = EJECTION_FRACTION
    for structure, ventricle in (("lumen", "left ventricle"), ("rv", "right ventricle")):
        if structure not in followed.volumes or ed is None or es is None:
            continue
        fraction = ventricular_function(followed.volumes[structure].ml, ed, es).ejection_fraction
        if not np.isnan(fraction) and not low <= fraction <= high:
            beyond = f"beyond what hearts do ({low:.0f} to {high:.0f} %)"
            yield f"{ventricle}: ejection fraction of {fraction:.0f} %: {beyond}; is each structure what it is named?"


def _of_right_ventricle(followed: Followed) -> Iterator[str]:
    if "rv" not in followed.volumes:
        return
    there = {name: np.flatnonzero(np.isfinite(areas).any(1)).tolist() for name, areas in followed.areas.items()}
    if len(there["rv"]) < len(there.get("lumen", [])) / 2:
        yield (
            f"right ventricle: drawn on {_slices(there['rv'])} alone, the lumen on {len(there['lumen'])} slices: "
            "its volumes are of what is drawn"
        )


def _of_extent(followed: Followed) -> Iterator[str]:
    areas = followed.areas.get("lumen")
    if areas is None or followed.cine.one_plane:  # of which no volumes are told
        return
    drawn, count = np.flatnonzero(np.isfinite(areas).any(1)).tolist(), len(areas)
    if len(drawn) < 3:
        if count > 1:
            yield f"drawn on {len(drawn)} of {count} slices: the volumes are of these, not of a whole ventricle"
        return
    left_out = sorted({*range(drawn[0], drawn[-1])} - {*drawn})
    if left_out:
        yield f"{_slices(left_out)}: not drawn on, between others that are; the volumes bridge them"
    positions = followed.cine.positions
    gaps = np.diff([] if positions is None else positions[drawn])
    if len(gaps) and not followed.cine.even and unequal(gaps):
        yield f"slices lie {gaps.min():.1f} to {gaps.max():.1f} mm apart; the volumes bridge what is between"
    areas = areas[drawn, 0 if followed.function.ed is None else followed.function.ed]
    areas = areas[::-1] if areas[0] > areas[-1] else areas  # from apex to base
    if areas[0] > APEX_AREA * areas.max():
        part = 100 * areas[0] / areas.max()
        yield f"the apex is probably not reached: the smaller end slice has {part:.0f} % of the largest one's area"
    if areas[-2] < BASE_GROWTH * areas[-1]:
        part = 100 * areas[-1] / areas[-2]
        yield f"the base is probably not reached: the larger end slice has {part:.0f} % of its neighbour's area"


def _of_wall(followed: Followed) -> Iterator[str]:
    if not {"lumen", "epicardium"} <= set(followed.areas):
        return
    there = {name: np.isfinite(followed.areas[name]).any(1) for name in ("lumen", "epicardium")}
    without = np.flatnonzero(there["lumen"] & ~there["epicardium"]).tolist()
    if without:
        yield f"{_slices(without)}: lumen without epicardium; their wall is not in the myocardial mass"


_slices = partial(numbered, "slice")
