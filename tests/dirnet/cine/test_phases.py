"""Slices that are left out at one phase: none of them there, all of them at the other, no step between."""

import numpy as np
import pytest

from dirnet.cine.phases import Phases, shares
from dirnet.errors import InputError


def test_a_slice_left_out_at_end_systole_fades_in_time():
    parts = shares(Phases(left_out_es=frozenset({1})), ed=8, es=2, slices=3, frames=10)
    assert (parts[[0, 2]] == 1).all()
    assert parts[1] == pytest.approx([0.5, 0.25, 0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 0.75])


def test_a_slice_left_out_at_end_diastole_is_the_reverse():
    for ed, es in ((8, 2), (1, 6)):
        whole = shares(Phases(left_out_es=frozenset({0})), ed, es, 1, 10)
        assert shares(Phases(left_out_ed=frozenset({0})), ed, es, 1, 10) == pytest.approx(1 - whole)
    assert not shares(Phases(left_out_ed=frozenset({0}), left_out_es=frozenset({0})), 1, 6, 1, 10).any()


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (Phases(ed=10), "ED must be a frame of 0 to 9, got 10"),
        (Phases(ed=3, es=3), "ED and ES are both frame 3"),
        (Phases(left_out_es=frozenset({4})), "left out must be 0 to 3, got 4"),
    ],
)
def test_what_does_not_fit_is_named(phases, message):
    with pytest.raises(InputError, match=message):
        phases.check(4, 10)
    assert np.isfinite(shares(Phases(), 0, 1, 4, 10)).all()
