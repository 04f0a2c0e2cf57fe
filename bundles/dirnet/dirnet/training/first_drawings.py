"""First contours of cines, in files or scored against drawn ones: what the configs of ``lv_contour`` do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from ignite.engine import Engine, Events
from rich.console import Console

from transforms.cine_files import CineStack, read_cine_stack
from transforms.paths import stem
from transforms.records import Record

from ..cine.agreement import agreement
from ..cine.first_drawing import drawn_figure, on_frame, save_first
from ..cine.follow import follow
from ..cine.phases import Phases
from ..errors import InputError
from ..fields.masks import surface_scores
from ..files.aside import refuse_overwriting, write_set_aside
from ..files.pictures import save_picture
from ..files.tables import write_csv
from ..first_contours import FirstContours
from ..registrar import Registrar

__all__ = ["FirstContourFiles", "FirstContourScores", "patients_of"]

RESULTS = ("slices.csv", "patients.csv", "summary.json", "worst.png")
ED, ES = 0, 1  # frames of the cines that are scored
SCORES = {"dice": 3, "hd95": 2, "mad": 2}  # and digits


class FirstContourFiles:
    """An evaluator's ``iteration_update``: draws first contours on a cine and writes them, see
    :func:`dirnet.cine.first_drawing.save_first`.

    Args:
        first: that draws.
        output_dir: where the files go.
        frame: on which to draw; end-diastole, as found, by default.
        overwrite: whether files that exist may be replaced.
    """

    def __init__(
        self, first: FirstContours, output_dir: str | Path, frame: int | None = None, overwrite: bool = False
    ) -> None:
        self.first, self.folder, self.frame, self.overwrite = first, Path(output_dir), frame, overwrite

    def __call__(self, engine: Engine, cine: str) -> dict[str, Any]:
        """
        Args:
            engine: not looked at.
            cine: folder or file, see :func:`transforms.cine_files.read_cine_stack`.
        """
        stack = read_cine_stack(cine)
        frame = self.first.end_diastole(stack) if self.frame is None else self.frame
        drawn = self.first.draw(stack, frame)
        path = Path(cine).resolve()
        name = path.name if path.is_dir() else stem(path)
        written = save_first(drawn, stack, frame, self.folder, name, self.overwrite)
        Console().print(f"{cine}: frame {frame}; written: {written[0]}", highlight=False, soft_wrap=True)
        return {"drawn": drawn}


def patients_of(records: Sequence[Record]) -> list[list[Record]]:
    """Records of each patient that have end-diastole and end-systole, by slice."""
    patients: dict[str, list[Record]] = {}
    for record in records:
        patients.setdefault(record["patient"], []).append(record)
    return [sorted(slices, key=lambda record: record["slice"]) for slices in patients.values()]


class FirstContourScores:
    """An evaluator's ``iteration_update``, and its handler: draws on a patient's end-diastolic frames, scores what it
    drew against what a reader drew there, and follows both to end-systole.

    - ``slices.csv``: a row a slice and structure: Dice, HD95 and MAD in mm; a Dice of 0 where nothing was found;
    - ``patients.csv``: end-diastolic area of all slices, found and drawn, in mm², and the ejection fraction in %: drawn
      at both phases; from the drawn end-diastolic contour followed; from the first contour followed;
    - ``summary.json``: means and standard deviations, agreement of the ejection fractions;
    - ``worst.png``: the patient with the lowest mean Dice.

    Slices are as thick as each other, so areas stand for volumes.

    Args:
        first: that draws.
        registrar: that follows.
        output_dir: where the files go.
        about: what the summary says of the run.
        overwrite: whether files of an earlier evaluation may be replaced.

    Raises:
        FileExistsError: before anything is computed, when there are such files and they may not be replaced.
    """

    def __init__(
        self,
        first: FirstContours,
        registrar: Registrar,
        output_dir: str | Path,
        about: Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(output_dir)
        refuse_overwriting(*(self.folder / name for name in RESULTS), overwrite=overwrite)
        self.first, self.registrar = first, registrar
        self.about, self.overwrite = dict(about), overwrite
        self.slices: list[dict[str, Any]] = []
        self.patients: list[dict[str, Any]] = []
        self.worst: tuple[float, Any] = (2.0, None)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def __call__(self, engine: Engine, loaded: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """
        Args:
            engine: not looked at.
            loaded: a patient's slices, see :class:`transforms.loading.LoadCined`.
        """
        cine = _cine(loaded)
        structures = self.first.network.structures
        drawn = {name: _drawn(loaded, name, "ed", cine) for name in structures}
        try:
            found = self.first.draw(cine, ED)
        except InputError:
            found = {}
        found = {name: found.get(name, np.zeros_like(drawn[name])) for name in structures}
        rows = [
            {"patient": one["patient"], "slice": one["slice"], "pathology": one["pathology"], "structure": name}
            | _scores(found[name][number], drawn[name][number], cine.spacing)
            for number, one in enumerate(loaded)
            for name in structures
            if drawn[name][number].any()
        ]
        self.slices += rows
        mean = np.mean([row["dice"] for row in rows if row["structure"] == "lumen"])
        if mean < self.worst[0]:
            self.worst = (float(mean), drawn_figure(cine.images[:, ED], found))
        pixel = cine.spacing[0] * cine.spacing[1]
        areas = {
            "drawn": drawn["lumen"].sum() * pixel,
            "found": found["lumen"].sum() * pixel,
            "drawn_es": _drawn(loaded, "lumen", "es", cine).sum() * pixel,
        }
        self.patients.append(
            {
                "patient": loaded[0]["patient"],
                "pathology": loaded[0]["pathology"],
                "slices": len(loaded),
                "drawn_ed_mm2": areas["drawn"],
                "found_ed_mm2": areas["found"],
                "drawn_ef": 100 * (1 - areas["drawn_es"] / areas["drawn"]),
                "ef_from_drawn_ed": self._ejection_fraction(cine, drawn["lumen"]),
                "ef_from_first_contour": self._ejection_fraction(cine, found["lumen"]),
            }
        )
        return {}

    def _ejection_fraction(self, cine: CineStack, lumen: np.ndarray) -> float:
        if not lumen.any():
            return float("nan")
        followed = follow(self.registrar, cine, on_frame({"lumen": lumen}, cine, ED), phases=Phases(ED, ES))
        return followed.function.ejection_fraction

    def finish(self, engine: Engine) -> None:
        slices, patients = pd.DataFrame(self.slices), pd.DataFrame(self.patients)
        summary = {**self.about, **summarise(slices, patients)}
        with write_set_aside(self.folder, RESULTS, self.overwrite) as aside:
            write_csv(aside / "slices.csv", slices)
            write_csv(aside / "patients.csv", patients)
            (aside / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
            save_picture(self.worst[1], aside / "worst.png")
        console = Console()
        for line in _said(summary):
            console.print(line, highlight=False, soft_wrap=True)


def summarise(slices: pd.DataFrame, patients: pd.DataFrame) -> dict[str, Any]:
    """Means and standard deviations (of the population) by structure, over all slices and by pathology; agreement of
    ejection fractions with the one drawn at both phases."""
    return {
        "structures": {
            str(name): {
                "slices": len(group),
                "not found": int((group["dice"] == 0).sum()),
                **_means(group),
                "groups": {str(key): _means(part) for key, part in group.groupby("pathology")},
            }
            for name, group in slices.groupby("structure", sort=False)
        },
        "patients": len(patients),
        "end-diastolic area, found / drawn": float((patients["found_ed_mm2"] / patients["drawn_ed_mm2"]).mean()),
        **{
            way: dataclasses.asdict(agreement(patients[way], patients["drawn_ef"]))
            for way in ("ef_from_first_contour", "ef_from_drawn_ed")
        },
    }


def _means(rows: pd.DataFrame) -> dict[str, Any]:
    return {name: {"mean": float(rows[name].mean()), "sd": float(rows[name].std(ddof=0))} for name in SCORES}


def _said(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, found in summary["structures"].items():
        dice, hd95, mad = (
            f"{found[score]['mean']:.{digits}f} ± {found[score]['sd']:.{digits}f}" for score, digits in SCORES.items()
        )
        lines.append(
            f"{name}, {found['slices']} slices at end-diastole: Dice {dice}, HD95 {hd95} mm, MAD {mad} mm; "
            f"not found {found['not found']}"
        )
    for way, name in (("ef_from_first_contour", "first contour"), ("ef_from_drawn_ed", "drawn end-diastole")):
        found = summary[way]
        lines.append(
            f"ejection fraction from the {name}, followed - drawn, {found['count']} patients: bias {found['bias']:.1f} "
            f"points, SD {found['sd']:.1f}, mean absolute error {found['mean_absolute_error']:.1f}, worst "
            f"{found['worst']:.1f}"
        )
    return lines


def _cine(loaded: Sequence[Mapping[str, Any]]) -> CineStack:
    """Slices at end-diastole and end-systole as a cine, a unit apart."""
    images = np.stack([one["image"][[one["ed"], one["es"]]].float().numpy() for one in loaded])
    grid = sitk.Image([images.shape[3], images.shape[2], 1], sitk.sitkUInt8)
    row, column = loaded[0]["spacing"]
    return CineStack(images, [grid] * len(images), (row, column), 1.0, placed=False)


def _drawn(loaded: Sequence[Mapping[str, Any]], structure: str, phase: str, cine: CineStack) -> np.ndarray:
    """What is drawn at a phase, (S, H, W) bool, empty where it is not."""
    masks = np.zeros((len(loaded), *cine.images.shape[2:]), bool)
    for number, one in enumerate(loaded):
        if one[phase] in one[structure]:
            masks[number] = one[structure][one[phase]].numpy() > 0
    return masks


def _scores(found: np.ndarray, drawn: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    distances = surface_scores(found, drawn, spacing)
    return {
        "dice": 2 * (found & drawn).sum() / (found.sum() + drawn.sum()),
        "hd95": distances["hd95"],
        "mad": distances["mad"],
    }
