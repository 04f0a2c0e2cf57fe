"""Table 1 of the paper, again: trainings, evaluations, tables, figures and a page."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from app.settings import keep_settings
from dirnet.errors import InputError
from dirnet.files.aside import write_aside
from dirnet.files.pictures import save_picture
from dirnet.files.tables import write_csv
from transforms.phantom import write_scd
from transforms.records import records_of_split, with_ed_and_es
from transforms.sources import read_records

from . import figures, outputs, report, tables, texts
from .methods import METHODS, Method
from .report import Section
from .workplace import Workplace

__all__ = ["run"]

SPLITS = ("validation", "test")
SAME = ["patient", "slice", "direction", "missing", "dice_before"]  # of a registration, whatever the method
IN_PICTURES = ("elastix", "elastix_tuned", "c1", "fine")
DPI = 200

console = Console()


def run(
    dataset_dir: str | None, output_dir: Path, iterations: int | None, methods: Sequence[Method], seed: int
) -> None:
    """Do what of the experiment is not done yet, and write its results anew.

    Args:
        dataset_dir: folder or datalist, as the bundle's configs take it; without, the phantom is made.
        output_dir: where all goes; what is finished there is kept.
        iterations: of each training; 10,000 by default, 600 on the phantom.
        methods: rows of the table.
        seed: of each training.

    Raises:
        FileNotFoundError, ValueError: as :func:`check_data`.
        ValueError: when ``output_dir`` holds an experiment with other settings.
    """
    data = str(Path(dataset_dir).resolve()) if dataset_dir else str((output_dir / "phantom").resolve())
    settings = {"dataset_dir": data, "iterations": iterations or (10000 if dataset_dir else 600), "seed": seed}
    if dataset_dir:
        check_data(data)
    keep_settings(output_dir, settings)
    if dataset_dir is None and not Path(data).is_dir():
        console.print("no --dataset_dir (nor SCD_DIR) given: using the beating-heart phantom that the project makes")
        write_scd(data, size=(256, 256))  # the one size that C2 takes
    place = Workplace(output_dir, data, settings["iterations"], seed)
    for method in methods:
        if method.needs and find_spec(method.needs) is None:
            console.print(f"{method.title}: left out, {method.needs} is not installed")
            continue
        _train(method, place)
        for split in SPLITS:
            _evaluate(method, split, place)
    console.rule("results")
    done = [method for method in METHODS.values() if _is_done(method, place)]
    Results(done, place).write(f"--dataset_dir {Path(data).name} " if dataset_dir else "")


def check_data(dataset_dir: str) -> None:
    """What hours of training would else end in.

    Raises:
        FileNotFoundError: when there is no such data set.
        ValueError: when a split is empty, or one to be scored has no end-diastole and end-systole, no lumen drawn at
            both, or a slice twice.
    """
    records = read_records(dataset_dir, "")
    records_of_split(records, "training")
    for split in SPLITS:
        scored = with_ed_and_es(records_of_split(records, split))
        counts = Counter((record["patient"], record["slice"]) for record in scored)
        (patient, number), count = counts.most_common(1)[0]
        if count > 1:
            raise InputError(
                f"{dataset_dir}: patient {patient} has {count} records of slice {number}; expected one each"
            )
        if not any({record["ed"], record["es"]} <= set(record["lumen"]) for record in scored):
            raise InputError(
                f"{dataset_dir}: no slice of the split {split!r} has a lumen at both ED and ES to score by"
            )


def _is_done(method: Method, place: Workplace) -> bool:
    folders = [place.evaluation_dir(method, split) for split in SPLITS]
    return all(folder.is_dir() for folder in folders) and all(place.is_evaluated(method, split) for split in SPLITS)


def _train(method: Method, place: Workplace) -> None:
    if not method.trained:
        return
    if place.is_trained(method):
        console.print(f"{method.title}: trained before, kept")
        return
    console.rule(f"{method.title}: training")
    place.train(method)


def _evaluate(method: Method, split: str, place: Workplace) -> None:
    if place.is_evaluated(method, split):
        console.print(f"{method.title}, {split} split: registered before, kept")
        return
    console.rule(f"{method.title}: {split} split")
    place.evaluate(method, split)


class Results:
    """Tables, figures and page of what a workplace holds.

    Args:
        methods: that are trained and evaluated there.
        place: the workplace.
    """

    def __init__(self, methods: Sequence[Method], place: Workplace) -> None:
        self.methods = methods
        self.place = place
        self.titles = {method.name: method.title for method in methods}
        self.registrations = {split: self._read(split) for split in SPLITS}
        self.counts = {split: len(rows) // len(methods) for split, rows in self.registrations.items()}
        self.summaries = {split: tables.summarise(rows) for split, rows in self.registrations.items()}
        self.references = [name for name in ("elastix", "bl") if name in self.titles and len(methods) > 1]
        self.comparison = tables.compare(self.registrations["test"], self.references)
        networks = [method.name for method in methods if method.trained]
        self.best = METHODS[self.summaries["validation"].loc[networks, "dice_mean"].idxmax()] if networks else None

    def _read(self, split: str) -> pd.DataFrame:
        """All registrations of a split, a row a registration and method, with the scores after it.

        Raises:
            ValueError: when two methods have registered other images.
        """
        parts = []
        for method in self.methods:
            rows = pd.read_csv(self.place.evaluation_dir(method, split) / "registrations.csv")
            rows = rows.rename(columns={f"{name}_after": name for name in ("dice", "hd95", "hd95_pooled", "mad")})
            rows["milliseconds"] = 1000 * rows.pop("seconds")
            rows.insert(0, "method", method.name)
            if parts and not rows[SAME].equals(parts[0][SAME]):
                raise InputError(f"{self.methods[0].title} and {method.title} have registered other images ({split})")
            parts.append(rows)
        return pd.concat(parts, ignore_index=True)

    def write(self, data: str) -> None:
        """Write all into the workplace's folder; ``data`` is the part of the command that names them."""
        folder, sections = self.place.output_dir, self.sections()
        options = f"--iterations {self.place.iterations} --seed {self.place.seed} --rows {','.join(self.titles)}"
        about = {"command": f"python -m app.experiments table1 {data}{options}", **self.machines()}
        write_csv(folder / "registrations.csv", _stack(self.registrations))
        write_csv(folder / "table1.csv", _stack(self.summaries).reset_index())
        write_csv(folder / "tests.csv", self.comparison)
        outputs.write_markdown(folder / "table1.md", "Table 1, again", texts.DATA, sections, about)
        cases = self.cases()
        captions = self.write_figures(folder / "figures", cases)
        report.write(folder / "report.html", sections, about, folder / "figures", captions, cases, texts.DATA)
        console.print(f"results: {folder / 'table1.md'}, {folder / 'report.html'}")

    def machines(self) -> dict[str, Any]:
        """When and on what the methods were run; said of each, where that differs."""
        made = {method.title: self.place.made(method, "test") for method in self.methods}
        first = next(iter(made.values()))
        if all(other == first for other in made.values()):
            return first
        return {title: ", ".join(f"{name} {value}" for name, value in where.items()) for title, where in made.items()}

    def sections(self) -> list[Section]:
        number = {
            split: f"{summary['registrations'].iloc[0]} of {self.counts[split]} registrations scored"
            for split, summary in self.summaries.items()
        }
        table = {split: tables.table1(summary, self.titles) for split, summary in self.summaries.items()}
        sections = [Section(f"Test split: {number['test']}", table["test"], texts.TABLE)]
        for name in self.references:
            tests = tables.tests_table(self.comparison, name, self.titles)
            sections.append(Section(f"Paired tests against {self.titles[name]}", tests, texts.TESTS))
        note = "Settings and the best network are chosen on this split."
        if "contours" in self.titles:
            note += f" It was among the training patients of {self.titles['contours']}."
        if self.best:
            note += f" By Dice that is {self.best.title}."
        title = f"Validation split: {number['validation']}"
        return [*sections, Section(title, table["validation"], note)]

    def cases(self) -> list[dict[str, Any]]:
        """A few registrations by each method in pictures: of each pathology group that of median Dice by the best
        network, and the worst and the best of all."""
        shown = [method for method in self.methods if method.name in IN_PICTURES or method == self.best]
        if not shown:
            return []
        judge = self.best or shown[0]
        test = self.registrations["test"]
        rows = test[test["method"] == judge.name].reset_index(drop=True)
        scored = rows[~rows["missing"]].sort_values("dice")
        chosen = {group.index[len(group) // 2]: str(name) for name, group in scored.groupby("pathology")}
        for index, rank in ((scored.index[0], "worst"), (scored.index[-1], "best")):
            chosen.setdefault(index, f"{rank} of all, {rows.loc[index, 'pathology']}")
        images = {method.title: self.place.register(method, "test", list(chosen)) for method in shown}
        cases = []
        for number, (index, group) in enumerate(chosen.items()):
            row = rows.loc[index]
            shown_by_judge = images[judge.title][number]
            case = {key: shown_by_judge[key] for key in ("fixed", "moving")}
            case |= {f"{role}_lumen": shown_by_judge[f"{role}_masks"][0] for role in ("fixed", "moving")}
            case["title"] = f"{group}\n{row['patient']}, slice {row['slice']}, {row['direction']}"
            case["warped"] = {title: pictures[number]["warped"] for title, pictures in images.items()}
            case["warped_lumen"] = {title: pictures[number]["warped_masks"][0] for title, pictures in images.items()}
            case["dice"] = {"before": row["dice_before"]}
            for method in shown:
                case["dice"][method.title] = test[test["method"] == method.name]["dice"].iloc[index]
            cases.append(case)
        return cases

    def write_figures(self, folder: Path, cases: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Write the figures; their captions by file name."""
        shutil.rmtree(folder, ignore_errors=True)  # of rows that are no longer there
        captions = {}
        test, names = self.registrations["test"], ("before", "bl", *IN_PICTURES)
        if cases:
            save_picture(figures.comparison(cases[:4]), folder / "comparison.png", DPI // 2)  # images, not lines
            captions["comparison.png"] = texts.COMPARISON
        save_picture(figures.boxes(test, self.titles), folder / "dice_boxes.png", DPI)
        captions["dice_boxes.png"] = texts.BOXES
        motion = figures.motion(test, [name for name in names if name in self.titles], self.titles)
        save_picture(motion, folder / "dice_by_motion.png", DPI)
        captions["dice_by_motion.png"] = texts.MOTION
        networks = [method for method in self.methods if method.trained]
        if networks:
            lines = {method.title: figures.curve_of(self.place.training_dir(method)) for method in networks}
            save_picture(figures.curves(lines, "validation loss"), folder / "learning_curves.png", DPI)
            captions["learning_curves.png"] = texts.CURVES
        if self.best:
            with write_aside(folder / "worst_to_best.png") as path:
                shutil.copyfile(self.place.evaluation_dir(self.best, "test") / "worst_to_best.png", path)
            captions["worst_to_best.png"] = f"{self.best.title}: from the worst registration by Dice to the best."
        return captions


def _stack(by_split: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(by_split, names=["split"]).reset_index("split")
