"""The handlers on engines of a line; tests/bundle has them in the bundle's own."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from dirnet.files.pictures import picture, window_around
from dirnet.nets.networks import DIRNet
from dirnet.training.engines import RegistrationInferer
from dirnet.training.pictures import RegistrationPictures, rows_of_registration
from dirnet.training.record import check_run
from dirnet.training.scores import MeanScore, RegistrationTable, lumen_dice
from dirnet.training.state import TrainingState
from dirnet.training.validation import IntervalValidation


def registrations(*squares):
    """An evaluator's batch and output: 20x20 images; per registration (rows of moving, of warped, of fixed lumen)."""

    def masks(index):
        mask = torch.zeros(len(squares), 1, 20, 20)
        for i, square in enumerate(squares):
            mask[i, :, 4 : 4 + square[index], 5:15] = 1
        return mask

    number = len(squares)
    images = torch.rand(number, 2, 20, 20)
    batch = {
        "patient": [f"P{i}" for i in range(number)],
        "slice": torch.arange(number),
        "pathology": ["Normal"] * number,
        "direction": ["ED-ES"] * number,
        "spacing": torch.tensor([[2.0, 0.5]] * number, dtype=torch.float64),
        "spacing_assumed": torch.zeros(number, dtype=torch.bool),
        "moving_lumen": masks(0),
    }
    prediction = {
        "warped": images[:, :1],
        "ddf": torch.zeros(number, 2, 20, 20),
        "warped_masks": masks(1) > 0.5,
        "seconds": 0.004,
    }
    label = {"fixed": images[:, 1:], "fixed_lumen": masks(2)}
    return batch, {"image": images, "label": label, "pred": prediction}


def evaluate(batches, *handlers):
    outputs = {id(batch): output for batch, output in batches}
    engine = Engine(lambda _, batch: outputs[id(batch)])
    for handler in handlers:
        handler.attach(engine)
    engine.run([batch for batch, _ in batches])
    return engine


def test_mean_score_leaves_out_what_has_no_score():
    engine = Engine(lambda _, batch: torch.tensor(batch))
    MeanScore(lambda output: output).attach(engine, "score")
    assert engine.run([[1.0, math.nan], [3.0, 5.0]]).metrics["score"] == 3
    assert math.isnan(engine.run([[math.nan]]).metrics["score"])


def test_lumen_dice_of_each_registration():
    _, output = registrations((10, 10, 10), (10, 5, 10), (10, 10, 0))
    assert lumen_dice(output).tolist() == pytest.approx([1, 2 / 3, math.nan], nan_ok=True)


def test_table_scores_counts_and_keeps_the_means_clean(tmp_path, capsys):
    handler = RegistrationTable(tmp_path, {"split": "test"})
    batches = [registrations((5, 10, 10), (10, 5, 10)), registrations((10, 10, 0), (10, 0, 10))]
    evaluate(batches, handler)
    table = pd.read_csv(tmp_path / "registrations.csv")
    assert table["patient"].tolist() == ["P0", "P1", "P0", "P1"]
    assert table["dice_before"].tolist() == pytest.approx([2 / 3, 1, math.nan, 1], nan_ok=True)
    assert table["dice_after"].tolist() == pytest.approx([1, 2 / 3, math.nan, 0], nan_ok=True)
    assert table["hd95_after"].tolist() == pytest.approx([0, 10, math.nan, math.nan], nan_ok=True)  # 5 rows of 2 mm
    assert table["missing"].tolist() == [False, False, True, False]
    assert table["lost"].tolist() == [False, False, False, True]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["registrations"], summary["scored"]) == (4, 3)
    assert summary["all"]["dice after"]["mean"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert summary["all"]["dice after"]["sd"] == pytest.approx(np.std([1, 2 / 3, 0]))
    assert summary["all"]["hd95 after"]["mean"] == pytest.approx(5)
    printed = capsys.readouterr().out
    assert "not scored, missing structure: 1" in printed
    assert "no distance, structure lost by the warp: 1" in printed
    with pytest.raises(FileExistsError, match=r"registrations\.csv"):
        RegistrationTable(tmp_path, {})


def test_structures_are_scored_where_both_images_have_them(tmp_path, capsys):
    """Rows of epicardium around those of the lumen; one registration has none in its fixed image; one loses it."""
    (batch, output), (outer, warped_outer) = (
        registrations((2, 4, 4), (2, 4, 4), (2, 4, 4)),
        registrations((5, 8, 10), (5, 5, 0), (8, 0, 10)),
    )
    batch["moving_epicardium"] = outer["moving_lumen"]
    output["label"]["fixed_epicardium"] = warped_outer["label"]["fixed_lumen"]
    masks = [part["pred"]["warped_masks"] for part in (output, warped_outer)]
    output["pred"]["warped_masks"] = torch.cat(masks, 1)
    evaluate([(batch, output)], RegistrationTable(tmp_path, {"split": "test"}))
    table = pd.read_csv(tmp_path / "registrations.csv")
    assert table["dice_before"].tolist() == pytest.approx([2 / 3] * 3)
    assert table["dice_after"].tolist() == [1] * 3
    assert table["epicardium_dice_before"].tolist() == pytest.approx([2 / 3, math.nan, 16 / 18], nan_ok=True)
    assert table["epicardium_dice_after"].tolist() == pytest.approx([16 / 18, math.nan, 0], nan_ok=True)
    assert table["epicardium_hd95_after"].tolist() == pytest.approx([4, math.nan, math.nan], nan_ok=True)
    # moving less 2 rows of lumen, warped and fixed less 4
    assert table["myocardium_dice_before"].tolist() == pytest.approx([2 / 9, math.nan, 8 / 12], nan_ok=True)
    assert table["myocardium_dice_after"].tolist() == pytest.approx([8 / 10, math.nan, 0], nan_ok=True)
    assert not [column for column in table if column.startswith("rv")]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary["structures"]) == ["epicardium", "myocardium"]
    found = summary["structures"]["epicardium"]
    assert (found["scored"], found["lost by the warp"]) == (2, 1)
    assert found["dice after"]["mean"] == pytest.approx((16 / 18 + 0) / 2)
    assert found["dice before"]["sd"] == pytest.approx(np.std([2 / 3, 16 / 18]))
    assert found["hd95 after"]["mean"] == pytest.approx(4)
    assert "0.778 → 0.444 ± 0.444" in capsys.readouterr().out


def test_a_table_of_nothing_scored_has_no_numbers(tmp_path):
    evaluate([registrations((10, 10, 0))], RegistrationTable(tmp_path, {}))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["scored"] == 0
    assert summary["all"]["dice after"] is None


@pytest.mark.parametrize(("interval", "expected"), [(3, [0, 3, 6, 7]), (7, [0, 7]), (10, [0, 7])])
def test_validation_at_the_start_at_intervals_and_at_the_end(interval, expected):
    trainer, seen = Engine(lambda *_: None), []
    handler = IntervalValidation(interval=interval)
    handler.validator = type("Validator", (), {"run": lambda self, epoch: seen.append(trainer.state.iteration)})()
    handler.attach(trainer)
    trainer.run(range(7), epoch_length=7)
    assert seen == expected


@pytest.mark.parametrize("batches", [1, 3, 9])
def test_a_few_registrations_are_shown_however_they_are_batched(tmp_path, batches):
    with SummaryWriter(str(tmp_path)) as writer:
        handler = RegistrationPictures(writer, tmp_path / "pictures.png", step=lambda: 5, count=4)
        handler.rows.append({})
        evaluate([registrations(*[(10, 10, 10)] * 6) for _ in range(batches)], handler)
    assert len(handler.rows) == 4
    events = EventAccumulator(str(tmp_path)).Reload()
    (shown,) = events.Images("registrations")
    assert shown.step == 5
    pixels = [
        np.asarray(Image.open(file)) for file in (tmp_path / "pictures.png", io.BytesIO(shown.encoded_image_string))
    ]
    assert np.array_equal(*pixels)
    assert pixels[0].std() > 20


def test_picture_of_one_row_has_all_panels():
    _, output = registrations((10, 8, 9))
    row = {key: output["pred"]["warped"][0, 0].numpy() for key in ("fixed", "moving", "warped")}
    figure = picture([{**row, "ddf": output["pred"]["ddf"][0].numpy()}])
    titles = ["fixed", "moving", "warped", "fixed − moving", "fixed − warped", "warped grid"]
    assert [ax.get_title() for ax in figure.axes] == titles


def test_a_registration_is_found_in_its_list_and_made():
    names = ("moving", "fixed", "moving_lumen", "fixed_lumen")
    lists = [
        [
            {**{name: torch.rand(1, 16, 16) for name in names}, "patient": f"{n}{k}", "slice": 0, "direction": ""}
            for k in range(2)
        ]
        for n in range(2)
    ]
    still = DIRNet().eval()
    rows = [rows_of_registration(lists, index, still, RegistrationInferer(), "cpu")[0] for index in range(4)]
    assert [row["title"].split(",")[0] for row in rows] == ["00", "01", "10", "11"]
    assert np.allclose(rows[3]["warped"], lists[1][1]["moving"][0], atol=1e-6)
    assert (rows[3]["warped_masks"][0] == (lists[1][1]["moving_lumen"][0].numpy() > 0.5)).all()


@pytest.mark.parametrize(
    ("where", "crop", "expected"),
    [
        ((10, 20), 8, (6, 14, 16, 24)),
        ((0, 39), 8, (0, 8, 32, 40)),
        ((10, 20), 100, (0, 30, 0, 40)),
        (None, 8, (0, 30, 0, 40)),
    ],
)
def test_window_lies_around_the_mask_and_in_the_image(where, crop, expected):
    mask = np.zeros((30, 40))
    if where:
        mask[where] = 1
    rows, columns = window_around(mask, mask.shape, crop)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": "abc"}, "learning_rate must be a number above 0, got 'abc'"),
        ({"learning_rate": math.nan}, "learning_rate must be a number above 0, got nan"),
        ({"learning_rate": -1}, "learning_rate must be a number above 0, got -1"),
        ({"iterations": "abc"}, "iterations must be a whole number from 1, got 'abc'"),
        ({"iterations": 1e3}, "iterations must be a whole number from 1, got 1000.0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, got 0"),
    ],
)
def test_a_setting_that_is_no_number_is_named(tmp_path, settings, message):
    good = {"iterations": 20, "batch_size": 4, "learning_rate": 0.01}
    check_run(tmp_path, False, {"settings": good})
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_run(tmp_path, False, {"settings": good | settings})


def test_a_training_that_has_lost_its_settings_is_not_resumed(tmp_path):
    about = {"settings": {"seed": 0}, "datalist": {"training": []}}
    torch.save({}, tmp_path / "last.pt")
    (tmp_path / "settings.json").write_text('{"seed": 0}')
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}' holds no datalist\.json, .*put it back, or start anew"):
        check_run(tmp_path, True, about)
    (tmp_path / "datalist.json").write_text('{"training":')
    with pytest.raises(ValueError, match=rf"{tmp_path}/datalist\.json is damaged, .*put it back, or start anew"):
        check_run(tmp_path, True, about)
    (tmp_path / "datalist.json").write_text('{"training": []}')
    check_run(tmp_path, True, about)


def test_an_interrupted_training_says_how_to_go_on_once_it_has_saved(tmp_path):
    state = TrainingState(tmp_path, None, None, None, None, None, interval=5)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        state.stop(None, KeyboardInterrupt())
    (tmp_path / "last.pt").touch()
    with pytest.raises(KeyboardInterrupt, match=r"the same command and --resume True resumes .*, at most 5 iterations"):
        state.stop(None, KeyboardInterrupt())
    with pytest.raises(ValueError, match=r"^other$"):
        state.stop(None, ValueError("other"))
