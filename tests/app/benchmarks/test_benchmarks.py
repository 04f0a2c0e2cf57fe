"""The benchmarks: what is compared gives the same, and the command writes its files. Nothing here is timed."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from app.benchmarks import __main__ as command
from app.benchmarks import files, spline, viewer, warp
from app.benchmarks.measure import Bench, Line, measure, same
from app.benchmarks.plain import PlainNetwork, plain_dataset, plain_trainer
from app.benchmarks.registration_peers import optimise
from app.benchmarks.report import COLUMNS
from app.benchmarks.spline_peers import TransposedSpline, itk_field
from app.experiments.cine_scores import read_patients
from dirnet.nets.losses import RegistrationLoss, ncc
from dirnet.nets.networks import DIRNet
from dirnet.nets.splines import BSplineTransformer
from transforms.dicom_series import find_series
from transforms.phantom import write_scd
from transforms.records import records_of_split
from transforms.scd import scan


def points(batch: int = 2) -> torch.Tensor:
    return 10 * torch.rand(batch, 2, 4, 6, generator=torch.Generator().manual_seed(0)) - 5


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_a_spline_by_transposed_convolutions_is_ours(order, separable, grouped):
    for spacing in (8, 16):
        field = TransposedSpline(spacing, order, separable, grouped)(points())
        torch.testing.assert_close(field, BSplineTransformer(spacing, order)(points()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", [2, 3])
def test_the_spline_of_simpleitk_is_ours(order):
    field = itk_field(points(1)[0], 16, order)
    torch.testing.assert_close(field, BSplineTransformer(16, order)(points(1))[0], atol=1e-5, rtol=0)


def test_another_result_is_refused():
    with pytest.raises(RuntimeError, match="the peer differs from ours by 1"):
        same("the peer", torch.ones(3), torch.zeros(3), 1e-3)


def test_ratios_are_those_of_the_first_line():
    lines = [
        Line("ours", lambda: 0.001, times_itself=True),
        Line("peer", lambda: 0.003, times_itself=True, least_ratio=2),
    ]
    ours, peer = measure(lines, 0)
    assert (ours.ratio, ours.against, ours.runs) == (None, "", 3)
    assert (peer.against, peer.runs, peer.least_ratio) == ("ours", 3, 2)
    assert peer.ratio == pytest.approx(3)
    assert peer.median_ms == pytest.approx(3)
    assert peer.iqr_ms == pytest.approx(0)


def test_optimising_a_pair_registers_it():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    moving, fixed = (torch.exp(-((rows - row) ** 2 + (columns - 30) ** 2) / 100) for row in (33, 30))
    found = optimise(torch.stack([moving, fixed])[None])
    assert ncc(found["warped"][0], fixed[None]) > 0.99 > 0.95 > ncc(moving[None], fixed[None])


def test_the_plain_pipeline_learns(phantom_dir):
    torch.manual_seed(0)
    records = records_of_split(scan(phantom_dir), "training")
    dataset = plain_dataset(records, [32, 32], workers=2)
    network = PlainNetwork(DIRNet(channels=8, poolings=3).definition)
    pair = torch.stack([torch.cat([item["moving"], item["fixed"]]) for item in map(dataset.__getitem__, range(8))])
    before = ncc(pair[:, :1], pair[:, 1:]).mean()
    trainer = plain_trainer(dataset, network, RegistrationLoss(), 8, 60, 1e-2, torch.device("cpu"), workers=0)
    losses = []
    trainer.add_event_handler("ITERATION_COMPLETED", lambda engine: losses.append(engine.state.output["loss"].item()))
    trainer.run()
    assert len(losses) == 60
    assert sum(losses[-10:]) < sum(losses[:10])
    with torch.no_grad():
        assert ncc(network.eval()(pair)["warped"], pair[:, 1:]).mean() > before


def test_the_command_writes_table_picture_and_page(tmp_path, monkeypatch):
    monkeypatch.setattr(spline, "BATCHES", (1, 2))
    monkeypatch.setattr(warp, "BATCHES", (1, 2))
    threads = torch.get_num_threads()
    options = ["--seconds", "0.01", "--threads", str(threads), "--output_dir", str(tmp_path / "results")]
    result = CliRunner().invoke(command.app, [*options, "spline", "warp"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "results" / "benchmarks.csv")
    assert list(table.columns) == ["group", *COLUMNS]
    assert set(table["group"]) == {"spline", "warp"}
    assert set(table["batch"]) == {1, 2}
    assert set(table["passes"]) == {"forward", "forward + backward"}
    ours = table["against"].isna()
    assert (table.loc[~ours, "ratio"] > 0).all()
    assert table.loc[ours, "ratio"].isna().all()
    assert set(table.loc[ours & (table["group"] == "warp"), "name"]) == {"warp"}
    assert (table["runs"] >= 3).all()
    page = (tmp_path / "results" / "benchmarks.md").read_text()
    for text in ("## spline", "## warp", "| SimpleITK, order 3 |", "- processor: ", "python -m app.benchmarks"):
        assert text in page
    with Image.open(tmp_path / "results" / "benchmarks.png") as picture:
        assert picture.width > 1000


def test_files_are_a_cine_and_a_study_of_several(tmp_path, monkeypatch):
    for name, value in {"SIZE": 32, "SLICES": 3, "PHASES": 4, "SERIES": 3, "SLICES_OF_EACH": 2}.items():
        monkeypatch.setattr(files, name, value)
    monkeypatch.setattr(files, "_list", lambda folder: None)  # a process each
    cine, study = files.rows(Bench(torch.device("cpu"), 1, 0, None, tmp_path))
    assert [row.batch for row in cine] == [12] * 3
    assert [row.batch for row in study] == [24] * 2
    assert [one.size for one in find_series(tmp_path / "study")] == ["2 × 4"] * 3


def test_a_readers_waits_are_measured_one_by_one(tmp_path, monkeypatch):
    pytest.importorskip("playwright.sync_api")
    for name, value in {"SIZE": 96, "SLICES": 2, "PATIENCE": 90_000}.items():
        monkeypatch.setattr(viewer, name, value)
    monkeypatch.setattr("app.benchmarks.measure.LEAST_RUNS", 1)
    bench = Bench(torch.device("cpu"), 1, 0, None, tmp_path)
    found = {row.name: row for rows in viewer.rows(bench) for row in rows}
    if bench.skipped == ["viewer: Chromium is not installed"]:
        pytest.skip("no Chromium on this machine")
    assert [name.split(",")[0] for name in found] == [
        "open a study", "choose a cine that was not read yet", "choose a cine that was", "next slice", "next slice",
        "next frame", "play", "close a contour", "undo", "redo", "suggest contours", "propagate 2 slices x 20 frames",
        "drag a followed contour", "drag a followed contour", "save", "report", "download",
    ]  # fmt: skip
    assert all(row.median_ms > 0 for row in found.values())
    period = 700 / 20  # ms a frame of the phantom
    assert found["play, until the next frame"].median_ms > period
    assert found["propagate 2 slices x 20 frames"].median_ms > found["next frame"].median_ms


def remove_lumens(data, *patients):
    for path in data.rglob("*icontour*"):
        if any(patient in path.parts for patient in patients):
            path.unlink()


def test_a_readers_waits_are_on_cines_that_can_be_judged(tmp_path):
    data = write_scd(tmp_path / "data", 3, (96, 96), slices=1)
    bench = Bench(torch.device("cpu"), 1, 0, str(data), tmp_path)
    remove_lumens(data, "PH-01")
    assert {patient.name for patient in viewer._patients(bench)} == {"PH-02", "PH-03"}
    assert bench.skipped == []
    remove_lumens(data, "PH-02", "PH-03")
    assert viewer._patients(bench) == []
    (skipped,) = bench.skipped
    assert skipped.startswith("viewer: none of the 3 records belongs to a whole cine that can be judged")


def test_no_server_is_left_where_no_page_can_be_opened(tmp_path):
    (patient, *_), _ = read_patients(scan(write_scd(tmp_path / "data", 3, (96, 96), slices=1)))
    reader = viewer._Reader(Bench(torch.device("cpu"), 1, 0, None, tmp_path), patient, None, browser=None)
    with pytest.raises(AttributeError, match="new_page"), reader:
        pass
    assert reader.server.poll() is not None


def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match=r"groups must be some of spline, .*; got splines"):
        CliRunner().invoke(command.app, ["splines"], catch_exceptions=False)
