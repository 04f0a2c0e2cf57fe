"""The MONAI Label app's own parts, without a server."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch

pytest.importorskip("monailabel", reason="MONAI Label is not installed")

from app.lib import studies
from app.lib.labels import labels_of
from app.lib.studies import SeriesFinder
from app.lib.weights import Weights
from dirnet.models import SHIPPED_WEIGHTS
from tests.dicom import write_enhanced


def _segment(name, value):
    return {"name": name, "idx": value}


def test_a_series_keeps_its_id_whatever_comes_beside_it(cines, tmp_path):
    shutil.copytree(cines.series, tmp_path / "p_1")
    before = SeriesFinder(tmp_path).find()
    shutil.copytree(cines.series, tmp_path / "p" / "1")
    after = SeriesFinder(tmp_path).find()
    assert len(before) == 1
    assert len(after) == 2
    assert before.items() <= after.items()


def test_a_study_s_folders_and_one_file_of_many_frames_are_images(tmp_path):
    pixels = np.zeros((1, 3, 12, 16), np.uint8)
    for number in range(2):
        (tmp_path / "study" / f"s{number}").mkdir(parents=True)
        write_enhanced(tmp_path / "study" / f"s{number}" / "IM1", pixels, [(0, time) for time in range(3)])
    assert sorted(SeriesFinder(tmp_path).find().values()) == ["study", "study/s0", "study/s1"]


def test_a_folder_is_offered_when_it_is_complete(cines, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    finder = SeriesFinder(tmp_path)
    assert finder.find() == {}
    files = sorted(cines.series.iterdir())
    (tmp_path / "new").mkdir()
    for file in files[:10]:
        shutil.copy2(file, tmp_path / "new")  # with the original's time
    assert finder.find() == {}  # still being copied
    monkeypatch.setattr(studies, "SETTLED", 0)
    (offered,) = finder.find().values()
    assert offered == "new"
    monkeypatch.setattr(studies, "SETTLED", 100)
    shutil.copy2(files[10], tmp_path / "new")
    assert list(finder.find().values()) == ["new"]  # known, and growing
    shutil.rmtree(tmp_path / "new")
    assert finder.find() == {}


def test_links_out_of_the_folder_are_named_and_not_read(cines, tmp_path):
    inside = tmp_path / "inside"
    shutil.copytree(cines.series, inside / "a" / "cine")
    (inside / "again").symlink_to(inside / "a")
    (inside / "out").symlink_to(cines.series)
    (inside / "b").mkdir()
    for file in cines.series.iterdir():
        (inside / "b" / file.name).symlink_to(file)
    finder = SeriesFinder(inside)
    assert list(finder.find().values()) == ["a/cine"]
    link, out = sorted(finder.links)
    assert (link.startswith("b/IM-"), out) == (True, "out")


@pytest.mark.parametrize(
    ("values", "info", "expected"),
    [
        ([1, 3], {}, {"lumen": 1, "myocardium": 2, "rv": 3}),
        ([3], {}, {"lumen": 1, "myocardium": 2, "rv": 3}),  # as the server's clients draw the right ventricle alone
        ([255], {}, None),
        ([1, 4], {}, None),
        (
            [1, 2],
            {"label_info": [_segment("Right ventricle lumen", 1), _segment("Left ventricle lumen", 2)]},
            {"lumen": 2, "rv": 1},
        ),
        ([1], {"label_info": "no list"}, {"lumen": 1, "myocardium": 2, "rv": 3}),
    ],
)
def test_a_client_s_values_mean_what_the_server_says(tmp_path, values, info, expected):
    image = sitk.GetImageFromArray(np.array([[0, *values]], np.uint8))
    sitk.WriteImage(image, tmp_path / "label.nii.gz")
    assert labels_of(tmp_path / "label.nii.gz", info) == expected


def test_trained_weights_serve_those_they_were_trained_from(tmp_path):
    weights = Weights(tmp_path)
    assert weights.path == SHIPPED_WEIGHTS
    shutil.copy(SHIPPED_WEIGHTS, weights.trained)
    assert Weights(tmp_path).path == weights.trained
    other = tmp_path / "other.pt"
    shutil.copy(SHIPPED_WEIGHTS, other)
    assert Weights(tmp_path, other).path == weights.trained  # the same weights by another name
    state = torch.load(SHIPPED_WEIGHTS, weights_only=True)
    next(value for value in state.values() if value.is_floating_point()).add_(1)
    torch.save(state, other)
    assert Weights(tmp_path, other).path == other
