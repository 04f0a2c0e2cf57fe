"""Pairs of opposite contrast, registered by each similarity, on the phantom."""

from __future__ import annotations

import pandas as pd
import pytest

from app.experiments import contrast
from dirnet.errors import InputError


def test_inverted_pairs_tell_the_similarities_apart(phantom_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(contrast, "SIDE", 48)
    monkeypatch.setattr(contrast, "STEPS", 30)
    contrast.run(str(phantom_dir), tmp_path, "tuning")
    table = pd.read_csv(tmp_path / "registrations.csv")
    mean = table.groupby(["similarity", "contrast"])["dice"].mean()
    pairs = contrast._pairs(contrast._records(str(phantom_dir), "tuning"))
    before = contrast.dice(pairs["moving_lumen"] > 0, pairs["fixed_lumen"] > 0).nanmean().item()
    assert mean["NCC", "as it is"] > before + 0.05
    assert mean["NCC", "inverted"] < before
    for similarity in ("local NCC", "mutual information", "MIND-SSC", "NGF"):
        assert mean[similarity, "inverted"] > before + 0.03
        assert mean[similarity, "inverted"] == pytest.approx(mean[similarity, "as it is"], abs=0.02)
    page = (tmp_path / "contrast.md").read_text(encoding="utf-8")
    shown = f"{mean['NCC', 'inverted'] - mean['NCC', 'as it is']:+.3f}"
    (row,) = [line for line in page.splitlines() if line.startswith("| NCC |")]
    assert shown in row


def test_one_patient_has_no_other_half(phantom_dir, tmp_path):
    with pytest.raises(InputError, match="one patient in the split 'validation'"):
        contrast.run(str(phantom_dir), tmp_path, "held_out")
