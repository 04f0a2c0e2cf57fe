"""Which value of a label image is which structure."""

import numpy as np
import pytest

from transforms.errors import InputError
from transforms.structures import from_labels, from_segments, parse_labels

ACDC = np.uint8([[0, 1, 2, 3], [0, 1, 2, 3]])  # 1 right ventricle, 2 myocardium, 3 lumen


@pytest.mark.parametrize("labels", ["acdc", "lumen=3,myocardium=2,rv=1", {"rv": 1, "lumen": 3, "myocardium": 2}])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_values_become_structures(labels, kind):
    masks = from_labels(ACDC.astype(kind), labels, "a.nii")
    assert list(masks) == ["lumen", "epicardium", "rv"]
    np.testing.assert_array_equal(masks["lumen"], ACDC == 3)
    np.testing.assert_array_equal(masks["epicardium"], ACDC >= 2)
    np.testing.assert_array_equal(masks["rv"], ACDC == 1)


def test_presets_differ_in_their_order():
    np.testing.assert_array_equal(from_labels(ACDC, "mnms", "a.nii")["lumen"], ACDC == 1)
    np.testing.assert_array_equal(from_labels(ACDC, "mnms", "a.nii")["rv"], ACDC == 3)


def test_one_value_is_the_lumen_and_what_is_not_drawn_is_absent():
    masks = from_labels(np.int16([[0, 7, 7]]), None, "a.nii")
    assert {name: mask.tolist() for name, mask in masks.items()} == {"lumen": [[False, True, True]]}
    assert list(from_labels(np.int16([[0, 3, 1]]), "acdc", "a.nii")) == ["lumen", "rv"]


def test_a_slice_may_lack_the_lumen():
    masks = from_labels(np.int16([[0, 2, 1]]), "acdc", "a.nii", lumen_needed=False)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "epicardium": [[False, True, False]],
        "rv": [[False, False, True]],
    }


def test_segments_may_overlap():
    whole, inner = np.array([[True, True, False]]), np.array([[True, False, False]])
    masks = from_segments({1: whole, 2: inner}, "lumen=2,epicardium=1", "a.dcm")
    np.testing.assert_array_equal(masks["epicardium"], whole)
    np.testing.assert_array_equal(masks["lumen"], inner)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (ACDC, None, r"found 0 and 1 \(RV\), 2, 3: which is the lumen\? --labels lumen=VALUE, or acdc, or mnms"),
        (ACDC, "lumen=4", r"nothing has the lumen's value, 4; it holds 1 \(RV\), 2, 3"),
        (ACDC / 2, "acdc", "expected whole numbers as labels, found 0.5, 1, 1.5"),
        (np.linspace(0, 1, 50), None, r"found 0 and 0\.0204.*, \.\.\.: which is the lumen"),
    ],
)
def test_what_is_not_known_is_asked_for(image, labels, message):
    with pytest.raises(InputError, match=rf"^a\.nii: .*{message}"):
        from_labels(image, labels, "a.nii", {1: "RV"})


@pytest.mark.parametrize(
    "labels",
    [
        *("", "ACDC", "lumen", "lumen=", "lumen=x", "lumen=-1", "lumen=0", "lumen=1,rv=1", "heart=1", "rv=1"),
        *("lumen=1,lumen=2", "lumen=1,myocardium=2,epicardium=3", {"lumen": 0}, {"lumen": "3"}, {"lumen": True}),
    ],
)
def test_labels_that_are_none(labels):
    with pytest.raises(InputError, match="labels: expected acdc, mnms, or values such as lumen=3,myocardium=2,rv=1"):
        parse_labels(labels)


def test_lumen_without_wall_makes_no_epicardium():
    """As at end-systole, where many draw the lumen alone."""
    labels = np.stack([ACDC, np.where(ACDC == 3, 3, 0)])[None]  # (S, T, H, W)
    masks = from_labels(labels, "acdc", "a.nii")
    np.testing.assert_array_equal(masks["epicardium"][0, 0], ACDC >= 2)
    assert not masks["epicardium"][0, 1].any()
    assert masks["lumen"][0, 1].any()


def test_names_that_say_which_structure_they_are_need_no_labels(caplog):
    masks = {1: ACDC == 1, 2: ACDC == 2, 3: ACDC == 3}
    names = {1: "Right ventricle lumen", 2: "LV myocardium", 3: "lv_endo"}
    found = from_segments(masks, None, "a.dcm", names)
    assert list(found) == ["lumen", "epicardium", "rv"]
    np.testing.assert_array_equal(found["lumen"], ACDC == 3)
    assert not caplog.text
    assert list(from_segments(masks, None, "a.dcm", {**names, 2: "isocentre"})) == ["lumen", "rv"]
    assert "by their names: 1 (Right ventricle lumen), 3 (lv_endo); passed over: 2 (isocentre)" in caplog.text
    assert list(from_segments({1: ACDC == 1}, None, "a.dcm", names, lumen_needed=False)) == ["rv"]
    with pytest.raises(InputError, match="which is the lumen"):
        from_segments(masks, None, "a.dcm", {**names, 2: "LV endo"})


def test_a_lumen_with_time_and_a_wall_without_are_not_joined():
    with_time, without = np.ones((1, 3, 2, 4), bool), np.ones((1, 1, 2, 4), bool)
    with pytest.raises(InputError, match=r"a\.dcm: of lumen and myocardium one says on which frames it was drawn"):
        from_segments({1: with_time, 2: without}, "lumen=1,myocardium=2", "a.dcm")
    found = from_segments({1: with_time, 2: without}, "lumen=1,rv=2", "a.dcm")
    assert found["rv"].shape == without.shape
