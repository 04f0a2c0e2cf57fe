"""Slopes of curves that are known in closed form."""

import numpy as np
import pytest

from dirnet.cine.rates import PeakRates, peak_rates

CYCLE = 923.0  # ms, at 65 beats a minute


def times(frames=20):
    return 10 + np.arange(frames) * CYCLE / frames


def wave(harmonic, along):
    return 100 + 40 * np.cos(2 * np.pi * harmonic * along / CYCLE)


@pytest.mark.parametrize("harmonic", [1, 2, 3])
@pytest.mark.parametrize("shift", np.linspace(0, 0.5, 5))
def test_waves_come_out_little_smaller(harmonic, shift):
    along = times()
    found = peak_rates(wave(harmonic, along + shift * CYCLE / 20), along, CYCLE)
    true = 40 * 2 * np.pi * harmonic / CYCLE * 1000  # ml/s
    assert 0.94 * true <= found.ejection <= true
    assert 0.94 * true <= found.filling <= true


def test_unequal_times_and_a_cubic_are_exact():
    along = np.cumsum(np.tile([40.0, 50.0], 10))
    curve = 1e-6 * (along - 500) ** 3 - 0.2 * along + 300
    found = peak_rates(curve, along, 2000.0)  # not closed: the two frames at each end have no slope
    slopes = 1000 * (3e-6 * (along - 500) ** 2 - 0.2)
    assert found.filling == pytest.approx(slopes[2:-2].max())
    assert found.ejection == pytest.approx(-slopes[2:-2].min())
    assert (found.filling_frame, found.ejection_frame) == (2 + slopes[2:-2].argmax(), 2 + slopes[2:-2].argmin())


def test_a_whole_cycle_has_a_slope_at_its_ends():
    along = times()
    early = peak_rates(wave(1, along + CYCLE / 4), along)  # steepest down at the first frame, up half a cycle on
    assert early.ejection_frame in (0, 19)
    assert early.filling_frame in (9, 10)


def test_noise_of_one_ml():
    rng, along = np.random.default_rng(0), times()
    flat = [peak_rates(wave(1, along) + rng.normal(0, 1, 20), along).ejection for _ in range(200)]
    true = 40 * 2 * np.pi / CYCLE * 1000
    assert np.mean(flat) == pytest.approx(true, rel=0.1)
    assert np.std(flat) < 20


def test_what_cannot_be_had_is_none():
    along = times()
    curve = wave(1, along)
    assert peak_rates(curve, None) == PeakRates()
    assert peak_rates(curve[:6], along[:6]) == PeakRates()
    assert peak_rates(np.where(along > 500, np.nan, curve), along) == PeakRates()
    assert peak_rates(np.full(20, 80.0), along) == PeakRates()
    with pytest.raises(ValueError, match="as many times that grow"):
        peak_rates(curve, along[::-1])
