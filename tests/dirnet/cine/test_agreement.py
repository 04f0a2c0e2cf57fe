"""Bias, limits of agreement and their picture."""

import numpy as np
import pytest

from dirnet.cine.agreement import agreement, bland_altman_figure


def test_known_differences():
    found = agreement([50, 61, 40, np.nan, 70], [52, 60, 41, 55, np.nan])
    assert found.count == 3
    assert found.bias == pytest.approx(-2 / 3)
    assert found.sd == pytest.approx(np.std([-2, 1, -1], ddof=1))
    assert found.mean_absolute_error == pytest.approx(4 / 3)
    assert found.worst == 2
    assert (found.upper - found.lower) / 2 == pytest.approx(1.96 * found.sd)


def test_too_few_subjects_give_no_limits():
    assert agreement([], []).count == 0
    assert np.isnan(agreement([np.nan], [3]).bias)
    one = agreement([50], [53])
    assert (one.bias, one.worst) == (-3, 3)
    assert np.isnan(one.sd)
    assert np.isnan(one.lower)
    with pytest.raises(ValueError, match="equal length"):
        agreement([1, 2], [1])


def test_the_figure_shows_each_subject_and_three_lines():
    axes = bland_altman_figure([50, 61, 40], [52, 60, 41], "ejection fraction", "%").axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [(51, -2), (60.5, 1), (40.5, -1)])
    heights = sorted(line.get_ydata()[0] for line in axes.lines)
    expected = agreement([50, 61, 40], [52, 60, 41])
    np.testing.assert_allclose(heights, sorted([0, expected.bias, expected.lower, expected.upper]))
