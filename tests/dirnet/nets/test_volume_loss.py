"""The loss of volumes: each term where it is known by hand, and structures that are missing."""

import pytest
import torch

from dirnet.fields.resampling import warp
from dirnet.nets.volume_loss import VolumeLoss

SIZE = (12, 14, 10)


def batch(shift=0):
    """Two pairs of volumes with two structures, of which the second pair's fixed volume lacks the second."""
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(2, 1, *SIZE, generator=generator)
    masks = torch.zeros(2, 2, *SIZE, dtype=torch.uint8)
    masks[:, 0, 3:8, 3:8, 3:8] = masks[0, 1, 3:8, 8:11, 3:8] = 1
    moving_masks = masks.clone()
    moving_masks[1, 1, 3:8, 8:11, 3:8] = 1
    ddf = torch.zeros(2, 3, *SIZE)
    ddf[:, 0] = shift
    target = {"fixed": fixed, "fixed_masks": masks, "moving_masks": moving_masks}
    prediction = {"warped": warp(fixed, ddf), "ddf": ddf, "soft_masks": warp(moving_masks.float(), ddf)}
    return prediction, target


def test_a_perfect_registration_has_the_least_loss():
    loss = VolumeLoss(similarity=1, structures=2, bending=1, folding=1)
    assert loss(*batch()).item() == pytest.approx(-1, abs=1e-3)
    assert loss.terms["train_structures"].item() == pytest.approx(0, abs=1e-3)


def test_structures_by_hand_where_both_volumes_have_them():
    loss = VolumeLoss(similarity=0, structures=1, bending=0, folding=0)
    # three structures are known, each five slices thick, shifted by one: Dice 4/5
    assert loss(*batch(shift=1)).item() == pytest.approx(0.2, abs=1e-3)


def test_without_structures_it_is_unsupervised():
    prediction, target = batch(shift=1)
    del prediction["soft_masks"]
    loss = VolumeLoss()
    assert loss(prediction, target).item() == pytest.approx(loss.terms["train_similarity"].item())


def test_bending_and_folds_in_steps_of_two_voxels():
    prediction, target = batch()
    places = torch.arange(SIZE[0], dtype=torch.float32)[:, None, None]
    prediction["ddf"] = torch.zeros(2, 3, *SIZE)
    prediction["ddf"][:, 0] = places**2 / 8  # at every second voxel, in steps of two: k ** 2 / 4
    loss = VolumeLoss(similarity=0, structures=0, bending=1, folding=0)
    assert loss(prediction, target).item() == pytest.approx(0.5**2 / 3)  # of three components, one bends
    prediction["ddf"][:, 0] = -2 * places  # mirrored: a determinant of -1 everywhere
    loss = VolumeLoss(similarity=0, structures=0, bending=0, folding=1)
    assert loss(prediction, target).item() == pytest.approx(1.1)


def test_gradients_reach_the_field():
    prediction, target = batch(shift=1)
    ddf = prediction["ddf"].clone().requires_grad_()
    soft = warp(target["moving_masks"].float(), ddf)
    VolumeLoss()({"warped": warp(target["fixed"], ddf), "ddf": ddf, "soft_masks": soft}, target).backward()
    assert ddf.grad.isfinite().all()
    assert ddf.grad.any()
