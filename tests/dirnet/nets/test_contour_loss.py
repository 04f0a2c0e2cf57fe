"""The loss of contours: least where the field is right, and blind to what is not drawn."""

import pytest
import torch

from dirnet.nets.auxiliary import WithSegmentation
from dirnet.nets.contour_loss import ContourLoss, bending, overlap, segmentation_loss
from dirnet.nets.pyramid import PyramidDIRNet

ROWS, COLUMNS = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")


def disc(radius, row=32.0):
    return ((radius + 0.5 - torch.hypot(ROWS - row, COLUMNS - 32)).clamp(0, 1))[None, None]


def target(shift=4.0, **known):
    """A heart that moves down by some pixels, with a ring around its lumen."""
    batch = {}
    for role, row in (("moving", 32 - shift), ("fixed", 32.0)):
        lumen, epicardium = disc(9, row), disc(15, row)
        batch |= {f"{role}_lumen": lumen, f"{role}_epicardium": epicardium, f"{role}_plain": lumen + 0.3 * epicardium}
    batch["fixed_distance"] = torch.hypot(ROWS - 32, COLUMNS - 32)[None, None] - 9.5
    names = ("lumen_known", "epicardium_known", "wall_known")
    return batch | {name: torch.tensor([float(known.get(name, 1))]) for name in names}


def field(shift):
    ddf = torch.zeros(1, 2, 64, 64)
    ddf[:, 0] = -shift
    return ddf


def terms(ddf, batch, **options):
    loss = ContourLoss(exaggeration=0, **options)
    total = loss({"ddf": ddf}, batch)
    torch.testing.assert_close(total, torch.stack(list(loss.terms.values())).sum())
    return {name.removeprefix("train_"): value.item() for name, value in loss.terms.items()}


def test_the_right_field_is_the_best():
    right, none = terms(field(4.0), target()), terms(field(0.0), target())
    assert right["similarity"] == pytest.approx(-0.3, abs=1e-3)
    for name in ("lumen", "border", "wall"):
        assert right[name] < 0.08  # not 0, since the edges are soft
        assert none[name] > 3 * right[name]
    assert right["bending"] == right["folding"] == 0


def test_the_area_is_the_logarithm_of_its_ratio():
    batch = target(shift=0)
    ddf = 0.25 * torch.stack([ROWS - 32, COLUMNS - 32])[None]  # pulls from further out: the lumen shrinks to 1 / 1.25²
    expected = 0.4 * ((2 * torch.log(torch.tensor(1.25))) ** 2 + 0.01).sqrt() - 0.04
    assert terms(ddf, batch)["area"] == pytest.approx(expected.item(), rel=0.05)
    smaller = ContourLoss(exaggeration=0.5)
    smaller({"ddf": ddf}, {**batch, "moving_lumen": disc(9 * 1.25**2)})
    assert smaller.terms["train_area"] < 0.9 * expected + 0.2


def test_what_is_not_known_has_no_say():
    unknown = terms(field(0.0), target(lumen_known=0, epicardium_known=0, wall_known=0))
    assert unknown["lumen"] == unknown["border"] == unknown["area"] == unknown["wall"] == 0
    lumen_alone = terms(field(0.0), target(epicardium_known=0, wall_known=0))
    assert lumen_alone["wall"] == 0
    assert lumen_alone["lumen"] > 0.1
    tiny = target()
    tiny["fixed_lumen"] = disc(0.1)
    assert terms(field(0.0), tiny)["lumen"] == 0


def test_bending_is_zero_for_affine_fields():
    ddf = torch.stack([0.1 * ROWS + 0.2 * COLUMNS, 3 - 0.3 * COLUMNS])[None]
    assert bending(ddf) == pytest.approx(0, abs=1e-9)
    assert bending(torch.stack([ROWS**2, 0 * ROWS])[None]).item() == pytest.approx(4 / 2, rel=1e-4)


def test_overlap_is_dice():
    sharp = (disc(9) > 0.5).float()
    assert overlap(sharp, sharp).item() == pytest.approx(1, abs=1e-4)
    assert overlap(sharp, sharp / 2).item() == pytest.approx(2 / 3, abs=1e-4)
    assert overlap(disc(5, 10), disc(5, 50)).item() == 0


def test_a_head_learns_the_contours_and_the_network_keeps_none_of_it():
    torch.manual_seed(0)
    network = PyramidDIRNet((4, 4, 4, 4), stages=2)
    keys = set(network.state_dict())
    both = WithSegmentation(network)
    batch = target()
    pair = torch.cat([batch["moving_plain"], batch["fixed_plain"]], 1)
    found = both.displacement(pair)
    assert torch.equal(found.ddf, network.displacement(pair).ddf)
    assert found.besides["segmentation"].shape == (1, 4, 16, 16)
    loss = ContourLoss()({"ddf": found.ddf, **found.besides}, batch)
    loss.backward()
    assert both.head.weight.grad.any()
    assert set(network.state_dict()) == keys


def test_segmentation_is_scored_where_it_is_known():
    batch = target()
    masks = torch.cat([batch[f"{role}_{name}"] for name in ("lumen", "epicardium") for role in ("moving", "fixed")], 1)
    right = (torch.nn.functional.avg_pool2d(masks, 4) - 0.5) * 40
    assert segmentation_loss(right, batch) < 0.3 * segmentation_loss(torch.zeros_like(right), batch)
    wrong = right * torch.tensor([1.0, 1, -1, -1]).view(1, 4, 1, 1)
    blind = target(epicardium_known=0)
    torch.testing.assert_close(segmentation_loss(wrong, blind), segmentation_loss(right, blind))
