"""``compare``: its rows, and its tables of volumes and of cines."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
import torch

from app.experiments.compare import dimensions
from app.experiments.rivals import RIVALS, chosen_rows
from dirnet.models import SHIPPED
from dirnet.nets.networks import DIRNet
from transforms.phantom import write_volumes


def test_rows_by_dimension_and_in_order(tmp_path):
    file = tmp_path / "mine" / "model.pt"
    file.parent.mkdir()
    file.touch()
    every = ",".join(RIVALS)
    rows, _ = chosen_rows(every, ["contours", str(file), f"voxelmorph={file}"], 2)
    assert [row.name for row in rows][:4] == ["before", "contours", "mine", "voxelmorph"]
    assert rows[1].weights == SHIPPED["contours"]
    assert "elastix_affine" not in {row.name for row in rows}
    rows, _ = chosen_rows("dis,elastix_tuned,before", [], 3)
    assert [row.name for row in rows] == ["before", "elastix_tuned"]
    assert rows[1].inferer[3]["spatial_dims"] == 3


def test_what_is_not_installed_is_left_out_with_a_word(monkeypatch):
    monkeypatch.setattr("app.experiments.rivals.find_spec", lambda name: None)
    rows, left_out = chosen_rows("before,syn,greedy,demons", [], 3)
    assert [row.name for row in rows] == ["before", "demons"]
    assert left_out == [
        "SyN, DIPY: left out, dipy is not installed",
        "greedy: left out, picsl_greedy is not installed",
    ]


def test_wrong_rows_and_weights(tmp_path):
    with pytest.raises(ValueError, match=r"^rows must be some of before,.*; got 'ants'"):
        chosen_rows("ants", [], 3)
    with pytest.raises(FileNotFoundError, match="weights 'none' do not exist"):
        chosen_rows("before", ["none"], 3)
    (tmp_path / "a.pt").touch()
    with pytest.raises(ValueError, match="a title of its own for each, TITLE=FILE; got a, a"):
        chosen_rows("before", [str(tmp_path / "a.pt")] * 2, 3)


def test_cines_and_volumes_are_told_apart(tmp_path):
    lists = {"volumes": {"labels": {"1": "A"}, "test": [{"image": "a"}]}, "cines": {"test": [{"frames": ["a"]}]}}
    for name, content in lists.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert (dimensions(tmp_path / "volumes.json"), dimensions(tmp_path / "cines.json")) == (3, 2)
    assert dimensions(tmp_path) == 2
    (tmp_path / "imagesTr").mkdir()
    assert dimensions(tmp_path) == 3
    with pytest.raises(FileNotFoundError, match="does not exist; expected a folder or a datalist"):
        dimensions(tmp_path / "none")


def test_volumes_in_one_table(run, tmp_path):
    data = write_volumes(tmp_path / "data", 3, (16, 20, 16), (2.0, 2.0, 2.0))
    torch.manual_seed(0)
    network = DIRNet(spatial_dims=3, channels=4, poolings=1)
    torch.nn.init.constant_(network.regressor[-1].bias, 0.5)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    lists = json.loads((data / "datalist.json").read_text())
    lists["test"] += lists.pop("validation")
    (data / "datalist.json").write_text(json.dumps(lists))
    results = tmp_path / "results"
    options = ["compare", "--dataset_dir", data / "datalist.json", "--output_dir", results]
    options += ["--weights", f"mine={tmp_path / 'model.pt'}", "--rows", "before,elastix_affine"]
    run(*options)
    table = pd.read_csv(results / "compare.csv").set_index("method")
    assert list(table.index) == ["before", "mine", "elastix_affine"]
    assert table["registrations"].tolist() == [2, 2, 2]
    assert (
        table.loc["before", ["folded_percent_mean", "log_jacobian_sd_mean", "milliseconds_median"]].tolist() == [0] * 3
    )
    assert table.loc["elastix_affine", "dice_mean"] > table.loc["before", "dice_mean"] + 0.05
    assert (table["peak_mb"] > 100).all()
    rows = pd.read_csv(results / "registrations.csv")
    for method, group in rows.groupby("method"):
        assert table.loc[method, "dice_mean"] == pytest.approx(group["dice"].mean(), rel=1e-4)
        assert np.allclose(group["dice"], (group["anterior_dice_after"] + group["posterior_dice_after"]) / 2, rtol=1e-4)
    text = (results / "compare.md").read_text()
    assert "| elastix, affine |" in text
    assert "## Paired tests against mine" in text
    assert "2 of 2 registrations scored" in text
    assert "--weights mine=model.pt --rows before,elastix_affine" in text
    again = run(*options)
    assert again.count("registered before, kept") == 3
    refused = run(*options, "--pairs", 1, fails=True)
    assert "was begun with other settings: pairs None (now 1)" in refused


@pytest.mark.skipif(importlib.util.find_spec("cv2") is None, reason="OpenCV is not installed")
def test_cines_in_one_table(run, phantom_dir, tmp_path):
    run("compare", "--dataset_dir", phantom_dir, "--output_dir", tmp_path / "r", "--rows", "before,dis", "--pairs", 2)
    table = pd.read_csv(tmp_path / "r" / "compare.csv").set_index("method")
    assert table["registrations"].tolist() == [2, 2]  # one slice of two, there and back
    assert table.loc["dis", "dice_mean"] > table.loc["before", "dice_mean"]
    assert table.loc["dis", "log_jacobian_sd_mean"] > 0
