"""Some of the damaged inputs of tests/fuzz_studies.py; ``python -m tests.fuzz_studies`` tries thousands."""

import pytest

from tests import fuzz, fuzz_studies


@pytest.mark.parametrize("kind", fuzz_studies.KINDS)
def test_what_is_damaged_is_read_right_or_refused(kind):
    assert fuzz.find_faults(range(12), seed=0, kinds=[kind]) == []


def test_layouts_with_damaged_tables_are_read_right_or_refused():
    assert fuzz_studies.find_layout_faults(range(4), seed=0) == []


@pytest.mark.parametrize("kind", fuzz_studies.KINDS)
def test_the_whole_input_is_read(tmp_path, kind):
    kind = fuzz_studies.KINDS[kind]
    assert len(list(kind.read(kind.make(tmp_path)))) > 0
