"""Cohorts: the command with two workers, one of which is killed; what a restart does; wrong tables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray
import SimpleITK as sitk
import torch
from typer.testing import CliRunner

from app import terminal
from app.cohort import __main__ as command
from app.cohort import cluster, driver, records, summary
from app.cohort.studies import Study, read_studies
from app.cohort.worker import Worker
from dirnet.cine.follow import follow
from dirnet.cine.saving import LABELS, write_masks
from dirnet.errors import InputError
from dirnet.files import formats
from dirnet.models import SHIPPED_WEIGHTS
from dirnet.registrar import Registrar
from tests.dicom import mr_image
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_keyframes

GOOD = [f"good{number}" for number in range(6)]


@pytest.fixture(scope="module")
def table(phantom_dir, tmp_path_factory):
    """Six studies of three phantoms' cines, one of a cine that is cut short and one of a mask that is not there."""
    folder = tmp_path_factory.mktemp("cohort")
    series = sorted(phantom_dir.glob("SCD_IMAGES_0*/*/*"))
    rows = []
    for number, name in enumerate([*GOOD, "missing"]):
        source = series[number % len(series)]
        cine = read_cine_stack(source)
        masks = np.zeros(cine.images.shape, bool)
        masks[:, number, 18:30, 26:38] = True
        write_masks(folder / f"{name}.nii.gz", masks, cine)
        rows.append({"study": name, "cine": os.path.relpath(source, folder), "mask": f"{name}.nii.gz", "frame": number})
    (folder / "missing.nii.gz").unlink()
    shutil.copytree(series[0], folder / "damaged")
    file = min((folder / "damaged").iterdir())
    file.write_bytes(file.read_bytes()[:-1000])
    rows.insert(1, {"study": "corrupt", "cine": "damaged", "mask": "good0.nii.gz", "frame": 0})
    pd.DataFrame(rows).to_csv(folder / "studies.csv", index=False)
    return folder / "studies.csv"


@pytest.fixture(scope="module")
def run(table):
    """The command with two workers, of which one is killed when the first study is done: output folder, output."""
    import psutil  # Ray brings it

    folder = table.parent / "results"
    options = ["--output_dir", str(folder), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cohort", str(table), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while process.poll() is None and not list(folder.glob("studies/good*/record.json")):
        time.sleep(0.05)
    # a worker that is still starting is called ray::IDLE or ray::Worker.__init__
    names = ("ray::Worker", "ray::Worker.do")
    children = [child.as_dict(["pid", "name"]) for child in psutil.Process(process.pid).children(recursive=True)]
    workers = [child["pid"] for child in children if child["name"] in names]
    assert workers, children
    os.kill(workers[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()
    return folder, output.decode()


def test_a_killed_worker_loses_nothing(run):
    folder, output = run
    names = {path.name for path in (folder / "studies").iterdir()}
    assert names == {*GOOD, "corrupt", "missing"}  # nothing half-written besides
    results = set(formats.followed_files("", formats.followed_formats(None, dicom=True)))
    for name in GOOD:
        there = {path.name for path in (folder / "studies" / name).iterdir()}
        assert there == {"record.json", *(f"{name}_{result}" for result in results)}
    for name in ("corrupt", "missing"):
        assert [path.name for path in (folder / "studies" / name).iterdir()] == ["record.json"]
    assert "8 studies: 6 done, 2 failed" in output
    assert "workers that died: 1" in output
    assert "pairs a second" in output


def test_the_table_of_results_is_what_follow_gives(run, table):
    results = pd.read_parquet(run[0] / "cohort.parquet").set_index("study")
    studies = read_studies(table)
    assert list(results.index) == [study.name for study in studies]
    registrar = Registrar.load()
    for study in studies:
        row = results.loc[study.name]
        if study.name not in GOOD:
            assert row["status"] == "failed"
            assert pd.isna(row["ejection_fraction_percent"])
            continue
        cine = read_cine_stack(study.path("cine"))
        followed = follow(registrar, cine, read_keyframes(study.masks, cine, study.frames))
        numbers = followed.numbers
        assert row["warnings"].tolist() == numbers.pop("warnings")
        for name, value in numbers.items():
            if value is None:
                assert row[name] is None or np.isnan(row[name]), name
            elif name in ("structures", "heart_rate_from"):
                assert list(row[name]) == list(value), name
            else:
                assert row[name] == pytest.approx(value, abs=0.02), name  # a thread more may round otherwise
        assert row["pairs"] == 2 * 19
        assert row["ncc_before"] < row["ncc_after"] < 1
        assert min(row[f"seconds_{part}"] for part in ("read", "register", "write")) > 0
    assert "missing.nii.gz' does not exist" in results.loc["missing", "reason"]
    assert "bytes of pixels, found" in results.loc["corrupt", "reason"]


def test_a_restart_does_nothing_twice_and_retries_when_told(run, table, monkeypatch):
    folder = run[0]
    times = {path: path.stat().st_mtime_ns for path in (folder / "studies").rglob("*") if path.is_file()}

    def no_ray(*_):
        raise AssertionError("Ray is started for nothing")

    with monkeypatch.context() as patch:
        patch.setattr(driver, "connect", no_ray)
        outcome = driver.run(read_studies(table), folder)
    assert not outcome.now
    assert times == {path: path.stat().st_mtime_ns for path in times}

    # one mended, one more, one half-written
    shutil.copy(table.parent / "good0.nii.gz", table.parent / "missing.nii.gz")
    rows = pd.read_csv(table)
    rows.loc[rows["study"] == "missing", "frame"] = 0
    more = table.parent / "more.csv"
    pd.concat([rows, rows[rows["study"] == "good0"].assign(study="added")]).to_csv(more, index=False)
    shutil.rmtree(folder / "studies" / "good3")
    records.new_folder(folder / "studies", "good4")
    outcome = driver.run(read_studies(more), folder, workers=1, retry_failed=True)
    assert sorted(outcome.now) == ["added", "corrupt", "good3", "missing"]
    results = pd.read_parquet(folder / "cohort.parquet").set_index("study")
    assert list(results.index[results["status"] == "failed"]) == ["corrupt"]
    kept = {path for path in times if path.parent.name not in ("good3", "corrupt", "missing")}
    assert all(path.stat().st_mtime_ns == times[path] for path in kept)
    assert not list((folder / "studies").glob(".*"))


def test_other_weights_or_files_are_no_mixture(run, table, tmp_path):
    folder = run[0]
    state = torch.load(SHIPPED_WEIGHTS, weights_only=True)
    name = next(name for name, value in state.items() if value.is_floating_point())
    torch.save({**state, name: state[name] + 0.01}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="begun with other settings: weights_sha256"):
        driver.run(read_studies(table), folder, tmp_path / "model.pt")
    rows = pd.read_csv(table)
    rows.loc[0, "frame"] = 7
    rows.to_csv(table.parent / "changed.csv", index=False)
    with pytest.raises(ValueError, match=r"study 'good0' was done with frame 0 \(now 7\)"):
        driver.run(read_studies(table.parent / "changed.csv"), folder)


def test_the_same_paths_from_another_folder_are_other_files(tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "connect", lambda *_: nullcontext())
    monkeypatch.setattr(driver, "share_out", lambda *_: (1, None))
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "studies.csv").write_text("study,cine,mask\n1,cines/1,masks/1.nii.gz\n")
    (study,) = read_studies(tmp_path / "a" / "studies.csv")
    assert study.absolute == {"cine": f"{tmp_path}/a/cines/1", "mask": f"{tmp_path}/a/masks/1.nii.gz"}
    folder = tmp_path / "out" / "studies"
    records.publish(records.new_folder(folder, "1"), {"study": "1", "status": "done", **study.absolute})
    assert not driver.run([study], tmp_path / "out").now
    # the same files, named from elsewhere
    (tmp_path / "studies.csv").write_text("study,cine,mask\n1,b/../a/cines/1,a/masks/1.nii.gz\n")
    assert not driver.run(read_studies(tmp_path / "studies.csv"), tmp_path / "out").now
    with pytest.raises(ValueError, match=f"'1' was done with cine {tmp_path}/a/cines/1 .now {tmp_path}/b/cines/1."):
        driver.run(read_studies(tmp_path / "b" / "studies.csv"), tmp_path / "out")


@pytest.mark.parametrize("before", [None, {"study": "1", "status": "failed", "reason": "no cine"}])
def test_files_of_others_are_not_removed(tmp_path, before):
    folder = tmp_path / "out" / "studies"
    mine = folder / "1" / "my_corrected_masks.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.touch()
    if before:
        (folder / "1" / "record.json").write_text(json.dumps(before))
    (folder / ".mine-0123abcd").mkdir()
    (folder / ".snapshot").mkdir()
    (tmp_path / "studies.csv").write_text("study,cine,mask\n1,c,m\n")
    with pytest.raises(ValueError, match=r"1' holds what is not known to be of a run: my_corrected_masks.nii.gz"):
        driver.run(read_studies(tmp_path / "studies.csv"), tmp_path / "out", retry_failed=True)
    # put there while the study was done
    row = {"study": "1", "status": "done", "cine": "c", "pairs": 1}
    row = records.publish(records.new_folder(folder, "1"), row)
    assert (row["status"], row["cine"]) == ("failed", "c")
    assert "my_corrected_masks.nii.gz" in row["reason"]
    assert "pairs" not in row
    assert mine.exists()
    assert {path.name for path in folder.iterdir()} == {"1", ".mine-0123abcd", ".snapshot"}


def test_only_what_failed_is_replaced(tmp_path):
    def publish(status, host):
        return records.publish(records.new_folder(tmp_path, "1"), {"study": "1", "status": status, "host": host})

    assert publish("failed", "a")["host"] == "a"
    assert publish("done", "b")["host"] == "b"
    assert publish("done", "c")["host"] == "b"
    assert publish("failed", "d")["host"] == "b"
    assert json.loads((tmp_path / "1" / "record.json").read_text())["host"] == "b"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_only_one_run_works_in_a_folder(table, tmp_path):
    with driver._alone(tmp_path), pytest.raises(BlockingIOError, match="another run works in"):
        driver.run(read_studies(table), tmp_path)


def test_series_and_labels_say_what_is_meant(tmp_path):
    """Two cines in a folder, and a mask with several values."""
    pixels = np.random.default_rng(0).integers(255, size=(2, 3, 48, 64), dtype=np.uint8)
    (tmp_path / "study").mkdir()
    for series, frame in np.ndindex(2, 3):
        tags = {"SeriesNumber": series + 1, "SeriesInstanceUID": f"1.2.{series}", "TriggerTime": 25 * frame}
        mr_image(pixels[series, frame], **tags).save_as(tmp_path / "study" / f"{series}{frame}.dcm")
    labels = np.ones((1, 48, 64), np.uint8)
    labels[0, 15:30, 20:40] = 3
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(read_cine_stack(tmp_path / "study", "2").grids[0])
    sitk.WriteImage(image, tmp_path / "labels.nii.gz")
    row = {"study": "a", "cine": "study", "mask": "labels.nii.gz", "frame": 0, "series": 2, "labels": "acdc"}
    pd.DataFrame([row, {**row, "study": "b", "series": None}]).to_json(tmp_path / "a.json", orient="records")
    study, without = read_studies(tmp_path / "a.json")
    assert (study.inputs["series"], study.absolute["labels"]) == ("2", "acdc")
    worker = Worker(SHIPPED_WEIGHTS.read_bytes(), tmp_path / "out", 1)
    done = worker.do(study)
    assert (done["status"], done["series"], done["slices_drawn"]) == ("done", "2", 1)
    found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "a" / "a_masks.nii.gz"))
    assert np.array_equal(found[0, 0] == LABELS["lumen"], labels[0] == 3)
    assert "has several cines; name one by column series" in worker.do(without)["reason"]
    records.write_table(tmp_path / "cohort.parquet", [study], {"a": done})
    assert pd.read_parquet(tmp_path / "cohort.parquet")["labels"].tolist() == ["acdc"]


def test_structures_of_several_files_and_frames(phantom_dir, tmp_path):
    """Lumen at ED and ES and epicardium at ED, in a file each, beside one label image as ACDC has them."""
    source = sorted(phantom_dir.glob("SCD_IMAGES_0*/*/*"))[0]
    cine = read_cine_stack(source)
    lumen, wall = np.zeros((2, *cine.images.shape), bool)
    lumen[:, 2, 18:30, 26:38] = lumen[:, 9, 20:28, 28:36] = wall[:, 2, 14:34, 22:42] = True
    for name, masks in (("ed", lumen[:, 2:3]), ("es", lumen[:, 9:10]), ("outer", wall[:, 2:3])):
        write_masks(tmp_path / f"{name}.nii.gz", np.repeat(masks, 20, 1), cine)
    image = sitk.ReadImage(tmp_path / "ed.nii.gz")
    acdc = 2 * wall[:, 2] + lumen[:, 2] + 1 * np.roll(lumen[:, 2], -20, 2)
    label = sitk.GetImageFromArray(acdc.astype(np.uint8))
    label.CopyInformation(image[..., 0])
    sitk.WriteImage(label, tmp_path / "acdc.nii.gz")
    cine_path = os.path.relpath(source, tmp_path)
    (tmp_path / "studies.csv").write_text(
        "study,cine,mask,frame,labels\n"
        f"files,{cine_path},ed.nii.gz;es.nii.gz;epicardium=outer.nii.gz,2;9;2,\n"
        f"acdc,{cine_path},acdc.nii.gz,2,acdc\n"
    )
    worker = Worker(SHIPPED_WEIGHTS.read_bytes(), tmp_path / "out", 1)
    files, acdc = map(worker.do, read_studies(tmp_path / "studies.csv"))
    assert (files["status"], acdc["status"]) == ("done", "done"), (files, acdc)
    assert (files["structures"], files["drawn_on_frames"]) == (["lumen", "epicardium"], [2, 9])
    assert (acdc["structures"], acdc["drawn_on_frames"]) == (["lumen", "epicardium", "rv"], [2])
    saved = json.loads((tmp_path / "out" / "files" / "files_masks.json").read_text())
    assert saved["drawn"] == {"lumen": {"0": [2, 9], "1": [2, 9]}, "epicardium": {"0": [2], "1": [2]}}
    found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "files" / "files_masks.nii.gz"))
    for frame in (2, 9):
        assert np.array_equal(found[frame] == LABELS["lumen"], lumen[:, frame])
    found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "acdc" / "acdc_masks.nii.gz"))[2]
    values = {
        "lumen": lumen[:, 2],
        "myocardium": wall[:, 2] & ~lumen[:, 2],
        "rv": np.roll(lumen[:, 2], -20, 2) & ~wall[:, 2],
    }
    assert all(np.array_equal(found == LABELS[name], masks) for name, masks in values.items())


def test_pairs_are_registered(phantom_dir, tmp_path):
    files = sorted(next(phantom_dir.glob("SCD_IMAGES_01/*/*")).iterdir())
    pd.DataFrame({"moving": [files[8]], "fixed": [files[0]]}).astype(str).to_json(
        tmp_path / "pairs.json", orient="records"
    )
    (study,) = read_studies(tmp_path / "pairs.json")
    worker = Worker(SHIPPED_WEIGHTS.read_bytes(), tmp_path / "studies", 1)
    row = worker.do(study)
    registration = Registrar.load().register(files[8], files[0])
    assert (row["status"], row["pairs"]) == ("done", 1)
    for name in ("ncc_before", "ncc_after", "folded_percent"):
        assert row[name] == pytest.approx(getattr(registration, name), abs=1e-4)
    written = {path.name for path in (tmp_path / "studies" / study.name).iterdir()}
    parts = ("warped.nii.gz", "ddf.nii.gz", "overview.png")
    assert written == {"record.json", *(f"{study.name}_{part}" for part in parts)}
    assert worker.do(study) == row  # once more, late: what is there stays


def _no_other_gets_in():
    """Ray listens to this machine alone, and without its token answers nothing."""
    import psutil

    this = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (this, *this.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    address = ray.get_runtime_context().gcs_address
    ask = f"from ray._raylet import GcsClient; print(GcsClient(address={address!r}).get_all_node_info(timeout=10))"
    for mode in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")} | mode
        other = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, timeout=60)
        assert other.returncode
        assert b"InvalidAuthToken" in other.stderr
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, timeout=60).returncode == 0


def test_a_study_that_ends_its_worker_fails_alone(tmp_path, monkeypatch):
    class Short:  # here, so that Ray sends it by value, and it starts at once
        def __init__(self, weights, folder, threads):
            self.folder = folder

        def ready(self):
            return "here"

        def do(self, study):
            if study.name == "poison":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.02)
            with (self.folder / study.name).open("a") as file:
                file.write("done")
            return {"study": study.name, "status": "done"}

    names = [*(f"a{number}" for number in range(8)), "poison", *(f"b{number}" for number in range(30))]
    studies = [Study(name, "register", {}, tmp_path) for name in names]
    monkeypatch.setattr(driver, "Worker", Short)
    outcome = driver.Outcome(tmp_path / "none", len(studies), {})
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as a user may have it
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    with cluster.connect(None, 2):
        _no_other_gets_in()
        driver._WorkerPool(2, cluster.Share(1, 0), b"", tmp_path).do(studies, outcome, lambda *_: None)
    assert (os.environ["RAY_AUTH_MODE"], "RAY_AUTH_TOKEN" in os.environ) == ("disabled", False)
    assert sorted(outcome.now) == sorted(names)  # once each
    failed = [name for name, row in outcome.records.items() if row["status"] == "failed"]
    assert (failed, outcome.failed, outcome.deaths) == (["poison"], 1, 3)
    assert "3 workers died that had this study" in outcome.records["poison"]["reason"]
    # a study whose answer was on its way when its worker died is done again
    assert all((tmp_path / name).read_text().startswith("done") for name in names if name != "poison")


def test_a_bug_is_named_and_keeps_its_traceback(table, tmp_path, monkeypatch):
    (study, *_) = read_studies(table)
    worker = Worker(SHIPPED_WEIGHTS.read_bytes(), tmp_path / "studies", 1)
    folder = tmp_path / "studies" / study.name

    def fails(error):
        def raises(*_):
            raise error

        monkeypatch.setattr("app.cohort.worker.read_cine_stack", raises)
        return worker.do(study)["reason"]

    assert fails(InputError("a.dcm: no pixels")) == "a.dcm: no pixels"
    assert fails(OSError(28, "No space left on device")).startswith("OSError: [Errno 28]")
    assert [path.name for path in folder.iterdir()] == ["record.json"]
    for bug in (ValueError("shapes differ"), KeyError("images"), ZeroDivisionError("division by zero")):
        assert (
            fails(bug) == f"internal error: {type(bug).__name__}: {bug} (traceback in error.log in the study's folder)"
        )
        assert {path.name for path in folder.iterdir()} == {"record.json", "error.log"}
        log = (folder / "error.log").read_text()
        assert log.startswith("Traceback")
        assert "in raises" in log
    # the log is the program's own, and goes when the study is done
    monkeypatch.undo()
    records.check_room(folder.parent, [study])
    assert worker.do(study)["status"] == "done"
    assert not (folder / "error.log").exists()


@pytest.mark.parametrize(
    ("reasons", "status"),
    [
        (["internal error: KeyError: 'a'", "internal error: KeyError: 'b'"], 1),
        (["internal error: KeyError: 'a'", "no such file"], 1),
        (["internal error: KeyError: 'a'", None], 0),
        (["no such file", "no such file"], 0),
    ],
)
def test_a_cohort_that_fails_by_bugs_has_an_exit_status(table, tmp_path, monkeypatch, reasons, status):
    rows = [{"status": "failed", "reason": reason} if reason else {"status": "done"} for reason in reasons]
    outcome = driver.Outcome(tmp_path, 2, {str(number): row for number, row in enumerate(rows)})
    monkeypatch.setattr(driver, "run", lambda *_: outcome)
    assert CliRunner().invoke(command.app, [str(table), "-o", str(tmp_path)]).exit_code == status


def test_sigterm_ends_in_order_and_the_same_command_resumes(table, tmp_path):
    rows = pd.read_csv(table)
    good = rows[rows["study"].isin(GOOD)]
    many = pd.concat([good.assign(study=good["study"] + f"_{turn}") for turn in range(5)])
    many.to_csv(table.parent / "many.csv", index=False)
    options = [str(table.parent / "many.csv"), "--output_dir", str(tmp_path), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cohort", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while process.poll() is None and not list(tmp_path.glob("studies/good*/record.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output.decode()
    assert "stopped; the same command resumes it" in output.decode()
    assert "Traceback" not in output.decode()
    done = list(pd.read_parquet(tmp_path / "cohort.parquet")["study"])
    assert 0 < len(done) < 30
    assert {path.name for path in (tmp_path / "studies").iterdir()} == set(done)  # nothing half-written
    assert set(done) <= set(records.read_records(tmp_path / "studies", read_studies(table.parent / "many.csv")))


def test_ctrl_c_keeps_what_is_done(table, tmp_path, monkeypatch):
    class Interrupted:
        def __init__(self, workers, share, weights, folder):
            self.folder = folder

        def do(self, studies, outcome, report):
            name = studies[0].name
            row = {"study": name, "status": "done", **studies[0].inputs}
            outcome.records[name] = records.publish(records.new_folder(self.folder, name), row)
            records.new_folder(self.folder, studies[1].name)
            raise KeyboardInterrupt

    monkeypatch.setattr(driver, "connect", lambda *_: nullcontext())
    monkeypatch.setattr(driver, "share_out", lambda *_: (1, None))
    monkeypatch.setattr(driver, "_WorkerPool", Interrupted)
    outcome = driver.run(read_studies(table), tmp_path)
    assert outcome.stopped
    assert list(pd.read_parquet(tmp_path / "cohort.parquet")["study"]) == ["good0"]
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["good0"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "study,cine\n1,a\n",
            "the columns cine and mask (and frame, series, labels), or moving",
        ),
        ("a.csv", "study,cine,mask\nx,a,b\nx,c,d\n", "a.csv, row 2: study 'x' is in row 1 already"),
        ("a.csv", "study,cine,mask\n../x,a,b\n", "a.csv, row 1: the id of a study names a folder"),
        ("a.csv", "study,cine,mask\nx,a,\n", "a.csv, row 1: no mask"),
        ("a.csv", "cine,mask,frame\na,b,1.5\n", "a.csv, row 1: frame must be a number from 0, or several with ';'"),
        ("a.csv", "cine,mask,frame\na,b;c;d,1;2\n", "row 1: expected a frame for each of the 3 masks, or one for all"),
        ("a.csv", "moving,fixed\na.png,b.png\na.png,c/b.png\n", "row 1 already; name each in a column 'study'"),
        ("a.csv", "cine,mask\n", "a.csv lists no study"),
        ("a.json", '{"cine": "a"}', "expected a list of objects"),
        ("a.json", "[", "a.json: cannot be read as a table"),
        ("a.parquet", "no", "a.parquet: cannot be read as a table"),
        ("a.txt", "", "ends in .csv, .json or .parquet"),
        (None, "", "does not exist"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, monkeypatch, capsys, name, content, message):
    if name:
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("sys.argv", ["app.cohort", str(tmp_path / (name or "a.csv")), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        terminal.run(command.app)
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_tables_of_each_kind_are_the_same(tmp_path):
    rows = pd.DataFrame({"study": ["007", "b"], "cine": ["c/1", "c/2"], "mask": ["m", "n"], "frame": [3, None]})
    rows.to_parquet(tmp_path / "a.parquet")
    rows.to_json(tmp_path / "a.json", orient="records")
    (tmp_path / "a.csv").write_text("\ufeffstudy,cine,mask,frame,age\n007,c/1,m,3,60\nb,c/2,n,,61\n", encoding="utf-8")
    tables = [read_studies(tmp_path / f"a.{kind}") for kind in ("parquet", "json", "csv")]
    assert tables[0] == tables[1] == tables[2]
    assert dict(tables[0][0].inputs) == {"cine": "c/1", "mask": "m", "frame": "3"}
    assert tables[0][1].path("cine") == Path(tmp_path).resolve() / "c/2"


def test_several_masks_and_frames_in_tables_of_each_kind(tmp_path):
    (tmp_path / "a.csv").write_text("study,cine,mask,frame\n1,c,m.nii.gz; epicardium=e.nii.gz ;a=b,0; 9;9\n")
    masks = ["m.nii.gz", "epicardium=e.nii.gz", "a=b"]
    rows = pd.DataFrame({"study": ["1"], "cine": ["c"], "mask": [masks], "frame": [[0, 9, 9]]})
    rows.to_json(tmp_path / "a.json", orient="records")
    rows.to_parquet(tmp_path / "a.parquet")
    (study,), *others = [read_studies(tmp_path / f"a.{kind}") for kind in ("csv", "json", "parquet")]
    assert others == [[study], [study]]
    folder = tmp_path.resolve()
    assert study.masks == [f"{folder}/m.nii.gz", f"epicardium={folder}/e.nii.gz", f"{folder}/a=b"]
    assert study.frames == [0, 9, 9]


def test_what_is_measured_has_a_column_each(tmp_path):
    studies = [Study(name, "propagate", {}, tmp_path) for name in ("a", "b", "c")]
    rows = [
        {"mass_g": 101.5, "ed_slices": [], "segments_mm": {"1": 8, "2": None}, "unknown": None, "odd": [1]},
        {"mass_g": None, "ed_slices": [], "segments_mm": {"1": 7.5, "2": 9.0}, "unknown": None, "odd": "none"},
    ]
    known = {name: {"study": name, "status": "done", **row} for name, row in zip("ab", rows, strict=True)}
    records.write_table(tmp_path / "a.parquet", studies, known | {"c": {"study": "c", "status": "failed"}})
    table = pd.read_parquet(tmp_path / "a.parquet").set_index("study")
    assert table["mass_g"].tolist() == pytest.approx([101.5, np.nan, np.nan], nan_ok=True)
    assert [None if value is None else value.tolist() for value in table["ed_slices"]] == [[], [], None]
    assert table.loc["b", "segments_mm"] == {"1": 7.5, "2": 9.0}
    assert table["unknown"].isna().all()
    assert table["unknown"].dtype == float
    assert table.loc[["a", "b"], "odd"].tolist() == ["[1]", '"none"']


def test_ids_by_the_path(tmp_path):
    (tmp_path / "a.csv").write_text("cine,mask\n../scd/p 1/CINE_3,m\ncines/b.nii.gz,n\n")
    assert [study.name for study in read_studies(tmp_path / "a.csv")] == ["scd_p_1_CINE_3", "cines_b"]


def test_failures_are_grouped_by_reason():
    reasons = ["file '/a/1.nii' does not exist", "file '/b/2.nii' does not exist", "/c/3.dcm: cannot be read", "odd"]
    failed = {str(number): {"reason": reason} for number, reason in enumerate(reasons)}
    assert summary.group_reasons(failed) == [
        ("file … does not exist", ["0", "1"]),
        ("/c/3.dcm: cannot be read", ["2"]),
        ("odd", ["3"]),
    ]


@pytest.mark.parametrize(
    ("cpus", "workers", "threads"), [([2], 2, 1), ([2], 1, 2), ([16, 16], 1, 16), ([16, 16], 3, 8), ([2], 5, 1)]
)
def test_workers_share_the_processors(cpus, workers, threads):
    assert cluster.threads_of(cpus, workers) == threads
