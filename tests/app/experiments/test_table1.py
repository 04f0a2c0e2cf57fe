"""Table 1 in small, end to end: stopped twice, taken up again, and its page in a browser."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from app.experiments.methods import METHODS
from app.experiments.table1 import check_data
from app.experiments.workplace import Workplace
from transforms.records import SPLITS, records_of_split
from transforms.sources import read_records

ROWS = ("before", "elastix", "bl")


def options(data, folder):
    return ("table1", "--dataset_dir", data, "--output_dir", folder, "--iterations", 20, "--rows", ",".join(ROWS))


def stop_once_there(process, path):
    end = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def experiment(start, run, phantom_dir, tmp_path_factory):
    """An experiment that was killed in its training and in its evaluations: its folder, when what was finished then had
    been written, and the last output."""
    folder = tmp_path_factory.mktemp("experiment")
    arguments = options(phantom_dir, folder)
    stop_once_there(start(*arguments), folder / "training" / "bl" / "last.pt")
    assert not (folder / "training" / "bl" / "model_final.pt").exists()
    stop_once_there(start(*arguments), folder / "evaluation" / "validation" / "bl" / "registrations.csv")
    finished = [folder / "training" / "bl" / "model_final.pt"]
    finished += [path for name in ROWS[:2] for path in folder.glob(f"evaluation/*/{name}/registrations.csv")]
    written = {path: path.stat().st_mtime_ns for path in finished}
    return folder, written, run(*arguments)


def test_what_was_finished_is_kept(experiment):
    folder, written, output = experiment
    assert len(written) == 5
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert "BL: trained before, kept" in output
    assert "no registration, test split: registered before, kept" in output
    assert torch.load(folder / "training" / "bl" / "last.pt")["iteration"] == 20


def test_every_registration_of_every_method_is_in_the_tables(experiment):
    folder, _, _ = experiment
    rows = pd.read_csv(folder / "registrations.csv")
    assert rows.groupby(["split", "method"]).size().to_dict() == {
        (split, method): 4 for split in ("test", "validation") for method in ROWS
    }
    before = rows[rows["method"] == "before"]
    assert (before["dice"] == before["dice_before"]).all()
    summary = pd.read_csv(folder / "table1.csv").set_index(["split", "method"])
    test = rows[rows["split"] == "test"].groupby("method")
    for method in ROWS:
        assert summary.loc[("test", method), "dice_mean"] == pytest.approx(
            test.get_group(method)["dice"].mean(), rel=1e-5
        )
    means = summary.loc["test"]["dice_mean"]
    assert means["elastix"] > means["before"] + 0.05
    assert summary.loc[("test", "elastix"), "milliseconds_median"] > summary.loc[("test", "bl"), "milliseconds_median"]
    text = (folder / "table1.md").read_text()
    assert f"| elastix, as in the paper | {means['elastix']:.3f} ± " in text
    assert "--iterations 20 --seed 0 --rows before,elastix,bl" in text


def test_figures_are_there(experiment):
    folder, _, _ = experiment
    names = {"comparison", "dice_boxes", "dice_by_motion", "learning_curves", "worst_to_best"}
    assert {path.stem for path in (folder / "figures").glob("*.png")} == names
    assert all(path.stat().st_size > 10_000 for path in (folder / "figures").glob("*.png"))


def test_other_settings_are_refused(experiment, run, phantom_dir):
    folder, written, _ = experiment
    arguments = [30 if part == 20 else part for part in options(phantom_dir, folder)]
    output = run(*arguments, fails=True)
    assert output.strip().endswith("iterations 20 (now 30); choose another --output_dir")
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_rows_asked_for_later_stand_beside_the_earlier(experiment, run, phantom_dir):
    folder, written, _ = experiment
    run(*options(phantom_dir, folder)[:-1], "before")
    assert set(pd.read_csv(folder / "table1.csv")["method"]) == set(ROWS)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_results_of_other_data_are_not_kept(phantom_dir, tmp_path):
    shutil.copytree(phantom_dir, tmp_path / "data")
    place = Workplace(tmp_path / "out", str(tmp_path / "data"), 20, 0)
    method = METHODS["before"]
    assert not place.is_evaluated(method, "test")
    place.evaluate(method, "test")
    assert place.is_evaluated(method, "test")
    assert place.made(method, "test")["torch"] == torch.__version__
    record = records_of_split(read_records(tmp_path / "data", ""), "test")[0]
    contour = Path(record["lumen"][record["ed"]])
    contour.write_text("\n".join(contour.read_text().splitlines()[:-1]))
    assert not place.is_evaluated(method, "test")


def test_data_that_cannot_be_scored_are_refused_first(phantom_dir, tmp_path):
    records = read_records(phantom_dir, "")
    lists = {
        split: [
            {**record, "lumen": {str(k): v for k, v in record["lumen"].items()}, "epicardium": {}} for record in part
        ]
        for split in SPLITS
        for part in [records_of_split(records, split)]
    }

    def write(name, lists):
        (tmp_path / name).write_text(json.dumps(lists))
        return str(tmp_path / name)

    check_data(write("right.json", lists))
    with pytest.raises(ValueError, match="has 2 records of slice"):
        check_data(write("twice.json", {**lists, "test": lists["test"] + lists["test"][:1]}))
    with pytest.raises(ValueError, match="no slice of the split 'test' has a lumen at both"):
        check_data(write("bare.json", {**lists, "test": [{**item, "lumen": {}} for item in lists["test"]]}))
    with pytest.raises(ValueError, match="no record is in the split 'test'"):
        check_data(write("untested.json", {**lists, "test": []}))


def test_wrong_rows_and_folders_are_named(run, tmp_path):
    output = run("table1", "--rows", "bl,d9", "--output_dir", tmp_path / "out", fails=True)
    assert "error: rows must be some of before,elastix," in output
    output = run("table1", "--dataset_dir", tmp_path / "nowhere", "--output_dir", tmp_path / "out", fails=True)
    assert output.startswith(f"error: dataset_dir '{tmp_path / 'nowhere'}' does not exist")
    assert not (tmp_path / "out").exists()


def test_page_in_a_browser(experiment, page):
    folder, _, _ = experiment
    page.goto((folder / "report.html").as_uri())
    assert page.locator("h2").first.inner_text() == "See for yourself"
    assert page.locator("table").count() == 4  # test, against elastix, against BL, validation
    broken = page.eval_on_selector_all("img", "images => images.filter(image => !image.naturalWidth).length")
    assert broken == 0

    shown, fixed = page.locator("#shown-image"), page.locator("#fixed-image")
    first = shown.get_attribute("src")
    page.select_option("#shown", label="moving frame, not registered")
    assert shown.get_attribute("src") != first
    moving = page.locator("#dice").inner_text()
    page.select_option("#shown", label="elastix, as in the paper")
    assert float(page.locator("#dice").inner_text()) > float(moving)

    source, contour = fixed.get_attribute("src"), page.locator("#fixed-contour").get_attribute("d")
    page.select_option("#case", index=1)
    assert fixed.get_attribute("src") != source
    assert page.locator("#fixed-contour").get_attribute("d") != contour

    page.locator("#slide").focus()
    page.keyboard.press("Home")
    assert shown.evaluate("image => image.style.clipPath") == "inset(0px 100% 0px 0px)"
    page.uncheck("#contours-on")
    assert not page.locator("#contours").is_visible()
    page.check("#difference")
    assert shown.evaluate("image => image.style.mixBlendMode") == "difference"
    page.uncheck("#difference")

    page.click("#blink")
    seen = {shown.is_visible() for _ in range(15) if page.wait_for_timeout(100) is None}
    assert seen == {True, False}
    page.click("#blink")
    assert shown.is_visible()
    assert page.messages == []
