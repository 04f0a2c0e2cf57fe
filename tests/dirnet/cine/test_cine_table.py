import numpy as np
import pandas as pd
import pytest

from dirnet.cine import cine_table
from dirnet.files.tables import write_csv

NAN = np.nan


def test_numbers_of_the_file_are_those_of_the_arrays(tmp_path):
    rng = np.random.default_rng(0)
    areas = {3: rng.random(5) * 2000, 7: np.array([NAN, 1234.5678, 0, 4.5, NAN])}
    ml, times = rng.random(5) * 150, np.arange(5) * 43.75
    lengths, strain = {3: rng.random(5) * 100}, {"circumferential": -rng.random(5) * 20}
    write_csv(tmp_path / "new" / "cine.csv", cine_table({"lumen": areas}, {"lumen": ml}, lengths, strain, times))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cine.csv"]
    table = pd.read_csv(tmp_path / "new" / "cine.csv")
    expected = {
        "frame": np.arange(5),
        "time_ms": times,
        "volume_ml": ml,
        "circumferential_strain_percent": strain["circumferential"],
        "slice_3_area_mm2": areas[3],
        "slice_7_area_mm2": areas[7],
        "slice_3_contour_mm": lengths[3],
    }
    assert list(table) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-5)
    assert table["frame"].dtype == np.int64
    lines = (tmp_path / "new" / "cine.csv").read_text().splitlines()
    assert lines[1].split(",")[5] == ""  # missing, not 0


def test_what_is_not_known_has_no_column():
    assert list(cine_table({"lumen": {0: [1.0, 2.0]}})) == ["frame", "slice_0_area_mm2"]


def test_curves_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"'volume_ml': \(3,\)"):
        cine_table({"lumen": {0: [1.0, 2.0]}}, {"lumen": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="one length"):
        cine_table({})
    with pytest.raises(ValueError, match="one length"):
        cine_table({"lumen": {0: [[1.0, 2.0]]}})


def test_file_is_whole_or_not_there(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="disk full"):
        write_csv(tmp_path / "cine.csv", cine_table({"lumen": {0: [1.0]}}))
    assert not list(tmp_path.iterdir())
