"""A long-axis view: areas and lengths, and no volumes."""

import dataclasses
import json

import numpy as np
import pytest

from dirnet import Registrar
from dirnet.cine.follow import follow
from dirnet.cine.plane import longest_extents
from dirnet.cine.saving import save
from tests.hearts import BEAT, FRAMES, SIZE, SPACING, STUDY, stack


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


def ellipse(half_length, half_width, angle=0.5):
    rows, columns = np.indices(SIZE)
    down, right = rows * SPACING[0] - 65, columns * SPACING[1] - 58
    along, across = down * np.cos(angle) + right * np.sin(angle), right * np.cos(angle) - down * np.sin(angle)
    return (along / half_length) ** 2 + (across / half_width) ** 2 < 1


@pytest.mark.parametrize("angle", [0, 0.5, 1.57, 2.4])
def test_length_of_ellipses(angle):
    masks = np.stack([ellipse(48, 22, angle), ellipse(40, 15, angle), np.zeros(SIZE, bool)])
    assert longest_extents(masks, SPACING)[:2] == pytest.approx([96, 80], abs=1.5)
    assert np.isnan(longest_extents(masks, SPACING)[2])
    one = np.zeros((5, 7))
    one[2, 3] = 1
    assert longest_extents(one, (3, 4)) == pytest.approx(5)
    assert longest_extents(np.ones((5, 7)), (1, 1)) == pytest.approx(np.hypot(5, 7))


@pytest.mark.parametrize("view", ["long axis", "", "short axis"])
def test_one_plane_has_no_volumes(view, registrar, tmp_path):
    whole = stack()
    cine = dataclasses.replace(whole, images=whole.images[:1], grids=whole.grids[:1], positions=None, view=view)
    lumen = np.stack([ellipse(48 - 8 * beat, 22 - 7 * beat) for beat in BEAT])[None]
    followed = follow(registrar, cine, {"lumen": lumen}, study=STUDY)
    numbers = followed.numbers
    assert followed.volumes == {}
    for name in ("ejection_fraction_percent", "end_diastolic_volume_ml", "cardiac_output_l_per_min"):
        assert numbers[name] is None
    assert (numbers["end_diastolic_frame"], numbers["end_systolic_frame"]) == (0, FRAMES // 2)
    assert numbers["view"] == (view or None)
    assert numbers["plane_area_end_diastole_mm2"] == pytest.approx(np.pi * 48 * 22, rel=0.01)
    assert numbers["plane_area_change_percent"] == pytest.approx(100 * (40 * 15 / (48 * 22) - 1), abs=1)
    if view == "short axis":
        assert numbers["plane_length_end_diastole_mm"] is None
    else:
        assert numbers["plane_length_end_diastole_mm"] == pytest.approx(96, abs=1.5)
        assert numbers["plane_length_change_percent"] == pytest.approx(-100 / 6, abs=1.5)
    assert (numbers["peak_circumferential_strain_percent"] is None) == (view == "long axis")
    save(followed, tmp_path, "a")
    assert json.loads((tmp_path / "a_numbers.json").read_text()) == numbers


def test_slices_of_a_long_axis_are_no_discs(registrar):
    cine = dataclasses.replace(stack(), view="long axis")
    lumen = np.zeros(cine.images.shape, bool)
    lumen[2] = [ellipse(48 - 8 * beat, 22) for beat in BEAT]
    lumen[3] = [ellipse(30, 20) for _ in BEAT]
    epicardium = np.stack([[ellipse(52, 30)] * FRAMES] * len(lumen))
    epicardium[[0, 1, 4, 5]] = False
    followed = follow(registrar, cine, {"lumen": lumen, "epicardium": epicardium}, study=STUDY)
    assert followed.volumes == {}
    assert followed.numbers["myocardial_mass_g"] is None
    assert followed.numbers["wall_thickness_end_diastole_mm"] is None
    assert followed.numbers["plane_length_end_diastole_mm"] == pytest.approx(96, abs=1.5)  # of the larger one
