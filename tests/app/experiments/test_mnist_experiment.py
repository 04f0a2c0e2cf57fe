"""MNIST's experiment in small, on the digits that scikit-learn ships."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from app.experiments.__main__ import choose_digits
from app.experiments.mnist import sharpness


@pytest.fixture(scope="module")
def experiment(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    arguments = ("mnist", "--output_dir", folder, "--iterations", 60, "--digits", "0,1")
    return folder, run(*arguments), arguments


def test_test_digits_come_closer_to_the_fixed_one(experiment):
    folder, output, _ = experiment
    assert "using the small digits that scikit-learn ships" in output
    summary = pd.read_csv(folder / "mnist.csv")
    assert summary["digit"].tolist() == [0, 1]
    rows = pd.read_csv(folder / "registrations.csv")
    for _, row in summary.iterrows():
        digit = rows[rows["digit"] == row["digit"]]
        assert len(digit) == row["images"] > 20  # all test digits but the fixed one
        assert digit["ncc_after"].mean() == pytest.approx(row["ncc_after_mean"], abs=1e-4)
        assert row["ncc_after_mean"] > row["ncc_before_mean"] + 0.05
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"averages", "learning_curves"}
    assert "| 1 |" in (folder / "mnist.md").read_text()


def test_finished_trainings_are_kept(experiment, run):
    folder, _, arguments = experiment
    before = (folder / "training" / "1" / "model_final.pt").stat().st_mtime_ns
    assert "digit 1: trained before, kept" in run(*arguments)
    assert (folder / "training" / "1" / "model_final.pt").stat().st_mtime_ns == before


def test_page_in_a_browser(experiment, page):
    folder, _, _ = experiment
    page.goto((folder / "report.html").as_uri())
    assert page.locator("img").count() == 2
    assert page.locator("tbody tr").count() == 2
    assert page.messages == []


def test_sharpness():
    ramp = torch.arange(6.0).expand(5, 6) / 10
    assert sharpness(ramp) == pytest.approx(0.1)
    assert sharpness(ramp.T) == pytest.approx(0.1)
    assert sharpness(torch.ones(5, 6)) == 0


def test_digits_are_numbers():
    assert choose_digits("3, 1,3") == [1, 3]
    for wrong in ("", "ten", "10", "-1"):
        with pytest.raises(ValueError, match="digits must be numbers from 0 to 9"):
            choose_digits(wrong)
