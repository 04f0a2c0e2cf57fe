"""Batches of pairs with contours."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from transforms.contour_pairs import ContourPairDataset

ROWS, COLUMNS = np.indices((96, 112))


def cine(times=2, ed=1, es=0, epicardium=True, radius=14):
    """Two frames or more of a disc in a ring, the lumen drawn at both phases, the epicardium at end-diastole."""
    distance = np.hypot(ROWS - 50, COLUMNS - 60)
    radii = [radius if time == ed else radius - 5 for time in range(times)]
    image = torch.tensor(np.stack([(distance < r) * 0.9 + 0.1 for r in radii]), dtype=torch.float16)
    lumen = {time: torch.from_numpy((distance < radii[time]).astype(np.uint8)) for time in (ed, es)}
    outer = {ed: torch.from_numpy((distance < radius + 8).astype(np.uint8))} if epicardium else {}
    return {"image": image, "ed": ed, "es": es, "lumen": lumen, "epicardium": outer}


def dataset(*cines, **options):
    options = {"crop_size": (48, 48), "batch_size": 40, "contractions": 2, **options}
    return ContourPairDataset(cines, spatial_size=(96, 112), iterations=5, seed=0, **options)


def test_masks_lie_where_the_image_shows_them():
    batch = dataset(cine(), cine(radius=20))[0]
    for role in ("moving", "fixed"):
        inside = batch[f"{role}_lumen"] > 0.99
        assert batch[f"{role}_plain"][inside].min() > 0.85
    assert batch["moving"].shape == (40, 1, 48, 48)
    assert (batch["moving"] != batch["moving_plain"]).any()


def test_what_is_known():
    batch = dataset(cine(), contracted=0.5)[0]
    assert batch["lumen_known"].all()
    contracted = batch["wall_known"] > 0
    assert torch.equal(batch["epicardium_known"] > 0, contracted)  # drawn at end-diastole alone
    assert 0.2 < contracted.float().mean() < 0.8
    outside = batch["fixed_epicardium"] < batch["fixed_lumen"] - 1e-3
    assert not outside[contracted].any()


def test_a_wall_that_is_drawn_at_both_phases_is_known_and_none_is_guessed():
    drawn = cine()
    drawn["epicardium"][0] = drawn["epicardium"][1]
    batch = dataset(drawn, contracted=0, carry=lambda pair: pytest.fail("guessed"))[0]
    assert (batch["epicardium_known"] == 1).all()
    assert (batch["wall_known"] == 1).all()


def test_without_an_epicardium_nothing_is_contracted():
    made = dataset(cine(epicardium=False))
    assert made.synthetic == []
    assert not made[0]["epicardium_known"].any()


def test_whole_cines_give_any_two_phases():
    made = dataset(cine(times=8), contracted=0, any_phases=1.0, batch_size=300)
    batch = made[0]
    assert len(made.cines[0]) == 8
    assert 0 < batch["lumen_known"].sum() < 40  # few of the phases are drawn


def test_distances_are_in_the_window_s_own_pixels():
    batch = dataset(cine(radius=20), contracted=0, batch_size=60)[1]
    ratios = []
    for lumen, distance in zip(batch["fixed_lumen"][:, 0] > 0.5, batch["fixed_distance"][:, 0], strict=True):
        ratios.append(-distance.min().item() / distance_transform_edt(lumen.numpy()).max())
    assert np.median(ratios) == pytest.approx(1, abs=0.12)  # of its radius, where the window is not sheared


def test_a_batch_follows_from_seed_and_number():
    first, second = dataset(cine()), dataset(cine())
    for name, tensor in first[3].items():
        assert torch.equal(tensor, second[3][name])
        assert name.endswith("known") or not torch.equal(tensor, first[2][name])


def test_a_registration_gives_a_likely_epicardium_where_none_is_drawn():
    def carry(pair):
        assert pair.shape == (1, 2, 96, 112)
        return torch.zeros(1, 2, 96, 112)  # the epicardium stays where it was: a wall that has grown too much

    made = dataset(cine(radius=20), contracted=0, carry=carry)
    (ed, es), *_ = made.drawn
    _, lumen, epicardium, _ = made.frames[es].float()
    before = (made.frames[ed][2] - made.frames[ed][1]).sum()
    grown = (epicardium - lumen).sum() / before - 1
    carried = (made.frames[ed][2] - lumen).sum() / before - 1
    assert 0.1 < grown < 0.7 * carried
    assert (epicardium >= lumen).all()
    assert set(made[0]["epicardium_known"].tolist()) == {0.5}


def test_errors():
    undrawn = {**cine(), "lumen": {}}
    with pytest.raises(ValueError, match="no cine has a lumen drawn"):
        dataset(undrawn)
    with pytest.raises(ValueError, match=r"square window.* got \(48, 40\)"):
        dataset(cine(), crop_size=(48, 40))
