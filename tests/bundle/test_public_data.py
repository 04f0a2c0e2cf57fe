"""Public data sets from their folders through a datalist and a training to an evaluation of each structure."""

from __future__ import annotations

import json
from collections import defaultdict

import pandas as pd
import pytest
from typer.testing import CliRunner

from app.command_line import app
from tests.layouts import phantom, structures, write_acdc, write_mnms, write_ukb

SMALL = ["--batch_size", 4, "--spatial_size", "[64,64]", "--crop_size", "[48,48]"]
SEEDS = {"patient003": 2, "A3S9V9": 3, "1000002": 2}  # of the phantoms that are the validation


@pytest.fixture(scope="module")
def datalist(tmp_path_factory):
    """The datalists of phantoms in three layouts, as one."""
    folder = tmp_path_factory.mktemp("layouts")
    lists = defaultdict(list)
    for write in (write_acdc, write_mnms, write_ukb):
        root = write(folder / write.__name__)
        printed = CliRunner().invoke(app, ["datalist", str(root)]).stdout
        for split, records in json.loads(printed).items():
            lists[split] += records
    path = folder / "cines.json"
    path.write_text(json.dumps(lists))
    return path


def expected_dice(name, seed, slice_):
    """Of end-diastole with end-systole as they are drawn."""
    patient = phantom(seed)
    masks = [structures(patient, slice_, phase) for phase in (patient.ed, patient.es)]
    if name == "myocardium":
        first, second = (mask["epicardium"] & ~mask["lumen"] for mask in masks)
    else:
        first, second = (mask[name] for mask in masks)
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_from_folders_to_scores_of_each_structure(run, datalist, tmp_path):
    data = ["--dataset_dir", datalist]
    result = run("train", *SMALL, *data, "--iterations", 4, "--output_dir", tmp_path / "trained")
    assert result.returncode == 0, result.stderr[-3000:]
    options = [*data, "--split", "validation", "--ckpt_file", tmp_path / "trained/model.pt"]
    result = run("evaluate", *options, "--output_dir", tmp_path / "scores")
    assert result.returncode == 0, result.stderr[-3000:]
    table = pd.read_csv(tmp_path / "scores/registrations.csv")
    summary = json.loads((tmp_path / "scores/summary.json").read_text())
    assert len(table) == 2 * 2 * len(SEEDS)
    for name, prefix in (("lumen", ""), ("epicardium", "epicardium_"), ("myocardium", "myocardium_"), ("rv", "rv_")):
        before = [expected_dice(name, SEEDS[row.patient], row.slice) for row in table.itertuples()]
        assert table[f"{prefix}dice_before"].tolist() == pytest.approx(before, abs=1e-5)
        after = table[f"{prefix}dice_after"]
        assert after.tolist() == pytest.approx(before, abs=0.2)  # hardly trained
        found = summary["all"] if name == "lumen" else summary["structures"][name]
        assert found["dice after"]["mean"] == pytest.approx(after.mean(), rel=1e-3)
    for structure in summary["structures"].values():
        assert (structure["scored"], structure["lost by the warp"]) == (len(table), 0)
    lines = [line for line in result.stdout.splitlines() if "→" in line]
    assert [line.split()[1] for line in lines if "before" not in line] == ["epicardium", "myocardium", "right"]
