"""What an evaluation's table says of each patient."""

import pandas as pd
import pytest

from dirnet.training.patients import by_patient

COLUMNS = ("patient", "pathology", "direction", "missing", "moving_mm2", "fixed_mm2", "warped_mm2")
LENGTHS = ("moving_mm", "fixed_mm", "warped_mm")


def test_slices_of_a_patient_are_summed_and_only_those_drawn_at_both_phases_count():
    rows = [
        ("a", "normal", "ED-ES", False, 1000.0, 400.0, 500.0, 120.0, 80.0, 85.0),
        ("a", "normal", "ES-ED", False, 400.0, 1000.0, 900.0, 80.0, 120.0, 115.0),
        ("a", "normal", "ED-ES", False, 600.0, 200.0, 220.0, 80.0, 60.0, 65.0),
        ("a", "normal", "ED-ES", True, 300.0, 0.0, 80.0, 60.0, 0.0, 30.0),
        ("b", "normal", "ED-ES", False, 500.0, 300.0, 300.0, 100.0, 90.0, 90.0),
    ]
    found = by_patient(pd.DataFrame(rows, columns=COLUMNS + LENGTHS)).set_index("patient")
    assert found.loc["a", "slices"] == 2
    assert found.loc["a", "drawn_ef"] == pytest.approx(62.5)
    assert found.loc["a", "followed_ef"] == pytest.approx(55.0)
    assert found.loc["a", "ef_difference"] == pytest.approx(-7.5)
    assert found.loc["a", "drawn_strain"] == pytest.approx(-30)
    assert found.loc["a", "followed_strain"] == pytest.approx(-25)
    assert found.loc["a", "strain_difference"] == pytest.approx(5)
    assert found.loc["b", "ef_difference"] == pytest.approx(0)
