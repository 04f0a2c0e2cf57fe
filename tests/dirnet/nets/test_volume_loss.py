"""The loss of volumes: each term where it is known by hand, and structures that are missing."""

import pytest
import torch

from dirnet.errors import InputError
from dirnet.fields.resampling import warp
from dirnet.nets.auxiliary import WithStructures
from dirnet.nets.cascade import Cascade
from dirnet.nets.volume_loss import VolumeLoss
from dirnet.training.engines import RegistrationInferer

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


def logits_of(masks):
    """Logits that leave no doubt of masks (B, K, ...), and of the background."""
    whole = torch.cat([1 - masks.sum(1, keepdim=True), masks], 1)
    return 40 * whole - 20


def test_segmentation_of_moving_as_it_is_seen_and_of_fixed():
    prediction, target = batch()
    target["fixed_masks"][1, 1] = target["moving_masks"][1, 1]
    masks = target["fixed_masks"].float()
    seen = torch.zeros(2, 3, *SIZE)
    seen[:, 0] = 1
    loss = VolumeLoss(similarity=0, structures=0, bending=0, folding=0, segmentation=1)
    moved = warp(target["moving_masks"].float(), seen)
    right = {"segmentation": torch.cat([logits_of(moved), logits_of(masks)], 1), "seen": seen}
    assert loss({**prediction, **right}, target).item() < 0.02
    exchanged = {"segmentation": torch.cat([logits_of(masks), logits_of(moved)], 1), "seen": seen}
    assert loss({**prediction, **exchanged}, target).item() > 0.5


def test_what_is_not_drawn_is_not_taught_as_background():
    prediction, target = batch()
    nothing = {name: torch.zeros_like(target[name]) for name in ("fixed_masks", "moving_masks")}
    right = {"segmentation": logits_of(target["moving_masks"].float()).repeat(1, 2, 1, 1, 1), "seen": prediction["ddf"]}
    loss = VolumeLoss(similarity=0, structures=0, bending=0, folding=0, segmentation=1)
    assert loss({**prediction, **right}, {**target, **nothing}).item() == 0


def test_a_window_that_the_network_pads_is_refused():
    prediction, target = batch()
    padded = {"segmentation": torch.zeros(2, 6, 8, 8, 8), "seen": prediction["ddf"]}
    with pytest.raises(InputError, match="crop_size: expected multiples of 8"):
        VolumeLoss()({**prediction, **padded}, target)


def test_without_structures_there_is_nothing_to_segment():
    prediction, target = batch()
    none = {name: target[name][:, :0] for name in ("fixed_masks", "moving_masks")}
    del prediction["soft_masks"]
    found = VolumeLoss()({**prediction, "segmentation": torch.zeros(2, 2, 6, 7, 5)}, {**target, **none})
    assert found.isfinite()


def test_the_head_trains_the_network_s_features_and_is_none_of_its_weights():
    torch.manual_seed(0)
    stage = {"class": "dirnet.nets.pyramid.PyramidDIRNet", "channels": [4, 4, 4, 4], "spacing": 2}
    network = Cascade([stage], {"channels": [4, 4, 4]}, 3)
    names = set(network.state_dict())
    trained = WithStructures(network, 2)
    pair = torch.rand(2, 2, 16, 16, 16)
    masks = (torch.rand(2, 2, 16, 16, 16) > 0.5).byte()
    target = {"fixed": pair[:, 1:], "fixed_masks": masks, "moving_masks": masks.flip(0)}
    prediction = RegistrationInferer()(pair, trained, masks.flip(0).float())
    assert prediction["segmentation"].shape == (2, 6, 8, 8, 8)
    VolumeLoss(similarity=0, structures=0, bending=0, folding=0, segmentation=1)(prediction, target).backward()
    assert network.stages[0].regressor.at_half.conv.weight.grad.any()
    assert set(network.state_dict()) == names
    with pytest.raises(InputError, match="symmetric network"):
        WithStructures(Cascade([{**stage, "symmetric": True}], None, 3), 2)
    with pytest.raises(InputError, match="whose one stage is a PyramidDIRNet"):
        WithStructures(Cascade(affine={}, spatial_dims=3), 2)
