import numpy as np
import pytest
from PIL import Image

from dirnet.cine.pictures import BAR, BLUE, YELLOW, curve_figure, save_animation

NAN = np.nan


def cine(frames=6, size=(60, 90)):
    """A shrinking square at rows 20.., columns 50.. of a dark image, the last frame without a contour."""
    images = np.random.default_rng(0).random((frames, *size), np.float32) * 0.3
    masks = np.zeros((frames, *size), bool)
    for frame in range(frames - 1):
        masks[frame, 20 : 36 - frame, 50 : 66 - frame] = True
    return images, masks


def pages(path):
    with Image.open(path) as gif:
        found = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            found.append((np.array(gif.convert("RGB")), gif.info["duration"]))
        assert gif.info["loop"] == 0
        return found


def has(image, colour):
    return (image == colour).all(-1)


def test_animation_has_each_frame_and_its_contour(tmp_path):
    images, masks = cine()
    save_animation(tmp_path / "new" / "cine.gif", images, masks, drawn=2)
    found = pages(tmp_path / "new" / "cine.gif")
    assert len(found) == 6
    assert {duration for _, duration in found} == {50}
    assert [has(image, YELLOW).any() for image, _ in found] == [False, False, True, False, False, False]
    assert [has(image, BLUE).any() for image, _ in found] == [True, True, False, True, True, False]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cine.gif"]


def test_contour_lies_on_the_masks_border(tmp_path):
    """A window of 48 around the square's middle (28, 58), enlarged 7 times: rows from 3, columns from 33."""
    images, masks = cine()
    save_animation(tmp_path / "cine.gif", images, masks, drawn=0)
    image, _ = pages(tmp_path / "cine.gif")[0]
    assert image.shape == (48 * 7 + BAR, 48 * 7, 3)
    rows, columns = np.nonzero(has(image, YELLOW))
    assert (rows.min(), rows.max()) == ((20 - 3) * 7, (36 - 3) * 7 - 1)
    assert (columns.min(), columns.max()) == ((50 - 33) * 7, (66 - 33) * 7 - 1)
    assert not has(image, YELLOW)[rows.min() + 3 : rows.max() - 2, columns.min() + 3 : columns.max() - 2].any()


def test_slices_stand_side_by_side(tmp_path):
    images, masks = cine()
    moved = np.roll(masks, 20, axis=2)
    save_animation(tmp_path / "cine.gif", [images, images], [masks, moved], 0, titles=["slice 1", "slice 2"])
    image, _ = pages(tmp_path / "cine.gif")[0]
    assert image.shape == (48 * 4 + BAR, 2 * 48 * 4, 3)
    for half in (image[:, : 48 * 4], image[:, 48 * 4 :]):  # each in the middle of its own square
        columns = np.nonzero(has(half, YELLOW))[1]
        assert columns.max() - columns.min() == 16 * 4 - 1
        assert half[:20, :60].max() > 200  # its title


def test_equal_frames_are_all_there_and_keep_the_rate(tmp_path):
    images, masks = np.full((7, 40, 30), 0.5), np.zeros((7, 40, 30))
    save_animation(tmp_path / "cine.gif", images, masks, drawn=0, frame_ms=43.7)
    found = pages(tmp_path / "cine.gif")
    assert len(found) == 7
    assert sum(duration for _, duration in found) == pytest.approx(7 * 43.7, abs=5)
    assert {duration for _, duration in found} == {40, 50}
    assert found[0][0].shape == (40 * 8 + BAR, 30 * 8, 3)
    assert np.abs(found[0][0][: 40 * 8].astype(int) - 127).max() <= 2


def test_wrong_animation_is_refused_and_leaves_nothing(tmp_path):
    images, masks = cine()
    for arguments, message in (
        ((images, masks[1:], 0), r"\(6, 60, 90\) and \(5, 60, 90\)"),
        ((images[0], masks[0], 0), r"\(T, H, W\)"),
        ((images, masks, 6), "0 to 5, got 6"),
        ((images, masks, 0, 5), "20 to 60000 ms"),
    ):
        with pytest.raises(ValueError, match=message):
            save_animation(tmp_path / "cine.gif", *arguments)
    assert not list(tmp_path.iterdir())


def test_a_single_curve_is_labelled_with_its_values():
    figure = curve_figure({"LV": [120.0, 80.0, 48.2, NAN]}, "LV volume", "ml", ed=0, es=2)
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("frame", "LV volume, ml")
    assert ax.get_ylim() == pytest.approx((0, 1.08 * 120))  # the mark at end-diastole is whole
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [120, 80, 48.2, NAN])
    (top,) = ax.child_axes
    assert [tick.get_text() for tick in top.get_xticklabels()] == ["ED 120 ml", "ES 48 ml"]
    assert list(top.get_xticks()) == [0, 2]
    assert not figure.legends
    figure = curve_figure({"LV": [0.0, -4.25, -12.64]}, "strain", "%", ed=0, es=2)
    (top,) = figure.axes[0].child_axes
    assert [tick.get_text() for tick in top.get_xticklabels()] == ["ED 0.0 %", "ES −12.6 %"]


def test_many_curves_by_time_are_told_apart():
    curves = {f"slice {k}": np.arange(5.0) - k for k in range(9)}
    times = np.arange(5) * 37.5
    figure = curve_figure(curves, "strain", "%", ed=1, times=times)
    (ax,) = figure.axes
    assert ax.get_xlabel() == "time, ms"
    assert ax.get_ylim()[0] < 0
    drawn = [line for line in ax.lines if line.get_label() in curves]
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 9
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(curves)
    (top,) = ax.child_axes
    assert [(tick.get_text(), place) for tick, place in zip(top.get_xticklabels(), top.get_xticks(), strict=True)] == [
        ("ED", 37.5)
    ]


def test_missing_values_draw_and_wrong_curves_do_not(tmp_path):
    curve_figure({"LV": [NAN, NAN]}, "LV volume", "ml", ed=0).savefig(tmp_path / "curve.png")
    for wrong in (({},), ({"a": [1.0], "b": [1.0, 2.0]},), ({"a": [[1.0]]},)):
        with pytest.raises(ValueError, match="one length"):
            curve_figure(*wrong, "LV volume", "ml")
    with pytest.raises(ValueError, match="one length"):
        curve_figure({"a": [1.0, 2.0]}, "LV volume", "ml", times=[0.0])
    with pytest.raises(ValueError, match="0 to 1"):
        curve_figure({"a": [1.0, 2.0]}, "LV volume", "ml", es=2)
