"""The numbers of a heart of discs and annuli, drawn on every frame, whose every number is known."""

import dataclasses

import numpy as np
import pytest

from dirnet import Registrar
from dirnet.cine.follow import follow
from dirnet.cine.phases import Phases
from dirnet.cine.segments import NAMES
from dirnet.errors import InputError
from tests.hearts import DISTANCE, FRAMES, MIDDLE, OUTER, SLICES, SPACING, STUDY, heart, stack


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


@pytest.fixture(scope="module")
def followed(registrar):
    return follow(registrar, stack(), heart(), study=STUDY)


def volume(radii):
    return np.pi * (np.asarray(radii) ** 2).sum() * DISTANCE / 1000


def test_volumes_output_and_mass(followed):
    found = followed.numbers
    edv, esv = volume(OUTER - 9), volume(OUTER - 13)
    assert (found["end_diastolic_frame"], found["end_systolic_frame"]) == (0, FRAMES // 2)
    assert found["end_diastolic_volume_ml"] == pytest.approx(edv, rel=0.01)
    assert found["stroke_volume_ml"] == pytest.approx(edv - esv, rel=0.01)
    assert found["cardiac_output_l_per_min"] == pytest.approx(60 * (edv - esv) / 1000, rel=0.01)
    assert found["myocardial_mass_g"] == pytest.approx(1.05 * (volume(OUTER) - edv), rel=0.01)
    assert found["myocardial_mass_end_systole_g"] == pytest.approx(1.05 * (volume(OUTER) - esv), rel=0.01)
    assert found["body_surface_area_m2"] == 2.0
    for name in ("end_diastolic_volume", "end_systolic_volume", "rv_end_diastolic_volume"):
        assert found[f"{name}_index_ml_per_m2"] == pytest.approx(found[f"{name}_ml"] / 2, abs=0.01)
    assert found["myocardial_mass_index_g_per_m2"] == pytest.approx(found["myocardial_mass_g"] / 2, abs=0.01)
    assert found["cardiac_index_l_per_min_per_m2"] == pytest.approx(found["cardiac_output_l_per_min"] / 2, abs=0.01)
    right = followed.structures["rv"].sum((0, 2, 3)) * SPACING[0] * SPACING[1] * DISTANCE / 1000
    assert found["rv_end_diastolic_volume_ml"] == pytest.approx(right[0], abs=0.01)
    assert found["rv_ejection_fraction_percent"] == pytest.approx(100 * (1 - right[6] / right[0]), abs=0.01)
    assert found["lumen_slices"] == found["epicardium_slices"] == found["rv_slices"] == list(range(SLICES))


def test_rates(followed):
    found = followed.numbers
    fine = np.linspace(0, 1, 1201)
    curve = np.array([volume(OUTER - 9 - 4 * (0.5 - 0.5 * np.cos(2 * np.pi * part))) for part in fine])
    steepest = np.gradient(curve, fine).max()  # ml/s, as the cycle lasts a second
    assert found["peak_filling_rate_ml_per_s"] == pytest.approx(steepest, rel=0.06)
    assert found["peak_ejection_rate_ml_per_s"] == pytest.approx(steepest, rel=0.06)
    edv = found["end_diastolic_volume_ml"]
    assert found["peak_filling_rate_edv_per_s"] == pytest.approx(found["peak_filling_rate_ml_per_s"] / edv, abs=0.01)


def test_an_even_wall(followed):
    found = followed.numbers
    assert found["wall_thickness_end_diastole_mm"] == pytest.approx(9, abs=0.2)
    assert found["wall_thickness_end_systole_mm"] == pytest.approx(13, abs=0.2)
    assert found["mid_wall_thickness_end_diastole_mm"] == pytest.approx(9, abs=0.2)
    assert found["segment_wall_thickness_end_diastole_mm"] == pytest.approx([9] * 16, abs=0.3)
    assert found["segment_wall_thickness_end_systole_mm"] == pytest.approx([13] * 16, abs=0.3)
    assert found["segment_wall_thickening_percent"] == pytest.approx([100 * 4 / 9] * 16, abs=5)
    assert [found[f"{level}_slices"] for level in ("basal", "mid", "apical")] == [[0, 1], [2, 3], [4, 5]]
    assert found["segments_from"] == "rv"


def thickest(found):
    values = np.array(found["segment_wall_thickness_end_systole_mm"])
    return [NAMES[n] for n in (values[:6].argmax(), 6 + values[6:12].argmax(), 12 + values[12:].argmax())]


@pytest.mark.parametrize(
    ("shift", "walls"),
    [  # mm down and to the right; the wall is thickest on the other side
        ((4.0, 0.0), ("anterior", "anterior")),
        ((-4.0, 0.0), ("inferior", "inferior")),
        ((0.0, 4.0), (None, "septal")),
        ((0.0, -4.0), (None, "lateral")),
        ((2.0, 3.5), ("anteroseptal", "septal")),
        ((-2.0, -3.5), ("inferolateral", "lateral")),
    ],
)
def test_the_segment_that_is_thick(registrar, shift, walls):
    found = follow(registrar, stack(), heart(shift), study=STUDY).numbers
    basal, mid, apical = thickest(found)
    if walls[0]:
        assert (basal, mid) == (f"basal {walls[0]}", f"mid {walls[0]}")
    assert apical == f"apical {walls[1]}"
    assert max(found["segment_wall_thickness_end_systole_mm"]) == pytest.approx(16.5, abs=0.6)  # 13 + 4 in the middle


def test_a_stack_from_apex_to_base(registrar):
    drawn = {name: masks[::-1] for name, masks in heart((4.0, 0.0)).items()}
    found = follow(registrar, stack(), drawn, study=STUDY).numbers
    assert [found[f"{level}_slices"] for level in ("basal", "mid", "apical")] == [[4, 5], [2, 3], [0, 1]]
    assert thickest(found)[1] == "mid anterior"


def test_insertions_by_the_reader(registrar):
    """Without a right ventricle the segments are unknown, but with the two points that a reader clicked on."""
    drawn = heart((4.0, 0.0))
    alone = {name: drawn[name] for name in ("lumen", "epicardium")}
    found = follow(registrar, stack(), alone, study=STUDY).numbers
    assert found["segments_from"] is None
    assert found["segment_wall_thickness_end_diastole_mm"] is None
    assert found["wall_thickness_end_diastole_mm"] == pytest.approx(9, abs=0.2)
    row, column = MIDDLE
    points = [((column - 18) / SPACING[1], (row + down) / SPACING[0]) for down in (-28, 28)]
    found = follow(registrar, stack(), alone, study=STUDY, insertions=(points[0], points[1])).numbers
    assert found["segments_from"] == "given"
    assert thickest(found)[1] == "mid anterior"
    with pytest.raises(InputError, match="expected points in images of 96 x 96 pixels, got 200,3"):
        follow(registrar, stack(), alone, insertions=(points[0], (200, 3)))


def test_what_was_not_drawn_is_unknown(registrar):
    drawn = {"lumen": heart()["lumen"]}
    cine = dataclasses.replace(stack(), times=None)
    found = follow(registrar, cine, drawn).numbers
    unknown = [name for name, value in found.items() if value is None]
    assert {
        "myocardial_mass_g", "wall_thickness_end_diastole_mm", "segment_wall_thickening_percent", "heart_rate_per_min",
        "cardiac_output_l_per_min", "peak_filling_rate_ml_per_s", "body_surface_area_m2", "rv_end_diastolic_volume_ml",
        "end_diastolic_volume_index_ml_per_m2", "segments_from",
    } <= set(unknown)  # fmt: skip
    assert found["end_diastolic_volume_ml"] > 0
    assert found["rv_slices"] == found["wall_slices"] == []


def test_a_slice_left_out_is_left_out_of_the_wall(registrar, followed):
    phases = Phases(left_out_es=frozenset({0}))
    found = follow(registrar, followed.cine, heart(), study=STUDY, phases=phases, earlier=followed).numbers
    assert found["wall_slices"] == [1, 2, 3, 4, 5]
    assert found["myocardial_mass_g"] == followed.numbers["myocardial_mass_g"]
    less = 1.05 * (volume(OUTER[:1]) - volume(OUTER[:1] - 13))
    assert found["myocardial_mass_end_systole_g"] == pytest.approx(
        followed.numbers["myocardial_mass_end_systole_g"] - less, rel=0.01
    )


def test_a_lumen_without_epicardium_is_said(registrar):
    drawn = heart()
    drawn["epicardium"][0] = False
    found = follow(registrar, stack(), drawn, study=STUDY)
    assert "slice 0: lumen without epicardium; their wall is not in the myocardial mass" in found.numbers["warnings"]
    assert found.numbers["myocardial_mass_g"] == pytest.approx(
        1.05 * (volume(OUTER[1:]) - volume(OUTER[1:] - 9)), rel=0.01
    )
