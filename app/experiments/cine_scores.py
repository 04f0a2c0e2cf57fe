"""Patients of whole cines, and how well a lumen drawn at end-diastole arrives at end-systole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dirnet.cine import areas, cine_volume, ventricular_function
from dirnet.cine.follow import Followed, follow
from dirnet.errors import InputError
from dirnet.fields.masks import dice, surface_scores
from dirnet.registrar import Registrar
from transforms.cine import read_mask
from transforms.cine_files import CineStack, read_cine_stack
from transforms.records import SPLITS, Record

from .ways import WAYS, Follower

__all__ = ["SCORES", "Patient", "Result", "judge", "read_patients"]

SCORES = ("dice", "hd95", "hd95_pooled", "mad")


@dataclass(frozen=True, eq=False)
class Patient:
    """
    Attributes:
        cine: whole, of S slices and T frames.
        numbers: of the cine's slices in the records.
        ed, es: annotated frames of the cine.
        drawn: lumens on frame ``ed`` and on frame ``es``, (S, H, W) bool each, empty on slices without.
    """

    name: str
    split: str
    pathology: str
    cine: CineStack
    numbers: list[int]
    ed: int
    es: int
    drawn: dict[str, np.ndarray]

    @property
    def both(self) -> np.ndarray:
        """Slices drawn at end-diastole and at end-systole, (S,) bool."""
        return self.drawn["ed"].any((1, 2)) & self.drawn["es"].any((1, 2))


@dataclass(frozen=True, eq=False)
class Result:
    """A patient's cine followed one way.

    Attributes:
        followed: from all slices drawn at end-diastole.
        ml: (T,) volume by the slices of :attr:`Patient.both`.
        row: of the table of patients.
        slices: rows of the table of slices.
    """

    patient: Patient
    way: str
    followed: Followed
    ml: np.ndarray
    row: dict[str, Any]
    slices: list[dict[str, Any]]


def read_patients(records: Sequence[Record]) -> tuple[list[Patient], dict[str, str]]:
    """The patients whose whole cine is there with a lumen drawn at end-diastole and end-systole, by split; and why
    others with more than two frames are left out, by name.

    Raises:
        ValueError: when there is no such patient.
    """
    by_name: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if len(record["frames"]) > 2:  # two are the annotated frames of a patient whose cine is not there
            by_name[record["patient"]].append(record)
    patients, left_out = [], {}
    for name, slices in by_name.items():
        try:
            patients.append(_read_patient(name, slices))
        except (FileNotFoundError, ValueError) as error:
            left_out[name] = str(error)
    if not patients:
        reasons = "".join(f"; {name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise InputError(
            f"none of the {len(records)} records belongs to a whole cine that can be judged; expected of a patient all "
            "slices as one DICOM series in a folder, a file a frame (SCD: SCD_IMAGES_*/SCD*/CINESAX_*), and the lumen "
            f"drawn at end-diastole and end-systole of a slice or more{reasons}"
        )
    return sorted(patients, key=lambda patient: (SPLITS.index(patient.split), patient.name)), left_out


def _read_patient(name: str, records: Sequence[Record]) -> Patient:
    """
    Raises:
        FileNotFoundError, ValueError: when the cine cannot be read whole, or is not drawn on.
    """
    cine = read_cine_stack(Path(records[0]["frames"][0]).parent)
    if cine.distance is None:
        raise InputError("the distance between its slices is unknown")
    if cine.frame_numbers:
        raise InputError("its files hold several frames each; expected a file a frame")
    shape = cine.images.shape
    places = {path.name: (k, t) for k, files in enumerate(cine.files) for t, path in enumerate(files)}
    numbers = [-1] * shape[0]
    frames = {}
    drawn = {phase: np.zeros((shape[0], *shape[2:]), bool) for phase in ("ed", "es")}
    for record in records:
        for phase, masks in drawn.items():
            if record[phase] is None:
                raise InputError("its end-diastole or end-systole is unknown")
            number, frame = places[Path(record["frames"][record[phase]]).name]
            numbers[number] = record["slice"]
            if frames.setdefault(phase, frame) != frame:
                raise InputError(f"its slices have {phase.upper()} at different frames: {frames[phase]} and {frame}")
            if record[phase] in record["lumen"]:
                masks[number] = read_mask(record["lumen"][record[phase]], shape[2:])
    patient = Patient(name, records[0]["split"], records[0]["pathology"], cine, numbers, **frames, drawn=drawn)
    if not patient.both.any():
        raise InputError("no slice has a lumen drawn at both end-diastole and end-systole")
    return patient


def judge(patient: Patient, way: str, registrar: Registrar) -> Result:
    """Follow a patient's cine one of the :data:`~app.experiments.ways.WAYS` and score it."""
    follower = Follower(registrar, WAYS[way])
    drawn = np.zeros(patient.cine.images.shape, bool)
    drawn[:, patient.ed] = patient.drawn["ed"]
    followed = follow(follower, patient.cine, {"lumen": drawn})
    ml = _volume(followed.areas["lumen"], patient.both, patient.cine)
    head = {"patient": patient.name, "split": patient.split, "pathology": patient.pathology, "way": way}
    slices = [{**head, **row} for row in _slices(patient, followed, follower.milliseconds)]
    scored = pd.DataFrame(slices).query("not missing")
    row = {
        **head,
        "slices": int(patient.both.sum()),
        "slices_ed": len(followed.slices),
        "ed_frame": patient.ed,
        "es_frame": patient.es,
        **{name: scored[name].mean() for name in SCORES},
        "lost": int(scored["lost"].sum()),
        **_function(patient, ml),
        **_function_of_all_ed(patient, followed),
        "folded_percent": max(float(result.folded_percent.max()) for result in followed.slices.values()),
        "peak_circumferential_strain_percent": followed.numbers["peak_circumferential_strain_percent"],
        "milliseconds_per_slice": float(np.median(follower.milliseconds)),
    }
    return Result(patient, way, followed, ml, row, slices)


def _slices(patient: Patient, followed: Followed, milliseconds: Sequence[float]) -> list[dict[str, Any]]:
    """A row a slice drawn at end-diastole: the lumen carried to the annotated end-systole, against that drawn there."""
    rows = []
    for (number, result), time in zip(followed.slices.items(), milliseconds, strict=True):
        start, found, drawn = patient.drawn["ed"][number], result.masks[patient.es], patient.drawn["es"][number]
        area = dict(zip(("ed", "es", "es_found"), areas([start, drawn, found], patient.cine.spacing), strict=True))
        rows.append(
            {
                "slice": patient.numbers[number],
                "missing": not drawn.any(),
                "lost": bool(drawn.any() and not found.any()),
                **{f"{name}_before": value for name, value in _scores(start, drawn, patient.cine.spacing).items()},
                **_scores(found, drawn, patient.cine.spacing),
                **{f"area_{name}_mm2": value for name, value in area.items()},
                "folded_percent": result.folded_percent[patient.es],
                "milliseconds": time,
            }
        )
    return rows


def _scores(found: np.ndarray, drawn: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    """Dice and distances in mm of two masks (H, W), nan where one is empty."""
    overlap = dice(*(torch.from_numpy(mask)[None, None] for mask in (found, drawn))).item()
    return {"dice": overlap, **surface_scores(found, drawn, spacing)}


def _function(patient: Patient, ml: np.ndarray) -> dict[str, Any]:
    """Volumes and ejection fraction over the slices drawn at both phases: as drawn, by the curve's extremes, and by the
    curve at the annotated frames."""
    drawn = ventricular_function(_drawn_ml(patient, patient.both), ed=0)
    found = ventricular_function(ml)
    there = ventricular_function(ml, patient.ed, patient.es)
    frames = len(ml)
    return {
        "ed_found": found.ed,
        "es_found": found.es,
        # the cycle is closed
        "es_off": (found.es - patient.es + frames // 2) % frames - frames // 2,
        "edv_drawn_ml": drawn.edv,
        "esv_drawn_ml": drawn.esv,
        "ef_drawn_percent": drawn.ejection_fraction,
        "edv_ml": found.edv,
        "esv_ml": found.esv,
        "ef_percent": found.ejection_fraction,
        "ef_difference": found.ejection_fraction - drawn.ejection_fraction,
        "esv_there_ml": there.esv,
        "ef_there_percent": there.ejection_fraction,
        "ef_there_difference": there.ejection_fraction - drawn.ejection_fraction,
    }


def _function_of_all_ed(patient: Patient, followed: Followed) -> dict[str, float]:
    """Ejection fraction over all slices drawn at end-diastole, the drawn end-systolic area 0 where there is none."""
    every = patient.drawn["ed"].any((1, 2))
    drawn = ventricular_function(_drawn_ml(patient, every), ed=0).ejection_fraction
    found = ventricular_function(_volume(followed.areas["lumen"], every, patient.cine)).ejection_fraction
    return {"ef_all_drawn_percent": drawn, "ef_all_percent": found, "ef_all_difference": found - drawn}


def _drawn_ml(patient: Patient, slices: np.ndarray) -> np.ndarray:
    """Volumes (end-diastole, end-systole) of the drawn lumens over some slices."""
    masks = np.stack([patient.drawn["ed"], patient.drawn["es"]], 1)
    return _volume(np.nan_to_num(areas(masks, patient.cine.spacing)), slices, patient.cine)


def _volume(area: np.ndarray, slices: np.ndarray, cine: CineStack) -> np.ndarray:
    """Volumes (T,) in ml of areas (S, T) by discs, over some slices, (S,) bool."""
    volume = cine_volume(np.where(slices[:, None], area, np.nan), cine)
    assert volume is not None  # its distance is known: see _read_patient
    return volume.ml
