"""Contours: what they enclose, and holes as cuts."""

import numpy as np
import pytest
from scipy import ndimage

from transforms.contours import enclosed, keyholes, outline


def shape(seed):
    """A mask of islands with holes, some of them with islands of their own."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=rng.integers(12, 40, 2)), 0.8 + seed % 4 / 4)
    return noise > 0


@pytest.mark.parametrize("spacing", [1.0, 1.25, 0.937])
def test_a_hole_joined_to_the_ring_around_it_encloses_the_same(spacing):
    """Each ring alone, in the order and at the precision of a file, so that readers that add rings up agree."""
    holes = 0
    for seed in range(40):
        mask = shape(seed)
        rings = outline(mask)
        joined = keyholes(rings)
        holes += len(rings) - len(joined)
        read = [(np.round(ring * spacing - 48, 3) + 48) / spacing for ring in joined]
        assert np.array_equal(np.logical_or.reduce([enclosed([ring], mask.shape) for ring in read]), mask)
    assert holes > 40


def test_rings_apart_stay_as_they_are():
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:12] = mask[11:15, 20:25] = True
    rings = outline(mask)
    assert [ring.tolist() for ring in keyholes(rings)] == [ring.tolist() for ring in rings]
