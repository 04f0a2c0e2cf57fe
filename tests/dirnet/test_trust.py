"""How far a followed structure can be trusted: mirrored windows, and what is made of them."""

import numpy as np
import pytest
import torch

from dirnet.registrar import Registrar
from dirnet.trust import LEAST_SIDE, estimated_dice, mirrored_masks
from transforms.phantom import Phantom


def disc(radius, centre, size=(200, 240)):
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
    return (rows - centre[0]).square() + (columns - centre[1]).square() <= radius**2


def batch(*masks):
    return torch.stack(masks)[:, None]


def test_a_network_that_is_sure_says_the_same_of_the_mirror_image():
    """By a network whose answer is known: one that moves everything towards the brighter side, as far as it says."""

    def towards_bright(pairs):
        ddf = torch.zeros(len(pairs), 2, *pairs.shape[2:])
        width = pairs.shape[3] // 2
        right, left = pairs[:, 1, :, width:].mean((1, 2)), pairs[:, 1, :, :width].mean((1, 2))
        ddf[:, 1] = (5 * (right - left).sign())[:, None, None]
        ddf[:, 0] = 3
        return ddf

    images = torch.zeros(1, 2, 200, 240)
    images[:, :, :, 140:] = 1  # the middle of the window lies left of it
    drawn = batch(disc(12, (90, 130)))
    found = mirrored_masks(towards_bright, images, drawn)
    assert torch.equal(found, batch(disc(12, (87, 125))))


@pytest.mark.parametrize("centre", [(0, 0), (199, 239), (100, 120)])
@pytest.mark.parametrize("radius", [5, 70])
def test_the_window_holds_the_structure_wherever_it_lies(centre, radius):
    sizes = []

    def identity(pairs):
        sizes.append(tuple(pairs.shape[2:]))
        return torch.zeros(len(pairs), 2, *pairs.shape[2:])

    drawn = batch(disc(radius, centre), disc(radius, centre) & False)
    assert torch.equal(mirrored_masks(identity, torch.rand(2, 2, 200, 240), drawn), drawn)
    if radius == 5:
        assert sizes == [(LEAST_SIDE, LEAST_SIDE)]


def test_a_small_image_is_its_own_window():
    drawn = batch(disc(5, (20, 30), (48, 64)))
    assert torch.equal(mirrored_masks(lambda pairs: torch.zeros_like(pairs), torch.rand(1, 2, 48, 64), drawn), drawn)


def test_the_estimate_falls_with_the_difference_and_rises_with_the_size():
    large, small, moved = disc(20, (90, 130)), disc(5, (90, 130)), disc(20, (98, 130))
    estimate = estimated_dice(batch(large, large, small, small & False), batch(large, moved, small, small))
    assert estimate[0] > 0.9
    assert estimate[0] > estimate[1]
    assert estimate[0] > estimate[2] > estimate[3]
    assert ((estimate >= 0) & (estimate <= 1)).all()


def test_a_followed_phantom_is_trusted_more_than_noise():
    heart = Phantom(0, (128, 128), phases=6, slices=3)
    images = heart.cine(1)
    drawn, registrar = heart.lumen(1, 0), Registrar.load()
    followed = registrar.propagate(images, drawn, 0)
    assert followed.estimated_dice[0] == 1
    assert followed.estimated_dice.mean() > 0.85
    noise = np.random.default_rng(0).random(images.shape).astype(np.float32)
    assert registrar.propagate(noise, drawn, 0).estimated_dice[1:].mean() < followed.estimated_dice[1:].mean()
