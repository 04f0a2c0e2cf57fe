"""Lengths of contours, and the strain that they mean, of shapes whose length is known."""

import numpy as np
import pytest
from scipy.special import ellipe

from dirnet.cine import circumferential_strain, contour_lengths


def ellipse(radii, centre=(60.3, 70.8), size=(128, 144)):
    rows, columns = np.indices(size)
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1


@pytest.mark.parametrize("radius", [8, 16, 40])
def test_a_discs_circumference(radius):
    assert contour_lengths(ellipse((radius, radius)), (1, 1)) == pytest.approx(2 * np.pi * radius, rel=0.015)


def test_lengths_are_in_mm_of_each_axis():
    # a disc in the patient, seen by pixels of 1.5 x 0.75 mm
    assert contour_lengths(ellipse((20, 40)), (1.5, 0.75)) == pytest.approx(2 * np.pi * 30, rel=0.015)
    exact = 4 * 40 * ellipe(1 - (20 / 40) ** 2)
    assert contour_lengths(ellipse((20, 40)), (1, 1)) == pytest.approx(exact, rel=0.01)


def test_masks_come_in_any_shape_and_an_empty_one_has_no_length():
    masks = np.zeros((2, 3, 128, 144), np.uint8)
    masks[1, 2] = ellipse((10, 10))
    lengths = contour_lengths(masks, (1, 1))
    assert lengths.shape == (2, 3)
    assert np.isnan(lengths).sum() == 5
    one = np.zeros((9, 9), bool)
    one[4, 4] = True
    assert contour_lengths(one, (2, 3)) == 10


def test_a_mask_at_the_border_is_closed_along_it():
    half = ellipse((30, 30), centre=(-0.5, 70.0))
    assert contour_lengths(half, (1, 1)) == pytest.approx(30 * (np.pi + 2), rel=0.02)


def test_strain_is_of_all_slices_together():
    lengths = np.array([[100.0, 80.0, np.nan], [50.0, 45.0, 40.0], [np.nan, 30.0, 30.0]])
    strain = circumferential_strain(lengths, 0)
    np.testing.assert_allclose(strain[:2], [0, 100 * (125 / 150 - 1)])
    assert np.isnan(strain[2])
    assert np.isnan(circumferential_strain(lengths[2:], 0)).all()


def test_a_shorter_contour_of_a_smaller_disc():
    masks = np.stack([ellipse((r, r)) for r in (30, 24, 18)])[None]
    strain = circumferential_strain(contour_lengths(masks, (1.2, 1.2)), 0)
    np.testing.assert_allclose(strain, [0, -20, -40], atol=0.6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contour_lengths(np.zeros(5), (1, 1)), r"\(5,\)"),
        (lambda: contour_lengths(np.zeros((5, 5)), (1, 0)), "above 0"),
        (lambda: circumferential_strain(np.zeros((2, 3)), 3), "one of the frames"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
