"""Structures and key frames: drawn frames as drawn, frames between from both sides, the lumen within the epicardium."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, gaussian_filter

from dirnet import InputError, Registrar
from dirnet.fields.resampling import warp
from dirnet.nets.losses import ncc
from dirnet.nets.networks import DIRNet
from dirnet.propagation import nearest_drawn, neighbours, signed_distance
from transforms.cine import scale_intensity
from transforms.phantom import Phantom

SIZE, FRAMES = (96, 112), 10


def disc(radius, centre=(48.3, 55.6), size=SIZE):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


@pytest.fixture(scope="module")
def heart():
    phantom = Phantom(2, SIZE, phases=FRAMES, slices=3)
    lumen = np.stack([phantom.lumen(1, frame) for frame in range(FRAMES)]) > 0
    return phantom.cine(1), lumen


def still(registrar, frames, frame):
    """Fields of zero."""
    return torch.zeros(len(frames), 2, *frames.shape[2:])


def test_frames_between_belong_to_both_neighbours_of_a_closed_cycle():
    last, following, weights = neighbours([2, 6], 10)
    assert last.tolist() == [6, 6, 2, 2, 2, 2, 6, 6, 6, 6]
    assert following.tolist() == [2, 2, 2, 6, 6, 6, 6, 2, 2, 2]
    assert weights == pytest.approx([4 / 6, 5 / 6, 0, 0.25, 0.5, 0.75, 0, 1 / 6, 2 / 6, 3 / 6])
    assert nearest_drawn([2, 6], 10).tolist() == [2, 2, 2, 2, 2, 6, 6, 6, 6, 6]
    assert nearest_drawn([3], 5).tolist() == [3] * 5


@pytest.mark.parametrize("radius", [3.2, 6.0, 20.7])
def test_a_signed_distance_keeps_the_area_of_a_disc(radius):
    level = signed_distance(disc(radius)).numpy()
    assert (level > 0).sum() == pytest.approx(disc(radius).sum(), rel=0.03, abs=1)
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    true = radius - np.hypot(rows - 48.3, columns - 55.6)
    near = np.abs(true) < 2
    assert np.abs(level - true)[near].max() < 1


def test_a_contour_between_two_drawn_ones_lies_between_them(registrar):
    """Discs of 20 and 10 pixels' radius, in a heart that stands still."""
    drawn = {"lumen": np.zeros((8, *SIZE), bool)}
    drawn["lumen"][0], drawn["lumen"][4] = disc(20), disc(10)
    cine = np.random.default_rng(0).random((8, *SIZE), np.float32)
    found = registrar.propagate(cine, drawn, fields=still)
    radii = np.sqrt(found.masks.sum((1, 2)) / np.pi)
    assert radii == pytest.approx([20, 17.5, 15, 12.5, 10, 12.5, 15, 17.5], abs=0.15)
    for frame in (0, 4):
        assert np.array_equal(found.masks[frame], drawn["lumen"][frame])
    assert found.drawn == {"lumen": (0, 4)}
    assert found.origins.tolist() == [0, 0, 0, 4, 4, 4, 4, 0]
    (ring,) = found.contours("lumen")[2]
    assert np.hypot(*(ring - (55.6, 48.3)).T) == pytest.approx(np.full(len(ring), 15), abs=0.3)


def test_two_drawn_frames_follow_better_than_one(heart):
    registrar = Registrar.load("unsupervised")  # the other weights know real hearts alone
    cine, lumen = heart
    drawn = np.zeros_like(lumen)
    drawn[0] = lumen[0]
    from_one = registrar.propagate(cine, {"lumen": drawn}).masks
    es = int(lumen.sum((1, 2)).argmin())
    drawn[es] = lumen[es]
    from_two = registrar.propagate(cine, {"lumen": drawn}).masks
    wrong = [(masks ^ lumen).sum() for masks in (from_one, from_two)]
    assert wrong[1] < 0.8 * wrong[0]
    assert np.array_equal(from_two[es], lumen[es])


def test_one_field_carries_all_structures(registrar, heart):
    cine, lumen = heart
    outer = binary_dilation(lumen[0], iterations=6)
    beside = np.roll(disc(6), 30, 1)
    together = registrar.propagate(cine, {"rv": beside, "epicardium": outer, "lumen": lumen[0]}, 0)
    assert list(together.structures) == ["lumen", "epicardium", "rv"]
    alone = registrar.propagate(cine, lumen[0], 0)
    assert np.array_equal(together.masks, alone.masks)
    assert np.allclose(together.ddf, alone.ddf, atol=1e-5)
    assert (together.structures["epicardium"] | ~together.structures["lumen"]).all()


def test_the_lumen_ends_where_the_epicardium_alone_was_drawn(registrar):
    lumen, outer = (np.zeros((4, *SIZE), bool) for _ in range(2))
    lumen[0], outer[0], outer[2] = disc(18), disc(24), disc(15)
    cine = np.random.default_rng(0).random((4, *SIZE), np.float32)
    found = registrar.propagate(cine, {"lumen": lumen, "epicardium": outer}, fields=still).structures
    assert np.array_equal(found["epicardium"][2], disc(15))  # as drawn
    assert np.array_equal(found["lumen"][2], disc(15))
    assert np.array_equal(found["lumen"][0], disc(18))
    assert not (found["lumen"] & ~found["epicardium"]).any()


@pytest.mark.parametrize(("weights", "pixels"), [("unsupervised", 0.05), ("contours", 0.5)])
def test_a_heart_in_a_window_moves_as_in_the_whole_image(weights, pixels):
    """`contours` sees further than the margin."""
    registrar, phantom = Registrar.load(weights), Phantom(3, size=(256, 256))
    cine, drawn = phantom.cine(1)[[phantom.ed, phantom.es]], phantom.lumen(1, phantom.ed)
    found = registrar.propagate(cine, drawn, 0)
    whole = registrar.displacement(torch.from_numpy(scale_intensity(cine))[None]).ddf[0].numpy()
    near = binary_dilation(drawn, iterations=6)
    assert np.abs(whole[:, near]).max() > 5
    assert np.abs(found.ddf[1] - whole)[:, near].max() < pixels


def test_weights_of_one_size_alone_follow_nothing():
    one_size = Registrar(DIRNet(channels=2, poolings=3, fully_connected=(64, 64)))
    with pytest.raises(InputError, match=r"these weights register images of \(64, 64\) pixels alone"):
        one_size.propagate(np.zeros((3, 64, 64), np.float32), disc(6, (32, 32), (64, 64)), 0)


def test_fields_of_another_size_are_refused(registrar, heart):
    cine, lumen = heart

    def small(registrar, frames, frame):
        return torch.zeros(len(frames), 2, 5, 5)

    with pytest.raises(InputError, match=r"fields: expected those of the window, \(\d+, 2, \d+, \d+\), found .*5, 5"):
        registrar.propagate(cine, lumen[0], 0, fields=small)


@pytest.mark.parametrize("size", [(256, 256), (216, 232)])
@pytest.mark.parametrize("centre", [(0.47, 0.55), (0.2, 0.9)])
def test_a_window_gives_what_the_whole_image_does(size, centre):
    """By weights that see little further than the margin: around what is drawn, the fields differ by less than a tenth
    of a pixel."""
    registrar = Registrar.load("unsupervised")
    noise = np.random.default_rng(1).random((3, *size), np.float32)
    cine = np.stack([gaussian_filter(image, 6) for image in noise])
    place = tuple(part * n for part, n in zip(centre, size, strict=True))
    drawn = disc(18, place, size)
    found = registrar.propagate(cine, drawn, 1)
    whole = registrar.displacement(torch.from_numpy(scale_intensity(cine)[[1, 2]])[None]).ddf[0].numpy()
    assert found.registered.shape[2:] < size
    near = disc(24, place, size)
    assert np.abs(whole[:, near]).max() > 0.5
    assert np.abs(found.ddf[2] - whole)[:, near].max() < 0.1
    expected = warp(signed_distance(drawn)[None, None], torch.from_numpy(whole)[None])[0, 0].numpy() > 0
    assert (found.masks[2] ^ expected).sum() <= 1


def test_a_drawing_of_the_whole_image_is_registered_whole(registrar):
    cine = np.random.default_rng(0).random((3, 144, 176), np.float32)
    found = registrar.propagate(cine, np.ones(cine.shape[1:]), 0)
    whole = registrar.displacement(torch.from_numpy(scale_intensity(cine)[[0, 2]])[None])
    assert found.window == (slice(0, 144), slice(0, 176))
    assert np.allclose(found.ddf[2], whole.ddf[0], atol=1e-5)
    pair = torch.from_numpy(scale_intensity(cine)[:, None])
    assert found.ncc_before[2] == pytest.approx(ncc(pair[:1], pair[2:]).item(), abs=1e-5)


def test_the_window_holds_all_frames_and_structures(registrar):
    cine = np.random.default_rng(0).random((4, 256, 256), np.float32)
    lumen, rv = (np.zeros(cine.shape, bool) for _ in range(2))
    lumen[0], lumen[2], rv[2] = (disc(10, (100, place), cine.shape[1:]) for place in (60, 90, 190))
    found = registrar.propagate(cine, {"lumen": lumen, "rv": rv}, fields=still)
    assert found.window == (slice(32, 160), slice(16, 240))
    assert found.structures["lumen"].shape == found.ddf[:, 0].shape == cine.shape
    (ring,) = found.contours("rv")[1]
    assert np.hypot(*(ring - (190, 100)).T) == pytest.approx(np.full(len(ring), 9.75), abs=0.5)


def test_a_structure_at_the_border_is_followed_to_it(registrar):
    """It moves by 5 pixels to the corner, of which a part leaves the image."""
    size = (216, 200)
    drawn = disc(12, (205, 190), size)

    def shifted(registrar, frames, frame):
        ddf = torch.full((len(frames), 2, *frames.shape[2:]), -5.0)
        ddf[frame] = 0
        return ddf

    cine = np.random.default_rng(0).random((2, *size), np.float32)
    found = registrar.propagate(cine, drawn, 0, shifted)
    assert (found.masks[1] ^ disc(12, (210, 195), size)).sum() <= 8
    (ring,) = found.contours("lumen")[1]
    assert ring.max(0) == pytest.approx([200, 216], abs=1)  # it ends at the border


def test_what_cannot_be_followed_is_named(registrar, heart):
    cine, lumen = heart
    with pytest.raises(InputError, match="drawings of lumen, epicardium, rv, found 'wall'"):
        registrar.propagate(cine, {"wall": lumen})
    with pytest.raises(InputError, match="nothing is drawn"):
        registrar.propagate(cine, {"lumen": lumen & False})
    with pytest.raises(InputError, match=r"expected masks of the cine's \(10, 96, 112\), found lumen \(96, 112\)"):
        registrar.propagate(cine, {"lumen": lumen[0]})


def test_a_cine_drawn_on_all_frames_is_as_drawn(registrar, heart):
    cine, lumen = heart
    found = registrar.propagate(cine, {"lumen": lumen})
    assert np.array_equal(found.masks, lumen)
    assert not found.ddf.any()
    assert (found.estimated_dice == 1).all()
