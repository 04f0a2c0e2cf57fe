"""Some of the damaged inputs of tests/fuzz.py; ``python -m tests.fuzz`` tries thousands."""

import pytest

from tests import fuzz

KINDS = dict(fuzz.KINDS)  # now: tests/fuzz_nifti.py adds its own, which it tries itself


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_read_right_or_refused(kind):
    assert fuzz.find_faults(range(25), seed=0, kinds=[kind]) == []


def test_the_whole_inputs_are_read(tmp_path):
    for name, kind in KINDS.items():
        (tmp_path / name).mkdir()
        assert fuzz.fault(kind, kind.make(tmp_path / name)) is None
        list(kind.read(kind.make(tmp_path / name)))
