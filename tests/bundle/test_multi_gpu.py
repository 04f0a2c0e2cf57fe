"""Training by several processes, here two on the CPU: it is that of one process."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import ignite.distributed as idist
import pytest
import torch
import torch.distributed as dist
from monai.bundle import create_workflow
from monai.utils import set_determinism
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dirnet.errors import cause_of

# without bfloat16, so that the order of additions is all that differs, and with a regularization that is never 0
SMALL = ["--batch_size", 4, "--spatial_size", "[64,64]", "--crop_size", "[32,32]", "--val_interval", 2]
SMALL += ["--iterations", 10, "--amp", False, "--regularization#margin", 1.2]
TOLERANCE = 2e-4  # of losses near 2; Adam makes of a rounding of 1e-7 about 1e-5 in ten iterations


@pytest.fixture(scope="module")
def one(run, phantom_dir, tmp_path_factory):
    """The training by one process."""
    folder = tmp_path_factory.mktemp("one")
    options = ["--dataset_dir", phantom_dir, "--output_dir", folder, *SMALL]
    result = run("train", *options, env={"CUDA_VISIBLE_DEVICES": ""})
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def two(one, run, phantom_dir, tmp_path_factory):
    """The same by two, and its folder as it was when some iterations were done."""
    folder, stopped = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("stopped")
    options = ["--dataset_dir", phantom_dir, "--output_dir", folder, *SMALL]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, "train", *options, processes=2)
        while not running.done():
            if (folder / "last.pt").exists() and torch.load(folder / "last.pt", weights_only=True)["iteration"]:
                for path in folder.glob("*.json"):
                    shutil.copy(path, stopped)
                for path in (folder / "last.pt", folder / "model.pt"):
                    shutil.copy(path, stopped)
                break
            time.sleep(0.02)
        result = running.result()
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, stopped, result


def _scalars(folder):
    events = EventAccumulator(str(folder / "events")).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_losses_and_scores_are_those_of_one_process(one, two):
    expected, found = _scalars(one), _scalars(two[0])
    assert expected.keys() == found.keys()
    assert [step for step, _ in found["train_loss"]] == list(range(1, 11))
    assert [step for step, _ in found["val_loss"]] == [0, 2, 4, 6, 8, 10]
    for tag, points in expected.items():
        steps, values = zip(*points, strict=True)
        steps_found, values_found = zip(*found[tag], strict=True)
        assert steps_found == steps, tag
        assert values_found == pytest.approx(values, abs=TOLERANCE), tag
    assert expected["train_regularization"][-1][1] > 0.1


def test_weights_are_those_of_one_process(one, two):
    for name in ("model", "model_final"):
        expected, found = (torch.load(folder / f"{name}.pt", weights_only=True) for folder in (one, two[0]))
        assert expected.keys() == found.keys()
        for key in expected:
            # on average: Adam takes a weight whose gradient is nothing but rounding as far as any other
            difference = (found[key].double() - expected[key].double()).abs().mean()
            assert difference < TOLERANCE * (1 + expected[key].double().abs().mean()), key


def test_only_the_first_process_writes(one, two):
    folder, _, result = two
    assert {path.name for path in folder.iterdir()} == {path.name for path in one.iterdir()}
    assert len(list((folder / "events").iterdir())) == 1
    # of the two data sets it loads, training and validation, one each
    for line, count in {"iteration 10: val_dice": 1, "best weights": 1, "Loading dataset: 100%": 2}.items():
        assert (result.stdout + result.stderr).count(line) == count, line
    for name in ("settings", "datalist"):
        assert json.loads((folder / f"{name}.json").read_text()) == json.loads((one / f"{name}.json").read_text())


def test_goes_on_to_the_same_weights_as_unbroken(two, run, phantom_dir):
    folder, stopped, _ = two
    assert 0 < torch.load(stopped / "last.pt", weights_only=True)["iteration"] < 10
    options = ["--dataset_dir", phantom_dir, "--output_dir", stopped, *SMALL, "--resume", True]
    result = run("train", *options, processes=2)
    assert result.returncode == 0, result.stderr[-3000:]
    expected, found = (torch.load(path / "model_final.pt", weights_only=True) for path in (folder, stopped))
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


def test_an_error_ends_all_with_one_message(run, phantom_dir, tmp_path):
    options = ["--dataset_dir", phantom_dir, "--output_dir", tmp_path / "out", *SMALL, "--batch_size", 5]
    result = run("train", *options, processes=2)
    assert result.returncode != 0
    message = "error: batch_size must be a multiple of the number of processes, 2, which share each batch; got 5"
    assert sum(line.endswith(message) for line in result.stderr.splitlines()) == 1
    assert result.stderr.count("error: ") == 1
    assert result.stderr.count("Traceback") == 1  # torchrun's own
    assert not (tmp_path / "out").exists()


def _workflow(bundle, **options):
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    return create_workflow(config_file=configs, workflow_type="train", logging_file=False, **options)


def test_without_torchrun_it_says_how_to_start(bundle, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(RuntimeError) as caught:
        _workflow(bundle)
    assert "torchrun --standalone" in str(cause_of(caught.value))


def test_has_every_property_and_runs_as_the_only_process_too(bundle, phantom_dir, tmp_path, monkeypatch):
    """On a machine with a GPU this is the test that uses it."""
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    options = {"dataset_dir": str(phantom_dir), "output_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path / "c")}
    options |= {"iterations": 2, "batch_size": 3, "spatial_size": [64, 64]}
    workflow = _workflow(bundle, **options)
    try:
        assert workflow.check_properties() == []
        workflow.run()
        workflow.finalize()
    finally:
        set_determinism(None)
        if dist.is_initialized():
            dist.destroy_process_group()
            idist.sync()
    assert (tmp_path / "out" / "model_final.pt").exists()
    # threads of the group that are left could abort the interpreter when it ends
    assert not [name for name in _threads() if "gloo" in name]


def _threads():
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # of a thread that has just ended
            names.append(path.read_text())
    return names
