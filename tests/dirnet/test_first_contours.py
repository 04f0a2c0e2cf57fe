"""First contours: what is drawn, where, and what is refused."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from dirnet.cine.first_drawing import on_frame, save_first
from dirnet.errors import InputError
from dirnet.first_contours import FirstContours
from dirnet.models import DRAWING_WEIGHTS
from dirnet.nets.networks import DIRNet
from dirnet.nets.segmentation import DrawingLoss, DrawingNetwork, drawing_dice
from transforms.cine_files import CineStack
from transforms.drawings import read_keyframes

UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 4, "channels": [4, 8], "strides": [2]}


class _Bright(nn.Module):
    """Stands for a trained network: the lumen is what is bright, the epicardium what isn't dark."""

    def forward(self, image):
        low, high = (image.amin((2, 3), True), image.amax((2, 3), True))
        share = (image - low) / (high - low + 1e-3)
        return torch.cat([20 * (share - 0.7), 20 * (share - 0.2)], 1)


def cine(images, spacing=(1.6, 1.6), distance=8.0):
    grids = [sitk.Image([images.shape[3], images.shape[2], 1], sitk.sitkUInt8) for _ in images]
    for number, grid in enumerate(grids):
        grid.SetSpacing((spacing[1], spacing[0], distance))
        grid.SetOrigin((0, 0, number * distance))
    positions = np.arange(len(images)) * distance
    return CineStack(np.asarray(images, np.float32), grids, spacing, distance, positions=positions)


def hearts(radii, size=(120, 100), spacing=(1.6, 1.6), middle=(3.0, -5.0), frames=2):
    """Discs of radius (S,) mm in rings 8 mm thick, ``middle`` mm off the image's; and a bright spot far from them."""
    rows, columns = (
        (np.arange(n) - (n - 1) / 2) * step - off for n, step, off in zip(size, spacing, middle, strict=True)
    )
    away = np.hypot(rows[:, None], columns[None])
    spot = np.hypot(rows[:, None] - 55, columns[None] - 40) < 7
    return np.stack(
        [
            np.stack([np.where(spot, 1.0, np.where(away < r, 1.0, np.where(away < r + 8, 0.45, 0.0)))] * frames)
            if r
            else np.stack([spot.astype(float)] * frames)
            for r in radii
        ]
    ), away


@pytest.fixture
def first():
    network = DrawingNetwork("monai.networks.nets.UNet", UNET)
    network.network, network.head = _Bright(), nn.Identity()
    return FirstContours(network, "cpu")


@pytest.mark.parametrize(
    ("size", "spacing"), [((120, 100), (1.6, 1.6)), ((151, 260), (1.3, 0.7)), ((64, 80), (3.1, 2.6))]
)
def test_draws_the_same_heart_at_any_size_and_spacing(first, size, spacing):
    images, away = hearts([20, 24], size, spacing)
    drawn = first.draw(cine(images, spacing), 1)
    assert {name: masks.shape for name, masks in drawn.items()} == dict.fromkeys(("lumen", "epicardium"), (2, *size))
    for name, extra in (("lumen", 0), ("epicardium", 8)):
        for mask, radius in zip(drawn[name], (20, 24), strict=True):
            wanted = away < radius + extra
            assert 2 * (mask & wanted).sum() / (mask.sum() + wanted.sum()) > 0.93
    assert not (drawn["lumen"] & ~drawn["epicardium"]).any()


def test_slices_without_a_ventricle_stay_empty_and_what_is_far_off_is_none(first):
    images, _ = hearts([0, 14, 20, 16, 0, 12])
    drawn = first.draw(cine(images), 0)
    assert drawn["lumen"].any((1, 2)).tolist() == [False, True, True, True, False, False]  # none beyond a gap
    assert drawn["epicardium"].any((1, 2)).tolist() == [False, True, True, True, False, False]


def test_a_heart_far_from_the_middle_is_found(first):
    images, away = hearts([24, 24], size=(190, 180), middle=(-90.0, 60.0))
    lumen = first.draw(cine(images), 0)["lumen"][0]
    assert 2 * (lumen & (away < 24)).sum() / (lumen.sum() + (away < 24).sum()) > 0.93


def test_end_diastole_is_where_the_lumen_is_largest(first):
    beat = [18, 14, 19, 23, 21]
    images = np.concatenate([hearts([r, r - 2, r - 4], frames=1)[0] for r in beat], 1)
    assert first.end_diastole(cine(images)) == 3
    at_best = first.draw(cine(images))["lumen"]
    np.testing.assert_array_equal(at_best, first.draw(cine(images), 3)["lumen"])


def test_no_heart_and_no_frame_are_refused(first):
    blank = cine(np.zeros((2, 3, 40, 40)))
    with pytest.raises(InputError, match="no left ventricle was found on frame 1"):
        first.draw(blank, 1)
    with pytest.raises(InputError, match="no left ventricle"):
        first.end_diastole(blank)
    with pytest.raises(InputError, match="frame must be 0 to 2, got 3"):
        first.draw(blank, 3)
    with pytest.raises(InputError, match="by its description this is a long-axis view"):
        first.draw(dataclasses.replace(blank, view="long axis"))


def test_another_network_is_refused(tmp_path):
    torch.save(DIRNet(channels=4).state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match="a network that draws the lumen, found DIRNet"):
        FirstContours.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        FirstContours.load(tmp_path / "none.pt")


def test_saved_first_contours_are_read_with_their_frame(first, tmp_path):
    stack = cine(hearts([14, 20, 0], frames=4)[0])
    drawn = first.draw(stack, 2)
    nifti, _, picture = save_first(drawn, stack, 2, tmp_path, "heart")
    read = read_keyframes([nifti], stack)
    assert read.keys() == {"lumen", "epicardium"}
    for name, masks in on_frame(drawn, stack, 2).items():
        np.testing.assert_array_equal(read[name], masks)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileExistsError, match="heart_first_contours"):
        save_first(drawn, stack, 2, tmp_path, "heart")


def test_the_loss_looks_at_what_is_drawn_alone():
    masks = torch.zeros(2, 2, 8, 8)
    masks[:, :, 2:6, 2:6] = 1
    masks[1, 1] = -1
    right = torch.where(masks > 0.5, 20.0, -20.0)
    assert DrawingLoss()(right, masks) == pytest.approx(0, abs=1e-5)
    other = right.clone()
    other[1, 1] = 20
    assert DrawingLoss()(other, masks) == DrawingLoss()(right, masks)
    other[0, 1] = -20  # one of the three that are known is missed: cross-entropy of 20 on a quarter, Dice 2 / 18
    assert DrawingLoss()(other, masks) == pytest.approx((4 * 20 / 4 + 1 - 2 / 18) / 3, rel=1e-3)
    assert drawing_dice(other, masks, 1).tolist() == pytest.approx([0, float("nan")], nan_ok=True)


def test_shipped_weights_draw_what_a_reader_drew():
    if not os.environ.get("SCD_DIR"):
        pytest.skip("SCD_DIR is not set")
    from transforms.loading import LoadCined
    from transforms.sources import read_records

    records = [r for r in read_records(os.environ["SCD_DIR"], "") if r["patient"] == "SC-HF-I-05" and r["lumen"]]
    loaded = [LoadCined((1, 99))(record) for record in records]
    images = np.stack([one["image"].float().numpy()[[one["ed"], one["es"]]] for one in loaded])
    drawn = FirstContours.load().draw(cine(images, tuple(loaded[0]["spacing"])), 0)
    dice = []
    for mask, one in zip(drawn["lumen"], loaded, strict=True):
        wanted = one["lumen"][one["ed"]].numpy() > 0
        dice.append(2 * (mask & wanted).sum() / (mask.sum() + wanted.sum()))
    assert np.mean(dice) > 0.93
    assert drawn["epicardium"].any((1, 2)).all()


def test_shipped_weights_say_what_they_are():
    network = FirstContours.load(DRAWING_WEIGHTS, "cpu").network
    assert network.structures == ("lumen", "epicardium")
    assert (network.side, network.pixel) == (128, 1.6)
