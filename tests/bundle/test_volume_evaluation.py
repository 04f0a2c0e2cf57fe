"""Evaluation of volumes through monai.bundle."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import torch

from dirnet.nets.networks import DIRNet
from transforms.records import records_of_split
from transforms.volume_loading import LoadVolumed
from transforms.volume_records import read_volume_records


def test_a_row_a_pair_of_the_phantom(run, tmp_path):
    torch.manual_seed(0)
    network = DIRNet(spatial_dims=3, channels=4, poolings=2)
    torch.nn.init.constant_(network.regressor[-1].bias, 1.0)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    folder = tmp_path / "results"
    options = ("--ckpt_file", tmp_path / "model.pt", "--output_dir", folder, "--pairs", 1, "--seed", 3)
    result = run("evaluate+evaluate_volumes", *options)
    assert result.returncode == 0, result.stderr[-3000:]
    (row,) = pd.read_csv(folder / "registrations.csv").to_dict("records")
    records = records_of_split(read_volume_records(None, folder / "phantom"), "test")
    assert {row["moving_patient"], row["fixed_patient"]} == {record["patient"] for record in records}
    masks = [LoadVolumed()(record)["masks"].numpy() > 0 for record in records]
    for k, name in enumerate(("anterior", "posterior")):  # the phantoms have one size, so that centres are places
        expected = 2 * (masks[0][k] & masks[1][k]).sum() / (masks[0][k].sum() + masks[1][k].sum())
        assert np.isclose(row[f"{name}_dice_before"], expected, atol=1e-5)
        assert row[f"{name}_dice_after"] != row[f"{name}_dice_before"]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["split"], summary["pairs"], summary["seed"]) == ("test", 1, 3)
    assert (folder / "worst_to_best.png").read_bytes().startswith(b"\x89PNG")
    assert "Mean over structures, test split: 1 of 1 scored" in result.stdout
