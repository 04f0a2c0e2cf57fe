"""Random windows and contrasts."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from transforms.augmentation import blur, random_contrast, random_windows, take_windows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_windows_lie_near_their_centres_and_scale_as_they_say():
    centres = torch.tensor([[60.0, 90.0]]).expand(64, 2)
    places, zoom = random_windows(centres, 32, (128, 160), generator())
    pixels = (places.flip(-1) + 1) * torch.tensor([128.0, 160.0]) / 2 - 0.5  # back to rows and columns
    middle = pixels.mean((1, 2))
    assert (middle - centres).abs().max() < 22 + 3
    down, across = pixels[:, -1, 16] - pixels[:, 0, 16], pixels[:, 16, -1] - pixels[:, 16, 0]
    area = (down[:, 0] * across[:, 1] - down[:, 1] * across[:, 0]).abs() / 31**2
    assert (area / zoom**2 - 1).abs().median() < 0.05  # sheared without change of area, and bent
    assert (zoom == 1).float().mean() == pytest.approx(0.3, abs=0.15)


def test_plain_windows_are_the_images_own_pixels_turned_and_mirrored():
    image = torch.arange(64.0 * 64).view(1, 1, 64, 64)
    centres = torch.full((64, 2), 31.5)
    places, zoom = random_windows(centres, 16, (64, 64), generator(), reach=0)
    windows = take_windows(image.expand(64, -1, -1, -1), places)[zoom == 1, 0]
    square = image[0, 0, 24:40, 24:40]
    turns = [torch.rot90(square, k) for k in range(4)]
    known = [turn for each in turns for turn in (each, each.T)]
    assert len(windows) > 5
    for window in windows:
        assert min((window - turn).abs().max() for turn in known) < 0.01


def test_contrast_keeps_the_range_and_leaves_a_fourth_alone():
    pairs = torch.rand(200, 2, 16, 16, generator=generator())
    changed = random_contrast(pairs, torch.ones(200, 1, 16, 16), generator(1))
    assert changed.min() >= 0
    assert changed.max() <= 1
    same = (changed == pairs).flatten(1).all(1).float().mean()
    assert same == pytest.approx(0.25, abs=0.1)


def test_the_same_generator_gives_the_same_batch():
    centres = torch.full((4, 2), 20.0)
    first, second = (random_windows(centres, 8, (40, 40), generator(5))[0] for _ in range(2))
    assert torch.equal(first, second)


def test_blur_is_scipys():
    image = np.random.default_rng(0).random((20, 30), np.float32)
    expected = gaussian_filter(image, 2.0, truncate=2.0, mode="nearest")
    np.testing.assert_allclose(blur(torch.from_numpy(image)[None, None])[0, 0], expected, atol=1e-5)
