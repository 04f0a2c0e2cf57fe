"""Some of the damaged inputs of tests/fuzz_nifti.py; ``python -m tests.fuzz_nifti`` tries thousands."""

import pytest

from tests import fuzz, fuzz_nifti


@pytest.mark.parametrize("kind", fuzz_nifti.KINDS)
def test_what_is_damaged_is_read_right_or_refused(kind):
    assert fuzz.find_faults(range(15), seed=0, kinds=[kind]) == []


@pytest.mark.parametrize("kind", [kind for kind in fuzz_nifti.KINDS if kind != "object"])
def test_the_whole_input_is_read(tmp_path, kind):
    kind = fuzz_nifti.KINDS[kind]
    assert len(list(kind.read(kind.make(tmp_path)))) > 0
