"""Trainings side by side, by what they have written: the table, and TensorBoard's own comparison."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler
from torch.utils.tensorboard import SummaryWriter
from typer.testing import CliRunner

from app.command_line import app
from dirnet.errors import InputError
from dirnet.training.record import check_run, release, write_record
from dirnet.training.runs import RunSummary, best_scores, find_runs, runs_table

LOSSES = {0: (0.0, 0.5), 10: (-0.8, 0.9), 20: (-0.7, 0.95)}  # by iteration: loss and Dice


def settings(rate, **network):
    return {"iterations": 20, "learning_rate": rate, "amp": True, "crop_size": [64, 64], "network": network}


def make_run(folder: Path, rate: float, iteration: int = 20, about=None, **more) -> Path:
    """What a training leaves."""
    config = {
        "iterations": "$20 if @a else 3",
        "learning_rate": "$@b",
        "batch_size": 4,
        "output_dir": str(folder),
        **more,
    }
    write_record(folder, {"settings": about or settings(rate), "config": config, "datalist": {}})
    best = min((loss for step, (loss, _) in LOSSES.items() if step <= iteration))
    torch.save({"iteration": iteration, "best": best}, folder / "last.pt")
    with SummaryWriter(str(folder / "events")) as writer:
        for step, (loss, dice) in LOSSES.items():
            if step <= iteration:
                writer.add_scalar("val_loss", loss, step)
                writer.add_scalar("val_dice", dice, step)
                writer.add_scalar("train_loss", loss, step)
    return folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "runs"
    for number, (name, rate, iteration, more) in enumerate(
        [
            ("b", 0.01, 20, {"similarity": {"_target_": "NCCLoss"}}),
            ("deep/a", 0.02, 10, {"similarity": {"_target_": "MINDLoss", "distance": 3}}),
            ("c", 0.01, 0, {"similarity": {"_target_": "NCCLoss"}, "dataset_dir": "/data/scd"}),
        ]
    ):
        made = make_run(folder / name, rate, iteration, **more)
        os.utime(made / "settings.json", (1.7e9 + 3600 * number, 1.7e9 + 3600 * number))
    return folder


def test_each_run_says_how_far_it_is_how_well_it_does_and_what_differs(folder):
    runs, damaged = find_runs(folder)
    table = runs_table(runs, folder)
    assert damaged == []
    assert table["run"].tolist() == ["b", "deep/a", "c"]
    assert table["started"].is_monotonic_increasing
    assert table["state"].tolist() == ["finished", "stopped at 10 of 20", "stopped at 0 of 20"]
    assert table["val_loss"].tolist() == [-0.8, -0.8, 0.0]
    assert table["val_dice"].tolist() == pytest.approx([0.9, 0.9, 0.5])  # of the best loss, not the best Dice
    differing = ["learning_rate", "similarity#_target_", "similarity#distance", "dataset_dir"]
    assert table.columns.tolist()[3:] == ["val_loss", "val_dice", *differing]
    assert table["learning_rate"].tolist() == ["0.01", "0.02", "0.01"]  # as resolved
    assert table["similarity#distance"].fillna("").tolist() == ["", "3", ""]


def test_a_run_that_trains_now_says_so(folder):
    (folder / "c" / "last.pt").rename(folder / "c" / "last")
    check_run(folder / "c", False, {"settings": {}})  # this process trains there
    (folder / "c" / "last").rename(folder / "c" / "last.pt")
    try:
        assert [run.state for run in find_runs(folder)[0]][-1] == "running at 0 of 20"
    finally:
        release(folder / "c")
    assert [run.state for run in find_runs(folder)[0]][-1] == "stopped at 0 of 20"


def test_the_command_shows_the_table_and_writes_it(folder, tmp_path):
    result = CliRunner().invoke(app, ["runs", str(folder), "--csv", str(tmp_path / "runs.csv")])
    assert result.exit_code == 0, result.output
    for text in ("deep/a", "stopped at 10 of 20", "similarity#distance 3", "learning_rate 0.02", "-0.8000", "0.9000"):
        assert text in result.stdout
    assert "batch_size" not in result.stdout
    found = pd.read_csv(tmp_path / "runs.csv", index_col="run")
    assert found.loc["deep/a", "learning_rate"] == 0.02
    assert found.loc["c", "dataset_dir"] == "/data/scd"
    again = CliRunner().invoke(app, ["runs", str(folder), "--csv", str(tmp_path / "runs.csv")])
    assert isinstance(again.exception, FileExistsError)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("last.pt", "PK", "last.pt is not a checkpoint"),
        ("config.json", "{", "config.json is damaged"),
        ("settings.json", "{}", "expected the record of a training"),
        ("settings.json", "[1]", "expected the record of a training"),
        ("config.json", None, "holds no config.json"),
    ],
)
def test_a_damaged_run_is_named_and_left_out(folder, file, content, message):
    path = folder / "b" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    runs, (damaged,) = find_runs(folder)
    assert [run.folder.name for run in runs] == ["a", "c"]
    assert str(folder / "b") in damaged
    assert message in damaged
    result = CliRunner().invoke(app, ["runs", str(folder)])
    assert result.exit_code == 0
    assert "warning: left out" in result.stderr
    assert message in result.stderr


def test_a_folder_without_runs(tmp_path):
    (tmp_path / "settings.json").write_text("{}")  # of something else
    with pytest.raises(InputError, match="holds no training"):
        find_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_runs(tmp_path / "nowhere")


def test_scores_without_events(folder, tmp_path):
    assert best_scores(tmp_path / "nowhere") == {}
    for path in (folder / "b" / "events").iterdir():
        path.unlink()
    assert dict(find_runs(folder)[0][0].scores) == {"val_loss": -0.8}


def end_training(folder, about):
    """The handler at the end of a training of 20 iterations."""
    with SummaryWriter(str(folder / "events")) as writer:
        engine = Engine(lambda *_: None)
        RunSummary(writer, about).attach(engine)
        engine.add_event_handler(Events.STARTED, lambda: writer.add_scalar("val_loss", 5.0, 21))
        engine.run([0] * 20)


def test_tensorboard_compares_the_hyperparameters_and_best_scores_of_runs(folder):
    end_training(folder / "b", settings(0.01, channels=16))
    end_training(folder / "deep" / "a", settings(0.02, channels=16, order=2))
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder))))
    request = RequestContext()
    content = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(request, "", True, content, [])
    names = {info.name for info in experiment.hparam_infos}
    assert names == {"iterations", "learning_rate", "amp", "crop_size", "network#channels", "network#order"}
    wanted = [api_pb2.MetricName(tag="best_val_dice", group=""), api_pb2.MetricName(tag="best_val_loss", group="")]
    columns = [api_pb2.ColParams(metric=name) for name in wanted]
    question = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10, allowed_statuses=range(4), col_params=columns
    )
    groups = Handler(request, context, "", question).run().session_groups
    assert len(groups) == 2
    rates = {group.hparams["learning_rate"].number_value: group for group in groups}
    assert set(rates) == {0.01, 0.02}
    assert rates[0.02].hparams["network#order"].number_value == 2
    assert rates[0.01].hparams["crop_size"].string_value == "[64, 64]"
    scores = {value.name.tag: value.value for value in rates[0.01].metric_values}
    assert scores["best_val_dice"] == pytest.approx(0.9)
    assert scores["best_val_loss"] == pytest.approx(-0.8)
