"""Segments on slices as a clinic shows them: right ventricle on the left, anterior above."""

import numpy as np
import pytest
import SimpleITK as sitk

from dirnet.cine.segments import NAMES, given_reference, levels_of, rv_reference, segments_at

SPACING = (1.0, 1.0)
CENTRE = np.array([50.0, 50.0])


def grid(down=(0, 0, -1)):
    """A slice whose rows go ``down`` in the patient's LPS, and whose columns go to the left of the patient."""
    image = sitk.Image([100, 100, 1], sitk.sitkUInt8)
    right, down = np.array([1.0, 0, 0]), np.array(down, float)
    image.SetDirection(np.stack([right, down, np.cross(right, down)], 1).ravel().tolist())
    return image


def heart():
    """A left ventricle of 30 mm, and a right one beside it from 60 to 300 degrees, seen from the left's centre."""
    y, x = np.indices((100, 100)) - 50.0
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    outer = radius < 30
    rv = (radius >= 30) & (radius < 40) & (np.abs(angle) > 120)
    return rv, outer


def name_at(degrees, level, reference):
    return NAMES[segments_at(level, np.radians([degrees]), reference)[0]]


def test_the_walls_of_a_slice():
    """Clockwise angles as y goes down: -90 degrees is above. The insertions are at -120 and 120 degrees."""
    reference = rv_reference(*heart(), CENTRE, SPACING, grid())
    assert np.degrees(reference[0]) == pytest.approx(-120, abs=2)
    assert reference[1] == -1  # through the left of the image
    walls = {-90: "anterior", -150: "anteroseptal", 150: "inferoseptal", 90: "inferior", 30: "inferolateral"}
    for degrees, wall in {**walls, -30: "anterolateral"}.items():
        assert name_at(degrees, 0, reference) == f"basal {wall}"
        assert name_at(degrees, 1, reference) == f"mid {wall}"
    for degrees, wall in {-90: "anterior", 180: "septal", 90: "inferior", 0: "lateral"}.items():
        assert name_at(degrees, 2, reference) == f"apical {wall}"
    counts = np.bincount(segments_at(0, np.radians(np.arange(360) + 0.5), reference), minlength=16)
    assert counts.tolist() == [60] * 6 + [0] * 10
    counts = np.bincount(segments_at(2, np.radians(np.arange(360) + 0.5), reference), minlength=16)
    assert counts.tolist() == [0] * 12 + [90] * 4


@pytest.mark.parametrize("turned", range(4))
def test_an_image_that_is_stored_turned_or_mirrored(turned):
    """The same heart, its array turned by quarters or mirrored, and its axes with it."""
    rv, outer = (np.rot90(mask, turned) for mask in heart())
    axes = np.rot90(np.array([[0, 1], [2, 3]]), turned)  # where the image's corners went
    image = sitk.Image([100, 100, 1], sitk.sitkUInt8)
    place = {0: (0, 0), 1: (1, 0), 2: (0, -1), 3: (1, -1)}  # of each corner: to the patient's left, and up
    x = np.subtract(place[axes[0, 1]], place[axes[0, 0]])
    y = np.subtract(place[axes[1, 0]], place[axes[0, 0]])
    columns = [np.array([v[0], 0.0, v[1]]) for v in (x, y)]
    image.SetDirection(np.stack([*columns, np.cross(*columns)], 1).ravel().tolist())
    centre = CENTRE if turned == 0 else np.array([49.5, 49.5]) + np.array([0.5, -0.5])
    reference = rv_reference(rv, outer, centre, SPACING, image)
    anterior = {0: -90, 1: 180, 2: 90, 3: 0}[turned]
    assert name_at(anterior, 0, reference) == "basal anterior"
    mirrored = rv_reference(heart()[0][:, ::-1], heart()[1][:, ::-1], CENTRE, SPACING, grid())
    assert name_at(-30, 0, mirrored) == "basal anteroseptal"


def test_what_cannot_be_told_is_none():
    rv, outer = heart()
    assert rv_reference(rv, outer, CENTRE, SPACING, grid(down=(0, 1, 0))) is None  # an axial slice: neither is higher
    assert rv_reference(np.zeros_like(rv), outer, CENTRE, SPACING, grid()) is None
    y, x = np.indices((100, 100)) - 50.0
    assert rv_reference(rv, np.hypot(x, y) < 12, CENTRE, SPACING, grid()) is None  # 18 mm away


def test_insertions_by_the_reader():
    points = [CENTRE + 30 * np.array([np.cos(a), np.sin(a)]) for a in np.radians([-120, 120])]
    assert given_reference(*points, CENTRE, SPACING) == pytest.approx((np.radians(-120), -1))
    assert given_reference(*points[::-1], CENTRE, SPACING) == pytest.approx((np.radians(120), 1))


@pytest.mark.parametrize("base_first", [True, False])
def test_thirds_of_the_ventricles_length(base_first):
    areas = np.array([np.nan, 30, 29, 28, 25, 20, 14, np.nan])
    expected = np.array([-1, 0, 0, 1, 1, 2, 2, -1])
    if not base_first:
        areas, expected = areas[::-1], expected[::-1]
    assert levels_of(areas, 8.0 * np.arange(8)).tolist() == expected.tolist()


def test_thirds_by_the_slices_own_places():
    """From -4 to 44 mm the thirds end at 12 and 28 mm; from -4 to 54 mm, at 15.3 and 34.7 mm."""
    assert levels_of([30, 28, 26, 20, 12], [0, 8, 16, 32, 40]).tolist() == [0, 0, 1, 2, 2]
    assert levels_of([30, 28, 26, 20, 12], [0, 8, 16, 24, 44]).tolist() == [0, 0, 1, 1, 2]


def test_base_and_apex_that_cannot_be_told_apart():
    assert levels_of([30, 20], [0, 8]) is None
    assert levels_of([30, 30, 30, 30], [0, 8, 16, 24]) is None
    assert levels_of([20, 30, 20.5], [0, 8, 16]) is None
    assert levels_of([20, 30, 20.5], [0, 8, 16], base_first=False).tolist() == [2, 1, 0]  # by their places
    assert levels_of([12, 20, 26, 28], [0, 8, 16, 24], base_first=True).tolist() == [0, 1, 1, 2]  # an aneurysm's apex
    assert levels_of([30, 20], [0, 8], base_first=True) is None
