"""Training through monai.bundle, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from ignite.engine import Engine, Events
from monai.bundle import create_workflow
from monai.utils import set_determinism
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dirnet.nets.networks import DIRNet
from dirnet.nets.weights import load_network
from dirnet.training.runs import find_runs
from dirnet.training.state import TrainingState
from transforms.pairing import RemainingBatches

SMALL = ["--batch_size", 4, "--spatial_size", "[64,64]", "--val_interval", 6]


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
    assert {"train_loss", "train_regularization", "learning_rate", "val_loss", "val_ncc", "val_dice"} <= set(
        tags["scalars"]
    )
    assert [e.step for e in events.Scalars("train_loss")] == list(range(1, 21))
    assert [e.step for e in events.Scalars("val_dice")] == [0, 6, 12, 18, 20]
    assert len(events.Images("registrations")) == 5
    (best,) = events.Scalars("best_val_loss")
    assert best.value == min(e.value for e in events.Scalars("val_loss"))
    assert best.step == 20
    assert (folder / "registrations.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "settings.json").read_text())["seed"] == 0
    assert json.loads((folder / "datalist.json").read_text())["training"]
    assert "training: [20/20]" in result.stderr
    assert "iteration 20: val_dice" in result.stdout + result.stderr
    assert not list(folder.glob(".writing-*"))


def test_another_similarity_trains(run, phantom_dir, tmp_path):
    mind = "{'_target_': 'dirnet.nets.similarities.MINDLoss', 'distance': 1}"
    options = ["--iterations", 12, "--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--similarity", mind]
    result = run("train", *SMALL, *options)
    assert result.returncode == 0, result.stderr[-3000:]
    found = EventAccumulator(str(tmp_path / "events")).Reload()
    losses = [event.value for event in found.Scalars("train_similarity_loss")]
    assert len(losses) == 12
    assert 0 < min(losses) < max(losses) < 0.5  # NCC's are below 0
    assert json.loads((tmp_path / "config.json").read_text())["similarity"]["distance"] == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_train_to_the_same_losses(run, phantom_dir, tmp_path):
    small = ["--iterations", 4, "--val_interval", 4, "--network_def#poolings", 2, "--dataset_dir", phantom_dir]
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    for folder, options in ((plain, []), (compiled, ["--compile", True])):
        result = run("train", *SMALL, *small, *options, "--output_dir", folder)
        assert result.returncode == 0, result.stderr[-3000:]
    expected, found = (
        [event.value for event in EventAccumulator(str(folder / "events")).Reload().Scalars("train_loss")]
        for folder in (plain, compiled)
    )
    assert found != expected  # else nothing was compiled
    assert found == pytest.approx(expected, abs=0.02)
    names = [torch.load(folder / "model.pt", weights_only=True).keys() for folder in (plain, compiled)]
    assert names[0] == names[1]


def test_the_run_is_listed(trained):
    folder, _ = trained
    (run,), damaged = find_runs(folder)
    assert (run.state, damaged) == ("finished", [])
    assert run.options["iterations"] == 20
    assert run.options["similarity#_target_"].endswith("NCCLoss")
    assert {"val_loss", "val_ncc", "val_dice"} == set(run.scores)


def test_keeps_the_best_weights_by_validation_loss(trained):
    folder, _ = trained
    events = EventAccumulator(str(folder / "events")).Reload()
    losses = [e.value for e in events.Scalars("val_loss")]
    assert torch.load(folder / "last.pt", weights_only=True)["best"] == pytest.approx(min(losses), abs=1e-6)
    best, final = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("model", "model_final"))
    same = all(torch.equal(best[name], final[name]) for name in best)
    assert same == (losses[-1] == min(losses))


def test_the_best_weights_are_those_of_the_best_validation(tmp_path):
    network = torch.nn.Linear(1, 1)
    validator, trainer = Engine(lambda *_: None), Engine(lambda *_: None)
    sampler = RemainingBatches(4)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    TrainingState(tmp_path, network, optimizer, schedule, sampler, validator, interval=1).attach(trainer)
    for weight, loss in enumerate((0.5, 0.2, 0.9, 0.3)):
        torch.nn.init.constant_(network.weight, weight)
        validator.add_event_handler(
            Events.STARTED, lambda engine, loss=loss: engine.state.metrics.update(val_loss=loss)
        )
        validator.run([0])
    assert torch.load(tmp_path / "model.pt", weights_only=True)["weight"].item() == 1


def test_a_killed_run_resumes_to_the_same_weights_as_an_unbroken_one(trained, run, bundle, phantom_dir, tmp_path):
    whole, _ = trained
    options = [*SMALL, "--iterations", 20, "--dataset_dir", phantom_dir, "--output_dir", tmp_path]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "train.json"]
    command = [str(part) for part in [*command, *options, "--cache_dir", tmp_path / "cache"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (tmp_path / "last.pt").exists() or torch.load(tmp_path / "last.pt", weights_only=True)["iteration"] == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < torch.load(tmp_path / "last.pt", weights_only=True)["iteration"] < 20

    again = run("train", *options)
    assert again.returncode != 0
    assert "--resume True" in again.stderr

    on = run("train", *options, "--resume", True)
    assert on.returncode == 0, on.stderr[-3000:]
    bar = re.search(r"training: ?\[(\d+)/20\]", on.stderr)
    assert int(bar[1]) > 1  # starts where the other ended
    expected = torch.load(whole / "model_final.pt", weights_only=True)
    resumed = torch.load(tmp_path / "model_final.pt", weights_only=True)
    assert expected.keys() == resumed.keys()
    for name in expected:
        assert torch.equal(expected[name], resumed[name]), name
    best = [torch.load(folder / "last.pt", weights_only=True)["best"] for folder in (whole, tmp_path)]
    assert best[0] == best[1]


def test_ctrl_c_ends_on_one_line_that_says_how_to_go_on(forks, bundle, phantom_dir, tmp_path):
    command = ["monai.bundle", "run", "training", "--config_file", bundle / "configs" / "train.json"]
    command += ["--batch_size", 4, "--spatial_size", "[64,64]", "--iterations", 2000, "--val_interval", 500]
    command += ["--dataset_dir", phantom_dir, "--output_dir", tmp_path / "out", "--cache_dir", tmp_path / "cache"]
    process = forks.start(*command, cwd=tmp_path, env=os.environ)
    deadline = time.monotonic() + 300
    while not (tmp_path / "out" / "last.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert last.startswith("training interrupted; the same command and --resume True resumes")
    assert last.endswith("at most 500 iterations back")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--iterations", 30], "iterations 20 (now 30)"),
        (["--iterations", 20, "--regularization_weight", 1], "regularization_weight 10 (now 1)"),
        (["--iterations", 20, "--train_splits", "validation"], "other settings, which cannot be resumed: training"),
        (["--iterations", 20], "is complete: 20 iterations"),
    ],
)
def test_resuming_what_is_complete_or_with_other_settings_is_refused(trained, run, phantom_dir, options, message):
    folder, _ = trained
    files = {path: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}
    common = ["--dataset_dir", phantom_dir, "--output_dir", folder, "--resume", True]
    result = run("train", *SMALL, *common, *options)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]
    assert files == {path: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset_dir", "nowhere"], "dataset_dir 'nowhere' does not exist; expected a folder in SCD's layout"),
        (["--resume", True], "holds no last.pt"),
        (["--resume", "true"], "resume must be True or False"),
        (["--network_def#pooling", "median"], "pooling must be one of"),
        (["--amp", "true"], "amp must be True or False"),
        (["--batch_size", 0], "batch_size must be a whole number from 1, got 0"),
        (["--val_interval", 0], "val_interval must be a whole number from 1, got 0"),
        (["--crop_size", 64], "must be two numbers of pixels, got 64"),
        (["--train_splits", "everything"], "split must be one of"),
    ],
)
def test_wrong_input_ends_on_one_line_and_leaves_no_checkpoint(run, phantom_dir, tmp_path, options, message):
    result = run("train", "--dataset_dir", phantom_dir, "--output_dir", tmp_path / "out", *SMALL, *options)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").glob("*.pt"))


def test_a_damaged_file_is_named_and_nothing_is_left(run, phantom_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(phantom_dir, data)
    frame = data / "SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0001-0005.dcm"
    frame.write_bytes(frame.read_bytes()[:-1000])
    result = run("train", "--dataset_dir", data, "--output_dir", tmp_path / "out", *SMALL)
    assert result.returncode != 0
    assert (
        "IM-0001-0005.dcm: Rows x Columns = 48 x 64: expected 6144 bytes of pixels, found 5144"
        in result.stderr.splitlines()[-1]
    )
    assert not list((tmp_path / "out").glob("*.*"))


@pytest.mark.parametrize("variant", ["bl", "a1", "a2", "b1", "b2", "c1", "c2"])
def test_variants_train(bundle, phantom_dir, tmp_path, variant):
    """Each overlay gives another network, which learns with and without regularization."""
    configs = [str(bundle / "configs" / name) for name in ("train.json", f"variants/{variant}.json")]
    options = {"dataset_dir": str(phantom_dir), "output_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache")}
    options |= {"iterations": 1, "batch_size": 2, "regularization_weight": 0 if variant < "b" else 5}
    if variant != "c2":
        options["spatial_size"] = [64, 64]
    workflow = create_workflow(config_file=configs, workflow_type="train", logging_file=False, **options)
    before = {name: value.clone() for name, value in workflow.network_def.named_parameters()}
    workflow.run()
    workflow.finalize()
    set_determinism(None)
    assert any(not torch.equal(value, before[name]) for name, value in workflow.network_def.named_parameters())
    definition = json.loads((tmp_path / "settings.json").read_text())["network"]
    assert definition == workflow.network_def.definition
    expected = {
        "bl": {},
        "a1": {"pooling": "max"},
        "a2": {"pooling": "stride"},
        "b1": {"order": 2},
        "b2": {"spline": "thin_plate", "order": None, "boundary": None},
        "c1": {"extra_convolutions": True},
        "c2": {"fully_connected": [256, 256]},
    }
    assert definition == DIRNet().definition | expected[variant]


def test_a_regularization_of_monai_can_be_asked_for(run, phantom_dir, tmp_path):
    options = ["--dataset_dir", phantom_dir, "--output_dir", tmp_path, "--iterations", 2, *SMALL]
    options += ["--regularization", "{'_target_': 'monai.losses.BendingEnergyLoss'}", "--regularization_weight", 0.5]
    result = run("train", *options)
    assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((tmp_path / "settings.json").read_text())["regularization"] == "BendingEnergyLoss()"


@pytest.mark.parametrize(
    "options",
    [
        {"similarity": {"_target_": "monai.losses.LocalNormalizedCrossCorrelationLoss", "spatial_dims": 2}},
        {"similarity": {"_target_": "monai.losses.GlobalMutualInformationLoss"}},
        {"similarity": {"_target_": "torch.nn.MSELoss"}},
        {
            "optimizer#_target_": "torch.optim.AdamW",
            "network_def": {
                "_target_": "dirnet.nets.adapters.DenseNetwork",
                "target": "monai.networks.nets.VoxelMorph",
                "options": {"spatial_dims": 2},
                "divisor": 32,
            },
        },
    ],
    ids=["local NCC", "mutual information", "MSE", "VoxelMorph by AdamW"],
)
def test_another_similarity_optimizer_or_network_trains_and_is_recorded(bundle, phantom_dir, tmp_path, options):
    folders = {"dataset_dir": str(phantom_dir), "output_dir": str(tmp_path), "cache_dir": str(tmp_path / "cache")}
    small = {"iterations": 2, "batch_size": 2, "spatial_size": [64, 64], "crop_size": [64, 64], "val_interval": 2}
    config = str(bundle / "configs" / "train.json")
    workflow = create_workflow(
        config_file=config, workflow_type="train", logging_file=False, **folders, **small, **options
    )
    before = {name: value.clone() for name, value in workflow.network_def.named_parameters()}
    workflow.run()
    workflow.finalize()
    set_determinism(None)
    assert any(not torch.equal(value, before[name]) for name, value in workflow.network_def.named_parameters())
    kept = json.loads((tmp_path / "config.json").read_text())
    for key, value in options.items():
        found = kept
        for part in key.split("#"):
            found = found[part]
        assert found == value
    network = load_network(tmp_path / "model_final.pt")
    assert network.definition == workflow.network_def.definition


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "{'_target_':'torch.nn.MSELoss'}"], "loss: expected the loss of a registration"),
        (["--network_def#spatial_dims", 3], "network_def: this training is of 2-D slices, the network is 3-D"),
        (["--loss#image_loss", 1], "RegistrationLoss: RegistrationLoss.__init__() got an unexpected keyword argument"),
    ],
)
def test_a_part_that_does_not_fit_ends_on_one_line(run, phantom_dir, tmp_path, options, message):
    result = run("train", "--dataset_dir", phantom_dir, "--output_dir", tmp_path / "out", *SMALL, *options)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


def test_a_resume_with_another_option_is_refused(trained, run, phantom_dir):
    folder, _ = trained
    common = ["--dataset_dir", phantom_dir, "--output_dir", folder, "--resume", True, "--iterations", 20]
    result = run("train", *SMALL, *common, "--optimizer#weight_decay", 0.1)
    assert result.returncode != 0
    assert "optimizer#weight_decay None (now 0.1)" in result.stderr.splitlines()[-1]


def test_without_data_it_says_that_it_uses_the_phantom_and_learns(run, tmp_path):
    result = run("train", "--iterations", 60, "--batch_size", 16, "--output_dir", tmp_path, "--val_interval", 60)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "phantom" in result.stdout
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    first, last = (events.Scalars("val_dice")[i].value for i in (0, -1))
    assert last > first + 0.05
