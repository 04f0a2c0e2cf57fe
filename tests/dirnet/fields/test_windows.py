"""Windows around what is drawn, and what becomes of their fields beyond them."""

import numpy as np
import pytest
import torch

from dirnet.fields.jacobian import folded_percent
from dirnet.fields.windows import FADE, LEAST_SIDE, MARGIN, STEP, beyond, window_around


def drawn(size, rows, columns):
    image = np.zeros(size, bool)
    image[slice(*rows), slice(*columns)] = True
    return image


def test_a_small_structure_has_the_window_of_the_training():
    window = window_around(drawn((256, 272), (100, 130), (140, 170)))
    assert [part.stop - part.start for part in window] == [LEAST_SIDE, LEAST_SIDE]
    assert window == (slice(48, 176), slice(80, 208))


@pytest.mark.parametrize("rows", [(0, 1), (215, 216), (0, 20), (190, 216), (97, 119), (70, 160), (0, 216), (30, 216)])
@pytest.mark.parametrize("columns", [(3, 9), (60, 239)])
def test_all_that_is_drawn_is_in_the_window_with_its_margin(rows, columns):
    """In an image that is no multiple of the network's coarsest cells."""
    size = (216, 240)
    window = window_around(drawn(size, rows, columns))
    for (first, end), part, n in zip((rows, columns), window, size, strict=True):
        assert 0 <= part.start <= max(0, first - MARGIN)
        assert n >= part.stop >= min(n, end + MARGIN)
        assert part.start % STEP == 0
        assert part.stop == n or part.stop % STEP == 0
        assert part.stop - part.start >= LEAST_SIDE


def test_a_small_image_is_its_own_window():
    assert window_around(drawn((96, 112), (90, 96), (0, 4))) == (slice(0, 96), slice(0, 112))
    assert window_around(drawn((300, 60), (150, 151), (20, 30))) == (slice(80, 208), slice(0, 60))


def test_nothing_drawn_has_no_window():
    with pytest.raises(ValueError, match="expected an image that is drawn on, found an empty one"):
        window_around(np.zeros((8, 8), bool))


def test_a_field_is_itself_in_the_window_and_falls_to_zero_beyond():
    window = (slice(64, 192), slice(0, 144))
    ddf = torch.full((2, 2, 128, 144), 14.0)
    ddf[1] = torch.rand(2, 128, 144)
    whole = beyond(ddf, window, (256, 240))
    assert whole.shape == (2, 2, 256, 240)
    assert torch.equal(whole[:, :, window[0], window[1]], ddf)
    assert not whole[:, :, : 64 - FADE + 1].any()
    assert not whole[:, :, 192 + FADE - 1 :].any()
    assert not whole[:, :, :, 144 + FADE - 1 :].any()
    assert whole[0, 0, 191 + FADE // 2, 70] == pytest.approx(7)
    assert whole[0].diff(dim=1).abs().max() < 1
    assert whole[0].diff(dim=2).abs().max() < 1
    assert folded_percent(whole[:1]).item() == 0


def test_the_field_of_a_whole_image_has_no_beyond():
    ddf = torch.rand(3, 2, 40, 56)
    assert torch.equal(beyond(ddf, (slice(0, 40), slice(0, 56)), (40, 56)), ddf)
