"""Evaluation through monai.bundle: the table it leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch

from dirnet.fields.masks import surface_scores
from dirnet.nets.networks import DIRNet
from transforms.loading import LoadCined
from transforms.records import records_of_split
from transforms.sources import read_records


@pytest.fixture(scope="module")
def evaluated(run, phantom_dir, weights, tmp_path_factory):
    """An evaluation of the phantom's test split, with oblong pixels and one contour file missing."""
    data = tmp_path_factory.mktemp("data") / "phantom"
    shutil.copytree(phantom_dir, data)
    records = records_of_split(read_records(data, ""), "test")
    Path(records[0]["lumen"][records[0]["es"]]).unlink()
    for path in (path for record in records for path in record["frames"]):
        frame = pydicom.dcmread(path)
        frame.PixelSpacing = [1.5, 1.1]
        frame.save_as(path)
    folder = tmp_path_factory.mktemp("evaluated")
    result = run("evaluate", "--dataset_dir", data, "--ckpt_file", weights, "--output_dir", folder)
    assert result.returncode == 0, result.stderr[-3000:]
    return data, folder, result


def test_a_row_a_registration_with_the_scores_before_it(evaluated):
    data, folder, _ = evaluated
    table = pd.read_csv(folder / "registrations.csv")
    records = records_of_split(read_records(data, ""), "test")
    assert len(table) == 2 * len(records)
    for (_, row), record in zip(table[::2].iterrows(), records, strict=True):
        cine = LoadCined()(record)
        assert (row["patient"], row["slice"], row["direction"]) == (record["patient"], record["slice"], "ED-ES")
        assert [row["spacing_row"], row["spacing_column"]] == cine["spacing"] == [1.5, 1.1]
        if not row["missing"]:
            ed, es = cine["lumen"][record["ed"]].bool(), cine["lumen"][record["es"]].bool()
            expected = 2 * (ed & es).sum().item() / (ed.sum() + es.sum()).item()
            assert row["dice_before"] == pytest.approx(expected, abs=1e-5)
            assert row["mad_before"] == pytest.approx(surface_scores(ed, es, (1.5, 1.1))["mad"], rel=1e-5)
    assert (folder / "worst_to_best.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_structure_is_counted_and_in_no_mean(evaluated):
    _, folder, result = evaluated
    table = pd.read_csv(folder / "registrations.csv")
    summary = json.loads((folder / "summary.json").read_text())
    assert table["missing"].sum() == 2 == summary["missing structure"]
    assert table.loc[table["missing"], ["dice_before", "dice_after", "hd95_after", "mad_after"]].isna().all(axis=None)
    scored = table[~table["missing"]]
    assert summary["scored"] == len(scored) < len(table)
    for measure in ("dice", "hd95", "hd95_pooled", "mad", "ncc"):
        values = scored[f"{measure}_after"]
        assert np.isfinite(values).all()
        found = summary["all"][f"{measure} after"]
        assert [found["mean"], found["sd"]] == pytest.approx([values.mean(), values.std(ddof=0)], rel=1e-3)
    assert sum(group["registrations"] for group in summary["groups"].values()) == len(scored)
    assert "not scored, missing structure: 2" in result.stdout


def test_cines_without_contours_have_their_likeness_and_folds(run, phantom_dir, weights, tmp_path):
    records = records_of_split(read_records(phantom_dir, ""), "test")
    bare = [{key: record[key] for key in ("patient", "slice", "frames", "ed", "es")} for record in records]
    (tmp_path / "cines.json").write_text(json.dumps({"validation": bare}))
    options = ("--dataset_dir", tmp_path / "cines.json", "--ckpt_file", weights, "--output_dir", tmp_path / "results")
    result = run("evaluate", *options, "--split", "validation")
    assert result.returncode == 0, result.stderr[-3000:]
    table = pd.read_csv(tmp_path / "results" / "registrations.csv")
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert (summary["scored"], summary["all"]["dice after"]) == (0, None)
    assert summary["all"]["ncc after"]["mean"] == pytest.approx(table["ncc_after"].mean(), abs=1e-5)
    assert summary["all"]["folded percent"]["mean"] == pytest.approx(table["folded_percent"].mean(), abs=1e-5)


def test_results_are_not_overwritten_unasked(evaluated, run, weights):
    data, folder, _ = evaluated
    before = (folder / "registrations.csv").read_bytes()
    result = run("evaluate", "--dataset_dir", data, "--ckpt_file", weights, "--output_dir", folder)
    assert result.returncode != 0
    assert "--overwrite True" in result.stderr.splitlines()[-1]
    assert (folder / "registrations.csv").read_bytes() == before


def test_the_network_is_the_one_of_the_checkpoint(run, phantom_dir, tmp_path):
    """No overlay says which variant it is."""
    torch.save(DIRNet(channels=4, pooling="max").state_dict(), tmp_path / "a1.pt")
    options = ["--ckpt_file", tmp_path / "a1.pt", "--output_dir", tmp_path / "out"]
    result = run("evaluate", "--dataset_dir", phantom_dir, *options)
    assert result.returncode == 0, result.stderr[-2000:]
    network = json.loads((tmp_path / "out" / "summary.json").read_text())["network"]
    assert (network["channels"], network["pooling"]) == (4, "max")


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), (b"no checkpoint", "not a checkpoint")])
def test_a_file_that_is_no_checkpoint_is_named(run, phantom_dir, tmp_path, content, message):
    path = tmp_path / "weights.pt"
    if content:
        path.write_bytes(content)
    result = run("evaluate", "--dataset_dir", phantom_dir, "--ckpt_file", path, "--output_dir", tmp_path / "out")
    assert result.returncode != 0
    assert "weights.pt" in result.stderr.splitlines()[-1]
    assert message in result.stderr.splitlines()[-1]


def test_scd_without_registration_gives_the_published_row(run, scd_dir, tmp_path):
    """Dice 0.721, HD95 10.13 and 10.00 mm, MAD 5.81 mm over 264 registrations, from an identity network."""
    torch.save(DIRNet(channels=32, poolings=3, extra_convolutions=True).state_dict(), tmp_path / "identity.pt")
    options = ["--ckpt_file", tmp_path / "identity.pt", "--output_dir", tmp_path / "out"]
    result = run("evaluate", "--dataset_dir", scd_dir, *options)
    assert result.returncode == 0, result.stderr[-3000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scored"] == summary["registrations"] == summary["spacing assumed"] == 264
    for state in ("before", "after"):
        found = {measure: summary["all"][f"{measure} {state}"] for measure in ("dice", "hd95", "hd95_pooled", "mad")}
        assert round(found["dice"]["mean"], 3) == 0.721
        assert round(found["dice"]["sd"], 3) == 0.179
        assert round(found["hd95"]["mean"], 2) == 10.13
        assert round(found["hd95_pooled"]["mean"], 2) == 10.00
        assert round(found["mad"]["mean"], 2) == 5.81
    assert summary["all"]["folded percent"] == {"mean": 0.0, "sd": 0.0}
