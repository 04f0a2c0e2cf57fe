"""Warnings of a followed contour: one for each thing that is doubtful, none of a heart as it should be."""

from types import SimpleNamespace

import numpy as np
import pytest

from dirnet.cine.plausibility import warnings_of
from dirnet.cine.volumes import ventricular_function

FRAMES, SIZE = 3, 40
AREAS = (200.0, 500.0, 800.0, 1000.0, 900.0)  # from apex to base, at end-diastole


def followed(areas=AREAS, slices=None, even=True, **changes):
    """As :func:`dirnet.cine.follow.follow` gives it, of made numbers."""
    slices = slices or range(len(areas))
    curves = np.array(areas)[:, None] * [1.0, 0.6, 0.8]
    masks = np.zeros((len(areas), FRAMES, SIZE, SIZE), bool)
    masks[list(slices), :, 10:20, 10:20] = True
    made = SimpleNamespace(
        structures={"lumen": masks},
        volumes={},
        drawn={"lumen": {number: [0] for number in slices}},
        areas={"lumen": np.where(np.isin(range(len(areas)), list(slices))[:, None], curves, np.nan)},
        slices={
            number: SimpleNamespace(folded_percent=np.zeros(FRAMES), estimated_dice=np.full(FRAMES, 0.95))
            for number in slices
        },
        function=ventricular_function(curves.sum(0)),
        circumferential=np.array([0, -22.0, np.nan]),
        cine=SimpleNamespace(positions=8.0 * np.arange(len(areas)), even=even, one_plane=False),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("areas", [AREAS, AREAS[::-1]], ids=["from the apex", "from the base"])
def test_nothing_is_said_of_a_heart_as_it_should_be(areas):
    assert warnings_of(followed(areas)) == []


def test_folds_and_contours_that_fit_badly():
    heart = followed()
    heart.slices[1].folded_percent[2] = 0.35
    heart.slices[3].folded_percent[1] = 0.2
    heart.slices[0].folded_percent[1] = 0.1
    heart.slices[4].estimated_dice[1] = 0.7
    assert warnings_of(heart) == [
        "slices 1, 3: the field folds, up to 0.35 % of the pixels (above 0.1 %)",
        "slice 4: the contour probably fits badly (estimated Dice below 0.85)",
    ]


@pytest.mark.parametrize("edge", [np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]])
def test_a_contour_that_leaves_the_image(edge):
    heart = followed()
    heart.structures["lumen"][(2, 1, *edge)] = True
    assert warnings_of(heart) == ["slice 2: the contour touches the image's border; what lies beyond is not counted"]


def test_strain_that_no_heart_has():
    assert warnings_of(followed(circumferential=np.array([0, -60.0, np.nan]))) == [
        "circumferential strain of -60 %: beyond what hearts do (-55 to 10 %)"
    ]


def test_slices_that_are_not_the_ventricle():
    def said(*arguments, **options):
        (warning,) = warnings_of(followed(*arguments, **options))
        return warning

    assert said(AREAS, [2, 3]).startswith("drawn on 2 of 5 slices: the volumes")
    assert said(AREAS, [0, 1, 3, 4]) == "slice 2: not drawn on, between others that are; the volumes bridge them"
    for areas in ((800.0, 1000.0, 900.0), (900.0, 1000.0, 800.0)):
        assert said(areas) == (
            "the apex is probably not reached: the smaller end slice has 80 % of the largest one's area"
        )
    for areas in ((100.0, 300.0, 700.0, 1000.0), (1000.0, 700.0, 300.0, 100.0)):
        assert said(areas) == "the base is probably not reached: the larger end slice has 143 % of its neighbour's area"
    apart = SimpleNamespace(positions=np.array([0.0, 8, 24, 32, 40]), even=False, one_plane=False)
    assert said(cine=apart) == "slices lie 8.0 to 16.0 mm apart; the volumes bridge what is between"
    assert warnings_of(followed((500.0,))) == []  # a cine of one slice is not said to be a ventricle


@pytest.mark.parametrize(("structure", "ventricle"), [("lumen", "left"), ("rv", "right")])
def test_a_ventricle_that_does_not_contract(structure, ventricle):
    def said(ml):
        heart = followed(volumes={structure: SimpleNamespace(ml=np.array(ml))})
        heart.areas["rv"] = heart.areas["lumen"]
        return warnings_of(heart)

    assert said([100.0, 104.0, 102.0]) == [
        f"{ventricle} ventricle: ejection fraction of -4 %: beyond what hearts do (5 to 90 %); is each structure "
        "what it is named?"
    ]
    assert said([100.0, 52.0, 102.0]) == []


def test_a_right_ventricle_on_few_slices():
    heart = followed(volumes={"rv": SimpleNamespace(ml=np.array([6.0, 3.0, 5.0]))})
    heart.areas["rv"] = np.where(np.arange(5)[:, None] == 2, heart.areas["lumen"], np.nan)
    assert warnings_of(heart) == [
        "right ventricle: drawn on slice 2 alone, the lumen on 5 slices: its volumes are of what is drawn"
    ]
    heart.areas["rv"][3:] = 100
    assert warnings_of(heart) == []  # it ends before the left one


def test_a_frame_that_comes_out_as_end_systole():
    def said(frames):
        return warnings_of(followed(drawn={"lumen": {2: frames[:1], 3: frames}}))

    assert said([1]) == [
        "drawn on frame 1 alone, which comes out as end-systole, and frame 0 as end-diastole: was it drawn there?"
    ]
    assert said([0]) == said([0, 1]) == said([2]) == []
