"""Synthetic contractions: smaller lumens, walls that keep their area, no folds."""

import numpy as np
import pytest
import torch

from dirnet.fields.jacobian import jacobian_determinant
from transforms.contractions import contract, contraction, signed_distance

SIZE = (160, 176)
ROWS, COLUMNS = np.indices(SIZE)
RADIUS = np.hypot(ROWS - 78, (COLUMNS - 90) * 1.1)
LUMEN, EPICARDIUM = RADIUS < 24, RADIUS < 34


@pytest.mark.parametrize("seed", range(8))
def test_the_lumen_shrinks_and_the_wall_keeps_its_area(seed):
    _, lumen, epicardium = contract(RADIUS, LUMEN, EPICARDIUM, np.random.default_rng(seed))
    assert 0.04 < lumen.sum() / LUMEN.sum() < 1.05
    before, after = EPICARDIUM.sum() - LUMEN.sum(), epicardium.sum() - lumen.sum()
    assert -0.12 < after / before - 1 < 0.25
    assert (epicardium >= lumen - 1e-6).all()


def test_image_and_contours_move_together():
    image, lumen, _ = contract(RADIUS.astype(np.float32), LUMEN, EPICARDIUM, np.random.default_rng(1))
    np.testing.assert_array_equal(image[lumen > 0.99] < 25.5, True)
    np.testing.assert_array_equal(image[lumen < 0.01] > 22.5, True)


def test_the_motion_fades_and_hardly_folds():
    for seed in range(8):
        places = contraction(LUMEN, EPICARDIUM, np.random.default_rng(seed))
        ddf = places - np.indices(SIZE)
        assert np.abs(ddf[:, :6, :6]).max() < 6
        determinant = jacobian_determinant(torch.from_numpy(ddf)[None])
        assert (determinant <= 0).float().mean() < 0.002


def test_the_same_draw_gives_the_same_heart():
    first, second = (contraction(LUMEN, EPICARDIUM, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - contraction(LUMEN, EPICARDIUM, np.random.default_rng(4))).max() > 1


def test_signed_distance():
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    distance = signed_distance(mask)
    assert (distance[4, 4], distance[4, 5], distance[4, 6], distance[4, 8]) == (-1.5, -0.5, 0.5, 2.5)
    assert (signed_distance(mask & False) == 20).all()
