"""Records from a datalist JSON are those of the folder; splits; and what is said of a datalist of another form."""

import json
import logging
import os
import re

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import DataLoader, Dataset
from PIL import Image

from transforms.loading import LoadCined
from transforms.pairing import PairPhasesd
from transforms.records import records_of_split, with_ed_and_es
from transforms.scd import scan
from transforms.sources import read_records


def write(folder, lists):
    path = folder / "datalist.json"
    path.write_text(lists if isinstance(lists, str) else json.dumps(lists))
    return path


@pytest.fixture(scope="module")
def record(phantom_dir):
    """A slice of 48 rows and 64 columns."""
    return scan(phantom_dir)[0]


@pytest.fixture(scope="module")
def cine(record):
    return LoadCined(structures=("lumen", "epicardium"))(record)


# --- the same slice in a datalist, in three kinds of file ---


def masks_of(cine, folder, save, suffix):
    """Writes the masks with ``save(array, path)``; the datalist's entries of them."""
    entries = {"lumen": {}, "epicardium": {}}
    for structure, files in entries.items():
        for index, mask in cine[structure].items():
            files[str(index)] = f"{structure}{index}{suffix}"
            save(mask.numpy(), folder / files[str(index)])
    return entries


def as_dicom(record, cine, folder):
    def relative(path):
        return os.path.relpath(path, folder)

    contours = {name: {str(i): relative(path) for i, path in record[name].items()} for name in ("lumen", "epicardium")}
    return {"frames": [relative(path) for path in record["frames"]], **contours}


def as_nifti(record, cine, folder):
    """One file (x, y, 1, time); masks (x, y, 1) with label 3."""
    rows, columns = cine["spacing"]

    def save(array, path):
        nib.save(nib.Nifti1Image(array, np.diag([columns, rows, 8, 1])), path)

    frames = np.stack([pydicom.dcmread(path).pixel_array for path in record["frames"]])
    save(frames.transpose(2, 1, 0)[:, :, None], folder / "cine.nii.gz")
    masks = masks_of(cine, folder, lambda mask, path: save(3 * mask.T[:, :, None], path), ".nii")
    return {"frames": ["cine.nii.gz"], **masks}


def as_png(record, cine, folder):
    """A 16-bit file a frame, masks 0/255; without a spacing of their own."""
    frames = [f"frame{number}.png" for number in range(20)]
    for name, path in zip(frames, record["frames"], strict=True):
        Image.fromarray(pydicom.dcmread(path).pixel_array.astype(np.uint16)).save(folder / name)
    masks = masks_of(cine, folder, lambda mask, path: Image.fromarray(255 * mask).save(path), ".png")
    return {"frames": frames, "spacing": cine["spacing"], **masks}


@pytest.mark.parametrize("form", [as_dicom, as_nifti, as_png])
def test_datalist_gives_the_folder_s_cine(record, cine, tmp_path, form):
    about = {key: record[key] for key in ("patient", "slice", "pathology", "ed", "es")}
    (found,) = read_records(write(tmp_path, {"training": [{**about, **form(record, cine, tmp_path)}]}), tmp_path)
    assert set(found) == set(record)
    assert {key: found[key] for key in (*about, "split")} == {key: record[key] for key in (*about, "split")}
    loaded = LoadCined(structures=("lumen", "epicardium"))(found)
    assert loaded["image"].shape == (20, 48, 64)
    assert torch.equal(loaded["image"], cine["image"])
    for structure in ("lumen", "epicardium"):
        assert set(loaded[structure]) == set(cine[structure])
        assert all(torch.equal(loaded[structure][index], mask) for index, mask in cine[structure].items())
    assert loaded["spacing"] == pytest.approx(cine["spacing"])
    assert loaded["spacing_assumed"] is False


def test_frames_alone_are_enough_for_a_batch(record, cine, tmp_path):
    """All else has a default, and no default is in the way of a batch."""
    lists = {"name": "mine", "training": [], "online": [as_nifti(record, cine, tmp_path)]}
    (found,) = read_records(write(tmp_path, lists), tmp_path)
    assert (found["split"], found["patient"], found["pathology"], found["ed"]) == ("test", "test-0", "unknown", None)
    loaded = LoadCined()({**found, "ed": 3, "es": 9})
    batch = next(iter(DataLoader(Dataset([loaded] * 2, PairPhasesd()), batch_size=2)))
    assert batch["moving"].shape == (4, 1, 48, 64)
    assert batch["pathology"] == ["unknown"] * 4


GOOD = {"frames": ["a.png", "b.png"]}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ("{'training': []}", "datalist.json: is no JSON file: "),
        ("\udc80", "datalist.json: is no JSON file: "),
        ([GOOD], "expected lists of records, {'training': [...], ...}, found a list"),
        ({"training": {"frames": []}}, "expected a list of records as 'training', found an object"),
        ({"train": [GOOD]}, "split must be one of ('training', 'validation', 'test'), got 'train'"),
        ({"training": [GOOD, "c.png"]}, "training[1]: expected a record, {'frames': [path, ...], ...}, found a text"),
        ({"test": [{"image": "a.nii"}]}, "test[0]: expected 'frames', a list of image files, found None"),
        ({"test": [{"frames": []}]}, "expected 'frames', a list of image files, found []"),
        ({"test": [{"frames": "a.nii"}]}, "expected 'frames', a list of image files, found 'a.nii'"),
        ({"test": [{"frames": [1, 2]}]}, "expected 'frames', a list of image files, found [1, 2]"),
        ({"test": [{**GOOD, "ed": "0"}]}, "expected 'ed', an index in frames, found '0'"),
        ({"test": [{**GOOD, "es": -1}]}, "expected 'es', an index in frames, found -1"),
        ({"test": [{**GOOD, "ed": 1, "es": 1}]}, "expected two phases, found 1 as 'ed' and 'es'"),
        ({"test": [{**GOOD, "spacing": 1.3}]}, "expected 'spacing', [row mm, column mm], found 1.3"),
        ({"test": [{**GOOD, "spacing": [1.3, 0]}]}, "expected 'spacing', [row mm, column mm], found [1.3, 0]"),
        (
            {"test": [{**GOOD, "file_slice": 1}]},
            "'file_slice', an index in the one file of 'frames', found 1 and 2 files",
        ),
        ({"test": [{"frames": ["a.nii"], "file_slice": -1}]}, "expected 'file_slice', an index in the one file"),
        ({"test": [{**GOOD, "labels": 3}]}, "test[0]: expected 'labels', a text or an object, found 3"),
        ({"test": [{**GOOD, "labels": "scd"}]}, "test[0]: labels: expected acdc, mnms, or values such as lumen=3"),
        ({"test": [{**GOOD, "labels": {"lumen": "3"}}]}, "test[0]: labels: expected acdc, mnms, or values"),
        ({"test": [{**GOOD, "labels": {"lumen": [3]}}]}, "test[0]: labels: expected acdc, mnms, or values"),
        ({"test": [{**GOOD, "rv": ["a.txt"]}]}, "expected 'rv', {\"index in frames\": path}, found ['a.txt']"),
        ({"test": [{**GOOD, "lumen": ["a.txt"]}]}, "expected 'lumen', {\"index in frames\": path}, found ['a.txt']"),
        ({"test": [{**GOOD, "epicardium": {"ED": "a.txt"}}]}, "expected 'epicardium', {\"index in frames\": path}"),
    ],
)
def test_datalist_of_another_form(tmp_path, lists, message):
    path = tmp_path / "datalist.json"
    path.write_bytes((lists if isinstance(lists, str) else json.dumps(lists)).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_records(path, tmp_path)
    assert str(path) in str(caught.value)


def test_datalist_without_record(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"datalist.json lists no record; expected some as 'training'"):
        read_records(write(tmp_path, {"training": [], "numTraining": 0}), tmp_path)


def test_frame_that_is_not_there(tmp_path):
    (found,) = read_records(write(tmp_path, {"test": [GOOD]}), tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"file '{tmp_path}/a.png' does not exist"):
        LoadCined()(found)


# --- the embedded default ---


def test_without_a_folder_it_is_the_phantom(phantom_dir, caplog):
    with caplog.at_level(logging.INFO):
        assert read_records(None, phantom_dir) == scan(phantom_dir)
    assert len(caplog.records) == 1
    assert "no dataset_dir (nor SCD_DIR) given: using the beating-heart phantom" in caplog.text


def test_phantom_is_written_where_it_is_missing(tmp_path, monkeypatch, phantom_dir):
    monkeypatch.setattr("transforms.sources.write_scd", lambda folder: folder.symlink_to(phantom_dir))
    records = read_records(None, tmp_path / "phantom")
    assert len(records) == 6
    assert records[0]["frames"][0].startswith(str(tmp_path / "phantom"))


# --- choosing among records ---


def test_splits(phantom_dir):
    records = scan(phantom_dir)
    for split in ("training", "validation", "test"):
        assert {record["split"] for record in records_of_split(records, split)} == {split}
    both = records_of_split(records, ["training", "validation"])
    assert [record["patient"] for record in both] == ["PH-01", "PH-01", "PH-02", "PH-02"]
    with pytest.raises(ValueError, match=r"split must be one of \('training', 'validation', 'test'\), got 'train'"):
        records_of_split(records, "train")
    with pytest.raises(ValueError, match=r"split 'test'; found: training \(2\), validation \(2\), test \(0\)"):
        records_of_split(both, "test")


def test_records_with_ed_and_es(phantom_dir):
    first, second, *_ = scan(phantom_dir)
    without = [{**first, "ed": None}, {**first, "es": None}]
    assert with_ed_and_es([*without, second, {**first, "ed": 0}]) == [second, {**first, "ed": 0}]
    with pytest.raises(
        ValueError, match=r"none of the 2 records \(training\) says which frames are end-diastole and end-systole"
    ):
        with_ed_and_es(without)
