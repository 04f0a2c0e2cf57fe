"""Frames with what is drawn on them, in windows of one pixel size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from transforms.augmentation import take_windows
from transforms.drawn_frames import (
    UNKNOWN,
    DrawnFrameDataset,
    RandomFrameDataset,
    centred_places,
    drawn_frames,
    window_grid,
)
from transforms.errors import InputError

STRUCTURES = ("lumen", "epicardium")


def cine(patient, spacing, drawn=True):
    """Two frames of a disc of 20 mm, 10 mm below and 5 mm left of the middle; the epicardium is drawn on the first."""
    size = [round(240 / step) for step in spacing]
    rows, columns = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(size, spacing, strict=True))
    disc = torch.from_numpy(np.hypot(rows[:, None] - 10, columns[None] + 5) < 20).float()
    masks = {"lumen": {0: disc, 1: disc}, "epicardium": {0: disc}} if drawn else {"lumen": {}, "epicardium": {}}
    return {"patient": patient, "image": torch.stack([disc, disc]), "spacing": list(spacing), **masks}


@pytest.mark.parametrize("spacing", [(1.6, 1.6), (1.2, 1.9), (0.8, 1.0)])
def test_windows_show_the_same_heart_whatever_the_spacing(spacing):
    frames = drawn_frames([cine("a", spacing)], STRUCTURES)
    item = DrawnFrameDataset(frames, 64, 2.0)[0]
    rows, columns = ((torch.arange(64) - 31.5) * 2,) * 2
    wanted = (torch.hypot(rows[:, None] - 10, columns[None] + 5) < 20).float()
    for layer in (item["image"][0], *item["label"]):
        assert (layer - wanted).abs().mean() < 0.01


def test_what_is_not_drawn_is_unknown_and_undrawn_slices_are_empty():
    data = [cine("a", (2.0, 2.0)), cine("a", (2.0, 2.0), drawn=False), cine("b", (2.0, 2.0), drawn=False)]
    frames = drawn_frames(data, STRUCTURES)
    assert [frame.empty for frame in frames] == [False, False, True, True]  # of b nothing is known
    assert len(drawn_frames(data, STRUCTURES, absent=False)) == 2
    labels = [DrawnFrameDataset(frames, 32, 4.0)[number]["label"] for number in range(4)]
    assert (labels[1][1] == UNKNOWN).all()
    assert labels[1][0].max() == 1
    assert (labels[2] == 0).all()
    with pytest.raises(InputError, match="no frame has lumen or epicardium drawn"):
        drawn_frames(data[2:], STRUCTURES)


def test_random_windows_are_the_same_again_and_keep_the_heart():
    frames = drawn_frames([cine("a", (1.5, 1.5)), cine("a", (1.5, 1.5), drawn=False)], STRUCTURES)
    batches = [RandomFrameDataset(frames, 64, 2.0, 8, 5, seed=3, reach=10.0)[2] for _ in range(2)]
    assert torch.equal(batches[0]["image"], batches[1]["image"])
    assert batches[0]["image"].shape == (8, 1, 64, 64)
    drawn = batches[0]["label"][:, 0].amax((1, 2)) > 0.5
    areas = batches[0]["label"][drawn, 0].sum((1, 2)) * 4
    assert areas.min() > 0.4 * np.pi * 400  # zoomed out by exp(0.38) at most
    assert areas.max() < 1.8 * np.pi * 400


def test_the_way_back_from_a_window_is_the_inverse():
    size, spacing, centre = (40, 50), (1.5, 2.0), torch.tensor([18.0, 26.0])
    where = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij"))[None]
    window = take_windows(where, centred_places(size, spacing, centre, 24, 2.5))
    back = take_windows(window, window_grid(size, spacing, centre, 24, 2.5))
    inside = (slice(None), slice(None), slice(8, 30), slice(16, 38))
    torch.testing.assert_close(back[inside], where[inside], atol=1e-3, rtol=0)
