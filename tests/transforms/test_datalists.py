"""Datalists that are printed say what the folder's records say; folds share no patient."""

import json

import pytest

from transforms.datalists import as_datalist, fold_of
from transforms.errors import InputError
from transforms.sources import read_records


def test_a_printed_datalist_reads_as_its_records(phantom_dir, tmp_path):
    records = read_records(phantom_dir, "")
    path = tmp_path / "elsewhere" / "list.json"
    path.parent.mkdir()
    path.write_text(json.dumps(as_datalist(records)))

    def by_name(record):
        return record["patient"], record["slice"]

    assert sorted(read_records(path, ""), key=by_name) == sorted(records, key=by_name)


def some_records():
    groups = {"a": "normal", "b": "normal", "c": "heart failure", "d": "normal", "e": "heart failure", "f": "normal"}
    splits = dict(zip("abcdef", ("training", "validation", "training", "training", "training", "test"), strict=True))
    return [
        {"patient": patient, "slice": slice_, "pathology": group, "split": splits[patient]}
        for patient, group in groups.items()
        for slice_ in range(2)
    ]


def test_each_patient_is_held_out_once_and_the_test_split_stays():
    held_out = []
    for fold in range(2):
        split = fold_of(some_records(), fold, 2)
        by_split = {name: [r["patient"] for r in split if r["split"] == name] for name in ("training", "validation")}
        assert not set(by_split["training"]) & set(by_split["validation"])
        assert [r["patient"] for r in split if r["split"] == "test"] == ["f", "f"]
        groups = {r["pathology"] for r in split if r["split"] == "validation"}
        assert groups == {"normal", "heart failure"}
        held_out += by_split["validation"]
    assert sorted(held_out) == sorted(2 * "abcde")


@pytest.mark.parametrize(("fold", "folds", "message"), [(2, 2, "fold 2 of 2"), (0, 1, "of 1"), (0, 6, "5 patients")])
def test_folds_that_cannot_be(fold, folds, message):
    with pytest.raises(InputError, match=message):
        fold_of(some_records(), fold, folds)
