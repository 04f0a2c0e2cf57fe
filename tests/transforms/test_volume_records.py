"""Records of volumes: from a datalist, from a folder as the Decathlon has it, and of the phantom."""

import json
import re

import numpy as np
import pytest
import SimpleITK as sitk

from transforms.cine import fingerprint
from transforms.phantom import VolumePhantom, write_volumes
from transforms.volume_records import read_volume_records


def write(folder, content):
    path = folder / "datalist.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("labels", [{"0": "background", "1": "A", "2": "P"}, {"background": 0, "A": 1, "P": 2}])
def test_datalist(tmp_path, labels):
    lists = {
        "name": "x",
        "labels": labels,
        "training": [{"image": "i/a.nii.gz", "label": "l/a.nii.gz", "patient": "Anna"}],
        "test": ["i/b.nii.gz"],
    }
    assert read_volume_records(write(tmp_path, lists), "") == [
        {
            "patient": "Anna",
            "split": "training",
            "image": str(tmp_path / "i/a.nii.gz"),
            "label": str(tmp_path / "l/a.nii.gz"),
            "labels": {"A": 1, "P": 2},
        },
        {
            "patient": "b",
            "split": "test",
            "image": str(tmp_path / "i/b.nii.gz"),
            "label": None,
            "labels": {"A": 1, "P": 2},
        },
    ]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([1], "expected lists of records, {'training': [...], ...}, found a list"),
        ({"training": [3]}, "training[0]: expected a record, {'image': path, ...}, found 3"),
        ({"training": [{"label": "a"}]}, "training[0]: expected 'image', a text, found None"),
        ({"training": [{"image": "a", "label": 1}]}, "training[0]: expected 'label', a text, found 1"),
        ({"training": ["a"], "labels": {"1": "A", "2": "A"}}, "labels: expected"),
        ({"training": ["a"], "labels": {"A": 1, "B": 1}}, "labels: expected"),
        ({"training": ["a"], "labels": {"A": "1"}}, "labels: expected"),
    ],
)
def test_datalist_of_another_form(tmp_path, lists, message):
    path = write(tmp_path, lists)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_volume_records(path, "")


def save(path, values):
    path.parent.mkdir(exist_ok=True, parents=True)
    array = np.zeros((2, 2, 2), np.uint8)
    array.flat[: len(values)] = values
    sitk.WriteImage(sitk.GetImageFromArray(array), path)


def test_folder_of_the_decathlon(tmp_path):
    """20 files: 14 training, 3 validation, 3 test, by name; ._ files of a Mac and images without labels are left."""
    for number in range(20):
        for kind in ("imagesTr", "labelsTr"):
            save(tmp_path / kind / f"h_{number:02d}.nii.gz", [0, 3] if number == 4 and kind == "labelsTr" else [0, 1])
    (tmp_path / "imagesTr/._h_00.nii.gz").touch()
    (tmp_path / "imagesTr/notes.txt").touch()
    save(tmp_path / "imagesTs/h_99.nii.gz", [])
    (tmp_path / "labelsTr/h_07.nii.gz").unlink()
    records = read_volume_records(tmp_path, "")
    splits = ["training"] * 14 + ["validation"] * 3 + ["test"] * 3
    assert [(record["patient"], record["split"]) for record in records] == [
        (f"h_{number:02d}", split) for number, split in enumerate(splits)
    ]
    assert records[7]["label"] is None
    assert records[8]["label"] == str(tmp_path / "labelsTr/h_08.nii.gz")
    assert all(record["labels"] == {"label_1": 1, "label_3": 3} for record in records)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "A", "3": "P"}}))
    assert read_volume_records(tmp_path, "")[0]["labels"] == {"A": 1, "P": 3}


def test_folder_without_volumes(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no volume; expected folders images and labels"):
        read_volume_records(tmp_path, "")
    with pytest.raises(FileNotFoundError, match="does not exist; expected a folder with images and labels"):
        read_volume_records(tmp_path / "none", "")


def test_labels_of_other_names_are_refused(tmp_path):
    save(tmp_path / "images/a_0000.nii.gz", [1])
    save(tmp_path / "labels/a.nii.gz", [1])
    with pytest.raises(ValueError, match=r"expected labels of the images' names, found none, not even .*a_0000"):
        read_volume_records(tmp_path, "")


@pytest.mark.parametrize(
    ("count", "expected"), [(6, (2, 2, 2)), (8, (4, 2, 2)), (20, (14, 3, 3)), (201, (141, 30, 30))]
)
def test_each_split_of_a_folder_has_a_pair(tmp_path, count, expected):
    for number in range(count):
        path = tmp_path / f"images/{number:03}.nii"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    splits = [record["split"] for record in read_volume_records(tmp_path, "")]
    assert tuple(splits.count(split) for split in ("training", "validation", "test")) == expected


def test_label_files_that_are_images(tmp_path):
    save(tmp_path / "images/a.nii.gz", [1])
    path = tmp_path / "labels/a.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 2, 2), 0.25, np.float32)), path)
    with pytest.raises(ValueError, match=r"labels/a\.nii\.gz: expected labels, whole numbers from 0; found 0\.25"):
        read_volume_records(tmp_path, "")


def test_phantom_is_written_once_and_the_same_again(tmp_path):
    records = read_volume_records(None, tmp_path / "a")
    assert [record["split"] for record in records] == ["training"] * 8 + ["validation"] * 2 + ["test"] * 2
    assert {tuple(record["labels"].items()) for record in records} == {(("anterior", 1), ("posterior", 2))}
    before = [fingerprint(record) for record in records]
    assert [fingerprint(record) for record in read_volume_records(None, tmp_path / "a")] == before
    assert len(set(before)) == 12
    write_volumes(tmp_path / "b")
    for name in ("images/PV-03.nii.gz", "labels/PV-12.nii.gz", "datalist.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_phantoms_do_not_fold_and_differ(seed):
    phantom = VolumePhantom(seed)
    places = phantom.to_atlas(phantom._points())
    columns = np.stack(np.gradient(places, axis=(1, 2, 3)), -1)  # (3, D, H, W, 3)
    determinant = np.linalg.det(np.moveaxis(columns, 0, -2))
    assert 0.2 < determinant.min() < determinant.max() < 4
    label, other = phantom.label(), VolumePhantom(seed + 1).label()
    assert set(np.unique(label)) == {0, 1, 2}
    assert (label == 1).sum() > 500 < (label == 2).sum()
    assert not label[[0, -1]].any()
    overlap = 2 * ((label == 1) & (other == 1)).sum() / ((label == 1).sum() + (other == 1).sum())
    assert 0.3 < overlap < 0.95
    image = phantom.image()
    assert image[label == 1].mean() > image[label == 2].mean() > image[label == 0].mean() + 40
