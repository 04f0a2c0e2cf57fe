"""Scores and pictures of registrations of volumes, on boxes whose overlap and distance are known."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from monai.data import list_data_collate

from dirnet.files.pictures import picture, planes_of
from dirnet.training.pictures import rows_of
from dirnet.training.volume_scores import VolumeTable, mean_dice

SIZE = (10, 12, 8)
SPACING = (3.0, 1.0, 2.0)


def boxes(*heights):
    """A channel a structure: a box that many slices high, 0 for none."""
    masks = torch.zeros(1, len(heights), *SIZE)
    for k, height in enumerate(heights):
        masks[0, k, :height, 2:8, 2 + 3 * k : 5 + 3 * k] = 1
    return masks


def registration(moving, warped, fixed):
    """An evaluator's batch and output; a height of each structure in each."""
    images = torch.rand(1, 2, *SIZE)
    masks = {"moving_masks": boxes(*moving), "fixed_masks": boxes(*fixed)}
    item = {
        "pair": "A to B",
        "moving_patient": "A",
        "fixed_patient": "B",
        "spacing": torch.tensor(SPACING, dtype=torch.float64),
        "structures": ["head", "tail"][: len(moving)],
    }
    batch = list_data_collate([item]) | masks
    prediction = {"warped": images[:, :1], "ddf": torch.zeros(1, 3, *SIZE), "seconds": 0.25}
    if moving:
        prediction["warped_masks"] = boxes(*warped) > 0.5
    return batch, {"image": images, "label": {"fixed": images[:, 1:], **masks}, "pred": prediction}


def evaluate(folder, *registrations):
    outputs = {id(batch): output for batch, output in registrations}
    engine = Engine(lambda _, batch: outputs[id(batch)])
    VolumeTable(folder, {"split": "test"}).attach(engine)
    engine.run([batch for batch, _ in registrations])
    return pd.read_csv(folder / "registrations.csv"), json.loads((folder / "summary.json").read_text())


def test_scores_by_structure_and_their_mean(tmp_path, capsys):
    table, summary = evaluate(tmp_path, registration((2, 4), (4, 4), (4, 8)), registration((4, 0), (4, 0), (4, 4)))
    assert table["head_dice_before"].tolist() == pytest.approx([4 / 6, 1])
    assert table["head_dice_after"].tolist() == [1, 1]
    assert table["tail_dice_after"].tolist() == pytest.approx([8 / 12, math.nan], nan_ok=True)
    assert table["dice_after"].tolist() == pytest.approx([(1 + 8 / 12) / 2, 1])
    assert table["tail_hd95_after"].tolist() == pytest.approx([12, math.nan], nan_ok=True)  # 4 slices of 3 mm
    assert table["hd95_after"].tolist() == pytest.approx([6, 0])
    assert table["missing"].tolist() == [0, 1]
    assert table["lost"].tolist() == [0, 0]
    assert table[["spacing_slice", "spacing_row", "spacing_column"]].to_numpy().tolist() == [list(SPACING)] * 2
    assert table["log_jacobian_sd"].tolist() == table["folded_percent"].tolist() == [0, 0]
    assert (summary["registrations"], summary["scored"], summary["missing structures"]) == (2, 2, 1)
    assert summary["all"]["dice after"]["mean"] == pytest.approx((5 / 6 + 1) / 2)
    assert summary["structures"]["tail"]["scored"] == 1
    assert summary["structures"]["head"]["dice before"]["sd"] == pytest.approx(np.std([4 / 6, 1]))
    printed = capsys.readouterr().out
    assert "not scored, missing structures: 1" in printed
    assert "0.833 → 1.000" in printed
    assert "median time a registration: 250.0 ms" in printed
    with pytest.raises(FileExistsError, match=r"registrations\.csv"):
        VolumeTable(tmp_path, {})


def test_a_structure_that_the_warp_makes_vanish(tmp_path):
    table, summary = evaluate(tmp_path, registration((4, 4), (4, 0), (4, 4)))
    assert table["tail_dice_after"].tolist() == [0]
    assert table["dice_after"].tolist() == [0.5]
    assert math.isnan(table["tail_hd95_after"].item())
    assert table["hd95_after"].tolist() == [0]
    assert table["lost"].tolist() == [1] == [summary["structures lost by the warp"]]


def test_volumes_without_structures_have_their_likeness(tmp_path):
    table, summary = evaluate(tmp_path, registration((), (), ()))
    assert table["dice_after"].isna().all()
    assert table["ncc_after"].notna().all()
    assert summary["all"]["dice after"] is None
    assert summary["all"]["ncc after"]["mean"] == pytest.approx(table["ncc_after"].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        (((2, 4), (4, 4), (4, 8)), (1 + 8 / 12) / 2),
        (((4, 4), (4, 0), (4, 4)), 0.5),
        (((4, 0), (4, 0), (4, 4)), 1),
        (((0, 0), (0, 0), (4, 4)), math.nan),
        (((), (), ()), math.nan),
    ],
)
def test_mean_dice_while_training(heights, expected):
    _, output = registration(*heights)
    assert mean_dice(output).tolist() == pytest.approx([expected], nan_ok=True)


def test_three_planes_with_the_head_above():
    """A field and an image that are their own coordinates, about masks at slice 6, row 5, column 2."""
    places = np.indices(SIZE, dtype=np.float32)
    masks = np.zeros((2, *SIZE), np.float32)
    masks[0, 6, 5, 2] = 1
    planes = planes_of({"ddf": places, "fixed": places[0], "fixed_masks": masks}, SPACING)
    assert list(planes) == ["axial", "coronal", "sagittal"]
    assert np.array_equal(planes["axial"]["ddf"], places[1:, 6])
    assert (planes["axial"]["fixed"] == 6).all()
    assert planes["axial"]["aspect"] == pytest.approx(1 / 2)
    coronal = planes["coronal"]
    assert coronal["fixed"][:, 0].tolist() == list(range(9, -1, -1))
    assert coronal["ddf"][0, 0, 0] == -9  # towards the head is up
    assert np.array_equal(coronal["ddf"][1], places[2, :, 5])
    assert coronal["aspect"] == pytest.approx(3 / 2)
    assert coronal["fixed_masks"].shape == (2, 10, 8)
    assert np.argwhere(coronal["fixed_masks"]).tolist() == [[0, 3, 2]]
    assert planes["sagittal"]["fixed"].shape == (10, 12)


def test_picture_of_a_volume():
    batch, output = registration((2, 4), (4, 4), (4, 8))
    rows = rows_of(batch, output)
    assert [row["title"] for row in rows] == [f"A\nto B\n{name}" for name in ("axial", "coronal", "sagittal")]
    assert rows[1]["warped_masks"].shape == (2, 10, 8)
    figure = picture(rows)
    assert len(figure.axes) == 18
    assert figure.axes[6].get_aspect() == pytest.approx(3 / 2)
