import math

import numpy as np
import pytest
import torch

from dirnet.cine.volumes import areas, ventricular_function, volume_curve
from dirnet.fields.resampling import warp
from transforms.phantom import Phantom
from transforms.phantom.motion import direction

NAN = math.nan


def ellipse(size, centre, half, spacing):
    """Mask of an ellipse of half axes in mm, by pixel centres."""
    place = (np.indices(size).T - centre) * spacing / half
    return ((place**2).sum(-1) <= 1).T


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.9), (2.1, 0.7)])
def test_area_of_a_disc(spacing):
    radius = 24.0
    masks = np.stack([ellipse((70, 90), (33.3 + shift, 44.7), (radius, radius), spacing) for shift in (0, 0.4)])
    found = areas(masks, spacing)
    assert found.shape == (2,)
    np.testing.assert_allclose(found, np.pi * radius**2, rtol=0.01)


def test_area_is_pixels_times_pixel_size_and_nan_where_there_is_no_mask():
    masks = np.zeros((2, 3, 5, 6), np.uint8)
    masks[0, 1, 2, 1:4] = 255
    masks[1, 2, 0, 0] = 1
    found = areas(masks, (2.0, 1.5))
    np.testing.assert_array_equal(found, [[NAN, 9, NAN], [NAN, NAN, 3]])
    with pytest.raises(ValueError, match=r"masks \(\.\.\., H, W\)"):
        areas(np.zeros(5), (1, 1))
    for wrong in ((1.0,), (1.0, 0.0), (NAN, 1.0)):
        with pytest.raises(ValueError, match="pixel spacing"):
            areas(masks, wrong)


@pytest.mark.parametrize("give", ["distance", "positions"])
def test_volume_of_an_ellipsoid(give):
    a, b, c, spacing, apart = 26.0, 22.0, 45.0, (1.3, 1.1), 6.0
    along = np.arange(-60, 61, apart) + 1.7  # the outermost slices miss it
    shares = np.sqrt(np.maximum(1 - (along / c) ** 2, 0))
    masks = [ellipse((60, 70), (30.3, 33.4), (a * s + 1e-9, b * s + 1e-9), spacing) for s in shares]
    curve = np.stack([areas(masks, spacing), areas(masks, spacing)], 1)
    order = np.random.default_rng(0).permutation(len(along)) if give == "positions" else np.arange(len(along))
    volume = volume_curve(curve[order], **{give: along[order] if give == "positions" else apart})
    np.testing.assert_allclose(volume.ml, 4 / 3 * np.pi * a * b * c / 1000, rtol=0.02)
    assert (volume.counted, volume.slices) == ((shares > 0).sum(), len(along))


def test_equal_slices_count_in_full_by_distance_or_position():
    curve = np.array([[100.0, 50.0], [200.0, 80.0], [300.0, 90.0]])
    expected = curve.sum(0) * 8 / 1000
    np.testing.assert_allclose(volume_curve(curve, distance=8).ml, expected)
    np.testing.assert_allclose(volume_curve(curve[[2, 0, 1]], positions=[16.0, 0.0, 8.0]).ml, expected)
    np.testing.assert_allclose(volume_curve(curve, positions=[-3.0, -11.0, -19.0]).ml, expected)


def test_unequal_slices_reach_halfway_to_the_next():
    volume = volume_curve([[100.0], [200.0], [300.0], [400.0]], positions=[0, 8, 20, 28])
    assert volume.ml[0] == pytest.approx((100 * 8 + 200 * 10 + 300 * 10 + 400 * 8) / 1000)


def test_slices_without_contour():
    nothing = [NAN, NAN]
    ends = volume_curve([nothing, [100, 50], [200, 80], nothing], distance=10)
    np.testing.assert_allclose(ends.ml, [3.0, 1.3])
    assert (ends.counted, ends.slices) == (2, 4)
    bridged = volume_curve([[100, 50], nothing, [200, 80]], positions=[0, 10, 20])
    np.testing.assert_allclose(bridged.ml, [(100 * 15 + 200 * 15) / 1000, (50 * 15 + 80 * 15) / 1000])
    assert (bridged.counted, bridged.slices) == (2, 3)
    partly = volume_curve([[100, 50], [30, NAN]], distance=10)
    np.testing.assert_allclose(partly.ml, [1.3, NAN])
    closed = volume_curve([[100, 50], [30, 0]], distance=10)
    np.testing.assert_allclose(closed.ml, [1.3, 0.5])
    none = volume_curve([nothing, nothing], distance=10)
    assert np.isnan(none.ml).all()
    assert (none.counted, none.slices) == (0, 2)


def test_impossible_slices_are_refused():
    curve = [[100.0, 50.0], [200.0, 80.0]]
    for wrong, message in (
        ({}, "either"),
        ({"positions": [0, 8], "distance": 8}, "either"),
        ({"distance": 0}, "above 0 mm"),
        ({"distance": NAN}, "above 0 mm"),
        ({"positions": [0, 8, 16]}, "2 positions"),
        ({"positions": [0, NAN]}, "2 positions"),
        ({"positions": [4, 4]}, "same position"),
    ):
        with pytest.raises(ValueError, match=message):
            volume_curve(curve, **wrong)
    with pytest.raises(ValueError, match="single slice"):
        volume_curve(curve[:1], positions=[0])
    with pytest.raises(ValueError, match="slices, frames"):
        volume_curve(curve[0], distance=8)
    with pytest.raises(ValueError, match="0 or more"):
        volume_curve([[-1.0]], distance=8)


def test_function_of_a_curve():
    found = ventricular_function([120.0, 80.0, 48.0, NAN, 90.0])
    assert (found.ed, found.es, found.edv, found.esv) == (0, 2, 120, 48)
    assert found.stroke_volume == 72
    assert found.ejection_fraction == pytest.approx(60)
    assert found.missing == 1
    given = ventricular_function([120.0, 80.0, 48.0, NAN, 90.0], ed=4, es=1)
    assert (given.ed, given.es) == (4, 1)
    assert given.ejection_fraction == pytest.approx(100 / 9)
    assert ventricular_function([50.0, 50.0, 50.0]).ejection_fraction == 0  # a heart that stands still, measured
    assert ventricular_function([50.0, 40.0, 60.0], es=2).ed == 0


def test_nothing_to_measure_is_nan_and_not_zero():
    for curve, ed, es in (([NAN, NAN], None, None), ([NAN, 50.0], None, None), ([NAN, 50.0], 0, 1), ([0.0, 0.0], 0, 1)):
        found = ventricular_function(curve, ed, es)
        assert math.isnan(found.ejection_fraction)
    nothing = ventricular_function([NAN, NAN])
    assert (nothing.ed, nothing.es, nothing.missing) == (None, None, 2)
    assert np.isnan([nothing.edv, nothing.esv, nothing.stroke_volume]).all()
    alone = ventricular_function([NAN, 50.0])
    assert (alone.ed, alone.es, alone.edv) == (1, None, 50)
    for wrong in ({"ed": 2}, {"es": -1}, {"ed": 1, "es": 1}):
        with pytest.raises(ValueError, match=r"frame"):
            ventricular_function([50.0, 40.0], **wrong)
    with pytest.raises(ValueError, match=r"\(T,\)"):
        ventricular_function([[50.0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_phantom_by_its_own_fields(seed):
    """The ED lumen carried by the true fields has the true volumes and ejection fraction: by its smooth outline."""
    phantom = Phantom(seed, size=(112, 112), phases=8, slices=2)
    measured, truth = [], []
    for k in range(phantom.slices):
        ddf = np.stack([phantom.displacement(k, phantom.ed, frame) for frame in range(phantom.phases)])
        drawn = torch.from_numpy(phantom.lumen(k, phantom.ed)).float().expand(phantom.phases, 1, -1, -1)
        measured.append(areas((warp(drawn, torch.from_numpy(ddf)) > 0.5)[:, 0], phantom.spacing))
        truth.append([outline_area(phantom, k, frame) for frame in range(phantom.phases)])
    found = volume_curve(measured, distance=phantom.thickness)
    true = np.sum(truth, 0) * phantom.thickness / 1000
    np.testing.assert_allclose(found.ml, true, rtol=0.02)
    function = ventricular_function(found.ml)
    assert (function.ed, function.es) == (phantom.ed, phantom.es)
    fraction = 100 * (1 - true.min() / true.max())
    assert 40 < fraction < 70
    assert function.ejection_fraction == pytest.approx(fraction, abs=1)


def outline_area(phantom, k, frame):
    """Area in mm² inside the true border, which lies at ED as drawn by the anatomy and moves from there."""
    directions = direction(np.linspace(0, 2 * np.pi, 720, endpoint=False))
    border = directions * phantom._anatomies[k].outline("lumen", directions)
    row, column = phantom._to_pixels(k, frame, border) * np.reshape(phantom.spacing, (2, 1))
    return 0.5 * abs(np.dot(row, np.roll(column, 1)) - np.dot(column, np.roll(row, 1)))
