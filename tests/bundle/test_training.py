"""Training through monai.bundle, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SMALL = ["--batch_size", 4, "--spatial_size", "[64,64]", "--val_interval", 5]


@pytest.fixture(scope="module")
def trained(run, phantom_dir, tmp_path_factory):
    """An unbroken training of 20 iterations on the phantom."""
    folder = tmp_path_factory.mktemp("trained")
    result = run("train", *SMALL, "--iterations", 20, "--dataset_dir", phantom_dir, "--output_dir", folder)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def test_leaves_checkpoints_events_pictures_and_what_it_was_started_with(trained):
    folder, result = trained
    assert {p.name for p in folder.glob("*.pt")} == {"model.pt", "last.pt", "model_final.pt"}
    events = EventAccumulator(str(folder / "events"), size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    assert {"train_loss", "learning_rate", "val_loss", "val_ncc", "val_dice"} <= set(tags["scalars"])
    assert [e.step for e in events.Scalars("train_loss")] == list(range(1, 21))
    assert [e.step for e in events.Scalars("val_dice")] == [0, 5, 10, 15, 20]
    assert len(events.Images("registrations")) == 5
    assert (folder / "registrations.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "settings.json").read_text())["seed"] == 0
    assert json.loads((folder / "datalist.json").read_text())["training"]
    assert "training: [20/20]" in result.stderr
    assert "iteration 20: val_dice" in result.stdout + result.stderr
    assert not list(folder.glob(".writing-*"))


def test_keeps_the_best_weights_by_validation_loss(trained):
    folder, _ = trained
    events = EventAccumulator(str(folder / "events")).Reload()
    losses = [e.value for e in events.Scalars("val_loss")]
    assert torch.load(folder / "last.pt", weights_only=True)["best"] == pytest.approx(min(losses), abs=1e-6)


def test_a_killed_run_resumes_to_the_same_weights_as_an_unbroken_one(trained, bundle, phantom_dir, tmp_path):
    whole, _ = trained
    config = bundle / "configs" / "train.json"
    options = [
        "--iterations",
        20,
        "--dataset_dir",
        phantom_dir,
        "--output_dir",
        tmp_path,
        "--cache_dir",
        tmp_path / "c",
    ]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, *SMALL, *options]
    command = [str(part) for part in command]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.load(tmp_path / "last.pt", weights_only=True)["iteration"] < 20

    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode != 0
    assert "--resume True" in again.stderr

    subprocess.run([*command, "--resume", "True"], env=environment, check=True, capture_output=True)
    expected = torch.load(whole / "model_final.pt", weights_only=True)
    resumed = torch.load(tmp_path / "model_final.pt", weights_only=True)
    assert expected.keys() == resumed.keys()
    for name in expected:
        assert torch.equal(expected[name], resumed[name]), name
    best = [torch.load(folder / "last.pt", weights_only=True)["best"] for folder in (whole, tmp_path)]
    assert best[0] == best[1]


def test_resuming_with_other_settings_is_refused(trained, run, phantom_dir):
    folder, _ = trained
    options = ["--iterations", 30, "--dataset_dir", phantom_dir, "--output_dir", folder, "--resume", True]
    result = run("train", *SMALL, *options)
    assert result.returncode != 0
    assert "iterations 20 (now 30)" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset_dir", "nowhere"], "dataset_dir 'nowhere' does not exist; expected a folder in SCD's layout"),
        (["--resume", True], "holds no last.pt"),
        (["--resume", "true"], "resume must be True or False"),
        (["--network_def#pooling", "median"], "pooling must be one of"),
    ],
)
def test_wrong_input_ends_on_one_line_and_leaves_no_checkpoint(run, phantom_dir, tmp_path, options, message):
    result = run("train", "--dataset_dir", phantom_dir, "--output_dir", tmp_path / "out", *SMALL, *options)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").glob("*.pt"))


def test_a_regularization_and_a_variant_can_be_asked_for(run, phantom_dir, tmp_path):
    options = ["--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--iterations", 2, *SMALL]
    options += ["--regularization", "{'_target_': 'monai.losses.BendingEnergyLoss'}", "--network_def#order", 2]
    result = run("train", *options)
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((tmp_path / "settings.json").read_text())["network"]["order"] == 2


def test_without_data_it_says_that_it_uses_the_phantom_and_learns(run, tmp_path):
    result = run("train", "--iterations", 60, "--batch_size", 16, "--output_dir", tmp_path, "--val_interval", 60)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "phantom" in result.stdout
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    first, last = (events.Scalars("val_dice")[i].value for i in (0, -1))
    assert last > first + 0.05
