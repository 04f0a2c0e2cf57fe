"""Ejection fractions of an evaluation's table."""

import pandas as pd
import pytest

from dirnet.training.ejection import ejection_fractions

COLUMNS = ("patient", "pathology", "direction", "missing", "moving_mm2", "fixed_mm2", "warped_mm2")


def test_slices_of_a_patient_are_summed_and_only_those_drawn_at_both_phases_count():
    rows = [
        ("a", "normal", "ED-ES", False, 1000.0, 400.0, 500.0),
        ("a", "normal", "ES-ED", False, 400.0, 1000.0, 900.0),
        ("a", "normal", "ED-ES", False, 600.0, 200.0, 220.0),
        ("a", "normal", "ED-ES", True, 300.0, 0.0, 80.0),
        ("b", "normal", "ED-ES", False, 500.0, 300.0, 300.0),
    ]
    found = ejection_fractions(pd.DataFrame(rows, columns=COLUMNS)).set_index("patient")
    assert found.loc["a", "slices"] == 2
    assert found.loc["a", "drawn_ef"] == pytest.approx(62.5)
    assert found.loc["a", "followed_ef"] == pytest.approx(55.0)
    assert found.loc["a", "difference"] == pytest.approx(-7.5)
    assert found.loc["b", "difference"] == pytest.approx(0)
