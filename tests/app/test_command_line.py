"""The command ``dirnet``, as a person runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from app import command_line
from dirnet.cine import saving
from dirnet.cine.follow import follow
from dirnet.cine.saving import LABELS, write_masks
from dirnet.files.exports import WRITERS
from dirnet.files.formats import FOLLOWED, FORMATS, followed_files, followed_formats
from dirnet.files.nifti import read_displacement
from dirnet.registrar import Registrar
from tests import layouts
from tests.dicom import edit, unmarked
from transforms.cine_files import dicom_study, read_cine_stack
from transforms.drawings import read_drawn, read_keyframes
from transforms.phantom import Phantom, write_scd


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A phantom's cine of 3 slices of 10 frames as DICOM, and its true lumen drawn on ED as NIfTI."""
    folder = write_scd(tmp_path_factory.mktemp("data") / "phantom", patients=3, size=(96, 112), phases=10, slices=3)
    series = next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))
    phantom = Phantom(0, (96, 112), phases=10, slices=3)
    lumens = np.array([[phantom.lumen(slice_, phase) for phase in range(10)] for slice_ in range(3)])
    ed = int(lumens.sum((0, 2, 3)).argmax())
    drawn = np.zeros_like(lumens)
    drawn[:, ed] = lumens[:, ed]
    stack = read_cine_stack(series)
    # the files are ordered by place, the phantom's slices from base to apex
    order = slice(None, None, -1) if _first_slice(stack) else slice(None)
    write_masks(folder / "lumen.nii.gz", drawn[order], stack)
    return series, folder / "lumen.nii.gz", lumens[order], ed


def _first_slice(stack):
    return int(Path(stack.files[0][0]).stem.rsplit("-", 1)[1]) > 10


def run(*arguments, fails=False):
    result = CliRunner().invoke(command_line.app, [str(part) for part in arguments])
    assert (result.exit_code != 0) == fails, (result.output, result.exception)
    return result


def test_register_writes_every_format(data, tmp_path):
    stack = read_cine_stack(data[0])
    moving, fixed = stack.files[1][0], stack.files[1][4]
    run("register", moving, fixed, "--output_dir", tmp_path, "--formats", "nifti,picture,itk,numpy,dicom")
    name = f"{moving.stem}_to_{fixed.stem}"
    parts = ["warped.nii.gz", "ddf.nii.gz", "overview.png", "transform.h5", "ddf.npy", "warped.dcm", "registration.dcm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}_{part}" for part in parts)
    ddf = np.load(tmp_path / f"{name}_ddf.npy")
    assert np.allclose(read_displacement(tmp_path / f"{name}_ddf.nii.gz"), ddf, atol=1e-3)
    assert np.allclose(ddf, Registrar.load().register(moving, fixed).ddf)
    # the spline and the warped image, by SimpleITK
    transform = sitk.ReadTransform(str(tmp_path / f"{name}_transform.h5"))
    image = sitk.ReadImage(str(moving), sitk.sitkFloat32)
    resampled = sitk.Resample(image, sitk.ReadImage(str(fixed)), transform, sitk.sitkLinear)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}_warped.nii.gz"))).squeeze()
    inside = (slice(12, -12), slice(12, -12))
    assert np.allclose(sitk.GetArrayFromImage(resampled)[0][inside], expected[inside], atol=0.5)  # of about 1,000
    derived = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}_warped.dcm")))[0]
    assert np.allclose(derived, expected, atol=0.51)


def test_a_notice_of_malformed_files_is_given_once(data, tmp_path):
    moving, fixed = read_cine_stack(data[0]).files[1][:2]
    moving = edit(moving, tmp_path / "moving.dcm", SOPInstanceUID="1.2.03")
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("default")  # as a program that sets none has it
        run("register", moving, fixed, "--output_dir", tmp_path, "--formats", "dicom")
    assert len([notice for notice in notices if "not of the standard's form" in str(notice.message)]) == 1


def test_a_contour_is_followed_and_measured(data, tmp_path):
    series, drawn, lumens, ed = data
    printed = run("propagate", series, drawn, "-o", tmp_path).output  # the one frame that is drawn on
    results = followed_files("", followed_formats(None, dicom=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{series.name}_{part}" for part in results)
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{series.name}_masks.nii.gz"))).transpose(1, 0, 2, 3)
    assert masks.shape == lumens.shape
    assert np.array_equal(masks[:, ed] > 0, lumens[:, ed])
    cine = read_cine_stack(series)
    for frame in (0, 5):  # the same, from the DICOM Segmentation
        assert np.array_equal(
            read_drawn(tmp_path / f"{series.name}_segmentation.dcm", cine, frame), masks[:, frame] > 0
        )
    overlap = 2 * (masks * lumens).sum((2, 3)) / (masks.sum((2, 3)) + lumens.sum((2, 3)))
    assert overlap.min() > 0.75
    assert overlap.mean() > 0.9
    numbers = json.loads((tmp_path / f"{series.name}_numbers.json").read_text())
    said = [line for line in printed.splitlines() if line.startswith("warning: ")]
    assert said == [f"warning: {warning}" for warning in numbers["warnings"]]
    strain = numbers["peak_circumferential_strain_percent"]
    assert -40 < strain < -10
    assert f"peak circumferential strain percent: {strain}\n" in printed
    true_volume = lumens.sum((0, 2, 3))
    true_fraction = 100 * (1 - true_volume.min() / true_volume[ed])
    assert numbers["ejection_fraction_percent"] == pytest.approx(true_fraction, abs=6)
    assert abs(numbers["end_systolic_frame"] - true_volume.argmin()) <= 1
    assert (numbers["end_diastolic_frame"], numbers["slices_drawn"]) == (ed, 3)
    table = pd.read_csv(tmp_path / f"{series.name}_cycle.csv")
    assert table["volume_ml"].max() == pytest.approx(numbers["end_diastolic_volume_ml"], abs=0.01)
    assert len(table) == 10


def test_a_report_with_what_the_reader_says(data, tmp_path):
    series, drawn, _, _ = data
    said = ["--heart_rate", 72, "--height_cm", 180, "--weight_kg", 80, "--ed", 9, "--es", 3, "--left_out_es", 0]
    printed = run("propagate", series, drawn, *said, "--report", "--formats", "table", "-o", tmp_path).output
    parts = ("cycle.csv", "numbers.json", "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{series.name}_{part}" for part in parts]
    numbers = json.loads((tmp_path / f"{series.name}_numbers.json").read_text())
    assert numbers["cardiac_output_l_per_min"] == pytest.approx(0.072 * numbers["stroke_volume_ml"], abs=0.006)
    assert (numbers["heart_rate_from"], numbers["body_surface_area_m2"]) == ("given", 2.0)
    assert (numbers["end_diastolic_frame"], numbers["end_systolic_frame"]) == (9, 3)
    assert numbers["slices_left_out_at_end_systole"] == [0]
    unknown = next(line for line in printed.splitlines() if line.startswith("unknown: "))
    assert "myocardial mass g" in unknown
    page = (tmp_path / f"{series.name}_report.html").read_text(encoding="utf-8")
    assert "weights contours" in page
    assert "Phantom" not in page
    run("propagate", series, drawn, "--report", "--patient_name", "-o", tmp_path / "named")
    assert "Phantom SCD0000101" in (tmp_path / "named" / f"{series.name}_report.html").read_text(encoding="utf-8")


def test_files_without_the_mark_of_their_format(data, tmp_path):
    series, drawn, _, ed = data
    bare = tmp_path / series.name
    bare.mkdir()
    for file in series.iterdir():
        (bare / file.name).write_bytes(unmarked(file.read_bytes()))
    assert run("list", bare).output == run("list", series).output
    assert dicom_study(bare.iterdir())
    run("propagate", series, drawn, "-o", tmp_path / "whole")
    run("propagate", bare, drawn, "-o", tmp_path / "bare")
    names = [f"{series.name}_{part}" for part in followed_files("", followed_formats(None, dicom=True))]
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == sorted(names)
    numbers = [(tmp_path / kind / f"{series.name}_numbers.json").read_text() for kind in ("whole", "bare")]
    assert numbers[0] == numbers[1]
    segmentation = tmp_path / "bare" / f"{series.name}_segmentation.dcm"
    masks = [read_drawn(segmentation, read_cine_stack(folder), ed + 1) for folder in (series, bare)]
    assert masks[0].any()
    assert np.array_equal(*masks)
    pair = [bare / path.name for path in read_cine_stack(series).files[1][:2]]
    run("register", *pair, "-o", tmp_path / "pair", "--formats", "dicom")
    assert len(list((tmp_path / "pair").glob("*.dcm"))) == 2


def test_the_structures_of_a_label_image_are_followed(data, tmp_path):
    series, drawn, lumens, ed = data
    image = nib.load(drawn)
    masks = np.asarray(image.dataobj)
    labels = np.where(masks, 3, 2 * np.roll(masks, 30, axis=0)).astype(np.uint8)
    nib.save(nib.Nifti1Image(labels, None, image.header), tmp_path / "labels.nii.gz")
    refused = run("propagate", series, tmp_path / "labels.nii.gz", fails=True).exception
    assert "found 0 and 2, 3: which is the lumen? --labels lumen=VALUE, or acdc, or mnms" in str(refused)
    run("propagate", series, tmp_path / "labels.nii.gz", "--labels", "acdc", "-o", tmp_path)
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{series.name}_masks.nii.gz"))).transpose(1, 0, 2, 3)
    assert np.array_equal(masks[:, ed] == LABELS["lumen"], lumens[:, ed])
    assert np.array_equal(masks[:, ed] == LABELS["myocardium"], np.roll(lumens[:, ed], 30, 2) & ~lumens[:, ed])


def test_masks_lie_where_the_slices_do(data, tmp_path):
    cine = read_cine_stack(data[0])
    masks = np.random.default_rng(0).random(cine.images.shape) > 0.5
    write_masks(tmp_path / "masks.nii.gz", masks, cine)
    for frame in (0, 7):
        assert np.array_equal(read_drawn(tmp_path / "masks.nii.gz", cine, frame), masks[:, frame])
    seconds = sitk.ReadImage(str(tmp_path / "masks.nii.gz")).GetSpacing()[3]
    assert seconds == pytest.approx(np.diff(cine.times).mean() / 1000, rel=1e-4)


def test_masks_in_the_layout_of_a_nifti_cine(data, tmp_path):
    stack = read_cine_stack(data[0])
    cine = sitk.GetImageFromArray(stack.images[1])
    cine.SetSpacing((1.5, 1.2, 30))
    sitk.WriteImage(cine, tmp_path / "cine.nii.gz")
    mask = sitk.GetImageFromArray(data[2][1, data[3]].astype(np.uint8))
    sitk.WriteImage(mask, tmp_path / "mask.png")
    result = run("propagate", tmp_path / "cine.nii.gz", tmp_path / "mask.png", "--frame", data[3], "-o", tmp_path)
    unknown = next(line for line in result.output.splitlines() if line.startswith("unknown: "))
    assert "ejection fraction percent" in unknown  # no distance between slices
    assert not list(tmp_path.glob("*.dcm"))
    masks = sitk.ReadImage(str(tmp_path / "cine_masks.nii.gz"))
    assert (masks.GetSize(), masks.GetSpacing()) == (cine.GetSize(), pytest.approx(cine.GetSpacing()))


def test_nothing_is_overwritten_unasked(data, tmp_path, monkeypatch, capsys):
    stack = read_cine_stack(data[0])
    arguments = ["register", stack.files[0][0], stack.files[0][1], "-o", tmp_path, "--formats", "numpy"]
    run(*arguments)
    monkeypatch.setattr("sys.argv", ["dirnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: '")
    assert "_ddf.npy' exists" in error
    run(*arguments, "--force")


def test_a_failure_midway_leaves_no_mixed_results(data, tmp_path, monkeypatch):
    series, drawn, *_ = data
    arguments = ["propagate", series, drawn, "-o", tmp_path]

    def no_space(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_animation", no_space)  # the last to be written
        run(*arguments, fails=True)
        assert not list(tmp_path.iterdir())
    run(*arguments)  # not stopped by what the first left
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_animation", no_space)
        run(*arguments, "--force", fails=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["register", "nowhere.dcm", "{fixed}"], "file 'nowhere.dcm' does not exist"),
        (["register", "{fixed}", "{series}"], "{fixed}: expected slices at several places, found one place"),
        (["register", "{fixed}", "{fixed}", "-o", "{fixed}"], "{fixed}' is a file; expected a folder to write to"),
        (["register", "{fixed}", "{fixed}", "--formats", "mha"], "formats must be some of nifti, picture, itk"),
        (["propagate", "nowhere", "{mask}", "--frame", "0"], "cine 'nowhere' does not exist"),
        (["propagate", "{series}", "{mask}", "--frame", "10"], "frame must be 0 to 9, got 10"),
        (["propagate", "{series}", "nowhere.nii.gz", "--frame", "0"], "file 'nowhere.nii.gz' does not exist"),
        (["propagate", "{series}", "{mask}", "--ed", "3", "--es", "3"], "ED and ES are both frame 3"),
        (["propagate", "{series}", "{mask}", "--insertions", "3,4"], "--insertions: expected x,y,x,y, four numbers"),
        (["propagate", "{series}", "{mask}", "--patient_name"], "--patient_name is of the report: add --report"),
        (["info", "--weights", "nowhere.pt"], "weights 'nowhere.pt' do not exist; expected unsupervised"),
    ],
)
def test_errors_are_one_line_that_names_what_is_wrong(data, monkeypatch, capsys, arguments, message):
    names = {"series": data[0], "mask": data[1], "fixed": read_cine_stack(data[0]).files[0][0]}
    monkeypatch.setattr("sys.argv", ["dirnet", *(part.format(**names) for part in arguments)])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    assert stopped.value.code == 1
    assert message.format(**names) in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["acdc", "mnms"])
def test_label_images_of_public_data_are_followed_by_command_and_python(tmp_path, preset):
    """Three structures of both phases: ACDC has a volume a phase, M&Ms one file with time."""
    phantom = layouts.phantom(0)
    phases = [phantom.ed, phantom.es]
    if preset == "acdc":
        folder = layouts.write_acdc(tmp_path) / "database" / "training" / "patient001"
        cine, masks = folder / "patient001_4d.nii.gz", sorted(folder.glob("*_gt.nii.gz"))
        frames = [int(path.name.split("frame")[1][:2]) - 1 for path in masks]
        options = [part for frame in frames for part in ("--frame", frame)]
    else:
        folder = layouts.write_mnms(tmp_path) / "Training" / "Labeled" / "A0S9V9"
        cine, masks, frames, options = folder / "A0S9V9_sa.nii.gz", [folder / "A0S9V9_sa_gt.nii.gz"], [], []
    said = run("propagate", cine, *masks, "--labels", preset, *options, "-o", tmp_path / "out").output
    assert "structures: lumen, epicardium, rv" in said
    assert f"drawn on frames: {', '.join(map(str, sorted(phases)))}" in said
    (path,) = (tmp_path / "out").glob("*_masks.nii.gz")
    found = nib.load(path).get_fdata()
    for phase in phases:
        assert np.array_equal(found[..., phase], layouts.labels(phantom, phase, LABELS))

    stack = read_cine_stack(cine)
    followed = follow(Registrar.load(), stack, read_keyframes(masks, stack, frames, preset))
    lumen, wall, rv = followed.structures.values()
    values = {1: lumen, 2: wall & ~lumen, 3: rv & ~wall}  # a label image has one value a pixel
    assert all(np.array_equal(found.transpose(2, 3, 1, 0) == value, masks) for value, masks in values.items())
    again = read_keyframes([path], stack)  # saved work, opened without a word
    assert {name: sorted(np.flatnonzero(part.any((0, 2, 3)))) for name, part in again.items()} == dict.fromkeys(
        ("lumen", "epicardium", "rv"), sorted(phases)
    )


def test_info_and_phantom(tmp_path):
    assert "channels [32, 48, 64, 96]" in run("info").output
    said = run("phantom", tmp_path / "phantom", "--patients", 3).output
    assert (tmp_path / "phantom" / "scd_patientdata.csv").is_file()
    # what it says next, on what it has drawn: the phantom itself
    command, series, drawing, _, frame = said.split("next: dirnet ")[1].split()
    assert command == "propagate"
    stack, phantom = read_cine_stack(series), Phantom(0)
    drawn = read_keyframes([drawing], stack, [int(frame)])
    order = slice(None, None, -1) if int(Path(stack.files[0][0]).stem[-4:]) > phantom.phases else slice(None)
    for structure, masks in drawn.items():
        truth = [getattr(phantom, structure)(number, phantom.ed) for number in range(3)][order]
        assert np.array_equal(masks[:, int(frame)], truth), structure
    assert list(drawn) == ["lumen", "epicardium", "rv"]
    help_ = run("--help").output
    assert all(command in help_ for command in ("register", "propagate", "phantom", "info"))


def test_every_format_has_a_writer():
    assert list(FORMATS) == list(WRITERS)
    assert list(FOLLOWED) == list(saving.WRITERS)


def test_list_shows_what_a_study_holds(data, tmp_path):
    study = shutil.copytree(data[0], tmp_path / "study")
    scout = pydicom.dcmread(next(study.iterdir()))
    scout.SeriesInstanceUID, scout.SeriesNumber, scout.SeriesDescription = "1.2.3", 1, "localizer"
    (study / "scout").mkdir()
    scout.save_as(study / "scout" / "1.dcm")
    head, first, second = run("list", study).output.splitlines()
    assert head.split("  ")[0] == "series"
    assert first.startswith("1 ")
    assert "localizer" in first
    assert "  scout  " in first
    assert "1 images" in first
    assert "no cine: " in first
    assert "3 × 10" in second
    assert "short axis" in second
    assert second.endswith("cine")
    assert "folder 'nowhere' does not exist" in str(run("list", "nowhere", fails=True).exception)


def test_a_datalist_is_printed(phantom_dir):
    lists = json.loads(run("datalist", phantom_dir, "--folds", 2, "--fold", 1).stdout)
    assert {split: len({record["patient"] for record in records}) for split, records in lists.items()} == {
        "training": 1,
        "validation": 1,
        "test": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["register", "--help"], 0), (["info", "--weight", "x"], 2), (["propagate", "cine"], 2)],
)
def test_help_and_usage_errors_do_not_wait_for_torch(arguments, status):
    program = (
        "import atexit, sys\n"
        "from app.command_line import main\n"
        "atexit.register(lambda: print('loaded:', *{'torch', 'monai', 'numpy'} & sys.modules.keys()))\n"
        "main()"
    )
    command = [sys.executable, "-c", program, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == status
    assert result.stdout.splitlines()[-1].strip() == "loaded:"


def test_register_takes_stacks(tmp_path):
    phantom = Phantom(0, (48, 64), phases=4, slices=2)
    for phase in (0, 2):
        image = sitk.GetImageFromArray(np.stack([phantom.cine(number)[phase] for number in range(2)]))
        image.SetSpacing((1.4, 1.4, 8))
        image.SetOrigin((1, 2, 3))
        sitk.WriteImage(image, tmp_path / f"frame{phase}.nii.gz")
    printed = run("register", tmp_path / "frame2.nii.gz", tmp_path / "frame0.nii.gz", "-o", tmp_path / "out").output
    assert [line.split(":")[0] for line in printed.splitlines()] == ["slice 0", "slice 1"] + 3 * ["written"]
    assert sitk.ReadImage(str(tmp_path / "out" / "frame2_to_frame0_ddf.nii.gz")).GetSize() == (64, 48, 2)


def test_propagate_writes_the_formats_that_are_asked_for(data, tmp_path):
    series, drawn, _, _ = data
    run("propagate", series, drawn, "-o", tmp_path, "--formats", "table, slicer")
    expected = [f"{series.name}_{part}" for part in ("cycle.csv", "ed.seg.nrrd", "es.seg.nrrd", "numbers.json")]
    assert sorted(path.name for path in tmp_path.iterdir()) == expected
    failed = run("propagate", series, drawn, "--formats", "table,mha", fails=True)
    known = "masks, seg, rtstruct, slicer, table, pictures, report"
    assert f"formats must be some of {known}; got 'mha'" in str(failed.exception)
    cine = sitk.GetImageFromArray(read_cine_stack(series).images.transpose(1, 0, 2, 3), isVector=False)
    cine.SetSpacing((1.4, 1.4, 8, 0.04))
    sitk.WriteImage(cine, tmp_path / "cine.nii.gz")
    failed = run("propagate", tmp_path / "cine.nii.gz", drawn, "--formats", "seg", fails=True)
    assert "the format seg refers to the cine's DICOM files" in str(failed.exception)
