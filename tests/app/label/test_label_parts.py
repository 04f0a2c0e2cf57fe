"""The MONAI Label app's own parts, without a server."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("monailabel", reason="MONAI Label is not installed")

from app.lib.studies import find_series
from app.lib.weights import Weights
from dirnet.models import SHIPPED_WEIGHTS
from tests.dicom import write_enhanced


def test_a_series_keeps_its_id_whatever_comes_beside_it(cines, tmp_path):
    shutil.copytree(cines.series, tmp_path / "p_1")
    before = find_series(tmp_path)
    shutil.copytree(cines.series, tmp_path / "p" / "1")
    after = find_series(tmp_path)
    assert len(before) == 1
    assert len(after) == 2
    assert before.items() <= after.items()


def test_a_study_s_folders_and_one_file_of_many_frames_are_images(tmp_path):
    pixels = np.zeros((1, 3, 12, 16), np.uint8)
    for number in range(2):
        (tmp_path / "study" / f"s{number}").mkdir(parents=True)
        write_enhanced(tmp_path / "study" / f"s{number}" / "IM1", pixels, [(0, time) for time in range(3)])
    assert sorted(find_series(tmp_path).values()) == ["study", "study/s0", "study/s1"]


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
