"""How the viewer shows images, in Chromium: window, zoom, two frames, all slices, names, and narrow screens."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pydicom
import pytest
from PIL import Image

from app.viewer.access import Access
from app.viewer.server import make_app
from dirnet.cine.plane import longest_extents
from dirnet.cine.saving import write_masks
from tests.app.viewer.reading import LUMEN, Reader, served


@pytest.fixture
def followed(reader, cines, tmp_path):
    """The reader, with both slices drawn at end-diastole and followed."""
    masks = np.zeros_like(cines.lumens)
    masks[:, cines.ed] = cines.lumens[:, cines.ed]
    write_masks(tmp_path / "lumen.nii.gz", masks, cines.stack)
    reader.page.set_input_files("#mask", tmp_path / "lumen.nii.gz")
    reader.page.locator("#status:has-text('lumen drawn on')").wait_for()
    reader.press("p")
    reader.page.locator("#status:has-text('Followed')").wait_for()
    return reader


def window(page):
    found = re.fullmatch(r"W ([\d−.]+) · L ([\d−.]+)", page.locator("#grey").inner_text())
    return tuple(float(number.replace("−", "-")) for number in found.groups())


def drag(page, start, steps, button="left"):
    page.mouse.move(*start)
    page.mouse.down(button=button)
    page.mouse.move(start[0] + steps[0], start[1] + steps[1], steps=5)
    page.mouse.up(button=button)


def middle(page, part="#stage"):
    box = page.locator(part).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def amount(view, colour):
    return int((np.abs(view - colour).sum(2) < 60).sum())


def test_the_window_is_dragged_and_reset(reader):
    page, before = reader.page, reader.see()
    wide, level = window(page)
    start = middle(page)
    drag(page, start, (100, 0), "right")
    assert window(page) == (pytest.approx(wide * 4 / 3, abs=1), level)
    drag(page, start, (0, -150), "right")
    assert window(page) == (pytest.approx(wide * 4 / 3, abs=1), pytest.approx(level - wide / 2, abs=1))
    assert reader.see()[60:-60].mean() > before[60:-60].mean() + 20  # up is brighter
    assert float(page.locator("#width").input_value()) == pytest.approx(wide * 4 / 3, abs=1)
    reader.press("r")
    assert window(page) == (wide, level)
    assert np.array_equal(reader.see(), before)

    reader.press("w")
    drag(page, start, (-60, 30))
    assert window(page) == (pytest.approx(wide * 0.8, abs=1), pytest.approx(level + wide / 10, abs=1))
    page.mouse.dblclick(*start)
    assert window(page) == (wide, level)
    reader.press("w")
    page.locator("#level").fill(str(round(level) + 100))
    assert window(page)[1] == pytest.approx(level + 100, abs=1)
    page.mouse.dblclick(*start)
    assert np.array_equal(reader.see(), before)
    drag(page, start, (80, 40))  # without the mode the image moves
    assert window(page) == (wide, level)
    assert not np.array_equal(reader.see(), before)
    reader.press("h")
    assert np.array_equal(reader.see(), before)
    reader.press("+")
    reader.press("Shift+ArrowRight")
    assert not np.array_equal(reader.see(), before)
    reader.press("0")
    assert np.array_equal(reader.see(), before)


def test_slices_in_small_tell_what_is_drawn(followed, cines):
    page = followed.page
    buttons = page.locator("#slices button")
    assert [buttons.nth(k).inner_text() for k in (0, 1)] == ["1", "2"]
    assert [buttons.nth(k).get_attribute("data-end") for k in (0, 1)] == ["base", "apex"]
    assert buttons.nth(0).get_attribute("aria-label").startswith("slice 1, base, a contour is drawn here")
    for frame in (cines.ed, (cines.ed + 4) % 10):
        followed.go_to(frame)
        page.wait_for_timeout(100)
        for number in (0, 1):
            canvas = page.locator(f"#slices [data-slice='{number}'] canvas")
            picture = base64.b64decode(canvas.evaluate("c => c.toDataURL()").split(",")[1])
            seen = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
            yellow = np.argwhere(np.abs(seen - LUMEN).sum(2) < 120)
            lumen = np.argwhere(cines.lumens[number, frame])
            assert np.abs(yellow.mean(0) - lumen.mean(0)).max() < 2
    assert page.locator("#where").inner_text().endswith("slice 2 of 2, apex")
    assert page.locator("#stored").inner_text() == f"in files: slice 0, frame {followed.frame()}"
    followed.press("g")
    assert not page.locator("#stage").is_visible()
    box = page.locator("#slices button").last.bounding_box()
    assert box["width"] > 250
    page.locator("#slices button").first.click()
    followed.press("g")
    assert followed.slice() == 1
    assert page.locator("#stage").is_visible()


def test_two_frames_side_by_side(followed, cines):
    page, lumens = followed.page, cines.lumens
    es = int(lumens.sum((0, 2, 3)).argmin())
    followed.go_to(3)
    followed.press("t")
    page.wait_for_timeout(200)
    assert followed.frame() == cines.ed
    assert page.locator("#other-shown").inner_text().split(",")[0] in {f"frame {es + k}" for k in (0, 1, 2)}
    number = int(page.locator("#other-frame").input_value())
    boxes = [page.locator(part).bounding_box() for part in ("#stage", "#other")]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"], abs=2)
    assert boxes[0]["x"] < boxes[1]["x"]
    # a click on the second makes it the one to draw on, where it is
    page.mouse.click(*middle(page, "#other"))
    page.wait_for_timeout(200)
    assert followed.frame() == number - 1
    boxes = [page.locator(part).bounding_box() for part in ("#stage", "#other")]
    assert boxes[0]["x"] > boxes[1]["x"]
    assert page.locator("#other-frame").input_value() == str(cines.ed + 1)
    # scrolled apart, zoomed together, and played together
    page.locator("#other-frame").fill("1")
    assert page.locator("#other-shown").inner_text().startswith("frame 1,")
    assert followed.frame() == number - 1
    views = [followed.see(part) for part in ("#stage", "#other")]
    followed.press("+", 2)
    for part, view in zip(("#stage", "#other"), views, strict=True):
        assert not np.array_equal(followed.see(part)[40:-40], view[40:-40])
    followed.press("Space")
    page.wait_for_timeout(400)
    followed.press("Space")
    assert page.locator("#other-frame").input_value() == str((followed.frame() - number + 1) % 10 + 1)
    followed.press("t")
    assert not page.locator("#other-pane").is_visible()


def test_the_name_can_be_hidden(reader):
    page = reader.page
    assert "Phantom SCD0000101" in page.locator("#study").inner_text()
    assert "86 / min" in page.locator("#study").inner_text()
    reader.press("n")
    assert "Phantom" not in page.locator("#study").inner_text()
    assert "short axis" in page.locator("#study").inner_text()


def test_narrow_screens_show_all(followed):
    page = followed.page
    for width, height in ((1024, 700), (820, 1180), (600, 900)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for part in ("#stage", "#ef", "#curve", "#save", "#width"):
            box = page.locator(part).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, part
        assert page.locator("#stage").bounding_box()["height"] > 250
    page.set_viewport_size({"width": 1024, "height": 700})
    before = page.locator("#stage").bounding_box()
    page.evaluate("document.getElementById('status').textContent = 'Saved in ' + 'somewhere, '.repeat(60)")
    assert page.locator("#stage").bounding_box() == before
    page.click("#compare")
    legend, stored = (page.locator(part).bounding_box() for part in ("#legend .followed", "#stored"))
    assert legend["x"] + legend["width"] <= stored["x"] or legend["y"] + legend["height"] <= stored["y"]
    assert legend["height"] < 25  # on one line
    page.evaluate(
        "() => { const row = document.getElementById('slices'); "
        "while (row.children.length < 12) row.append(row.firstChild.cloneNode(true)); }"
    )
    assert page.evaluate("(row => row.scrollWidth - row.clientWidth)(document.getElementById('slices'))") == 0


def test_fingers_zoom_and_move(page, address, cines):
    page.goto(address)
    page.click("#cines li:first-child button")
    page.locator("#status:has-text('2 slices, 10 frames')").wait_for()
    page.wait_for_timeout(200)
    session = page.context.new_cdp_session(page)
    x, y = middle(page)

    def touch(kind, *points):
        at = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    def see():
        page.wait_for_timeout(100)
        return page.locator("#stage").screenshot()

    before = see()
    touch("touchStart", (x - 50, y), (x + 50, y))
    for k in range(1, 6):
        touch("touchMove", (x - 50 - 10 * k, y), (x + 50 + 10 * k, y))
    touch("touchEnd")
    zoomed = see()
    assert zoomed != before
    page.keyboard.press("h")
    assert see() == before
    touch("touchStart", (x, y))
    for k in range(1, 6):
        touch("touchMove", (x + 10 * k, y))
    touch("touchEnd")
    assert see() != before


@pytest.mark.parametrize("description", ["cine_4ch", ""])
def test_a_long_axis_cine_has_lengths_and_no_volumes(page, cines, registrar, tmp_path, description):
    for path in cines.series.iterdir():
        dataset = pydicom.dcmread(path)
        if int(dataset.InstanceNumber) <= 10:
            dataset.SeriesDescription = description
            dataset.save_as(tmp_path / path.name)
    access = Access()
    with served(make_app(tmp_path, registrar, tmp_path / "out", access)) as place:
        page.goto(f"{place}/?token={access.token}")
        page.click("#cines li button")
        page.locator("#status:has-text('1 slice, 10 frames')").wait_for()
        assert ("long axis" in page.locator("#study").inner_text()) == bool(description)
        reader = Reader(page, cines.lumens.shape[2:])
        reader.go_to(cines.ed)
        page.click("#draw")
        reader.draw(cines.lumens[1, cines.ed])
        reader.press("Enter")
        reader.press("p")
        page.locator("#status:has-text('Followed')").wait_for()
        assert page.locator("#extent").inner_text().startswith("One plane: no volumes")
        assert page.locator("#ef-name").inner_text() == "Change of length"
        lengths = longest_extents(cines.lumens[1], cines.stack.spacing)
        shown = float(page.locator("#edv").inner_text().removesuffix(" mm"))
        assert shown == pytest.approx(lengths[cines.ed], abs=2)
        assert page.locator("[value=volume]").is_disabled()
        page.locator("[value=length]").check()
        assert page.locator("#curve").inner_text().strip() == "" or page.locator("#curve canvas").is_visible()
        page.click("#save")
        page.locator("#status:has-text('numbers.json')").wait_for()
        numbers = json.loads(next((tmp_path / "out").rglob("*_numbers.json")).read_text())
        assert numbers["ejection_fraction_percent"] is None
        assert numbers["plane_length_end_diastole_mm"] == pytest.approx(shown, abs=0.5)


def test_cines_of_one_study_stand_together(page, cines, registrar, tmp_path):
    for name, study in (("a/4ch", "1.2.1"), ("a/sax", "1.2.1"), ("b/sax", "1.2.2")):
        (tmp_path / name).mkdir(parents=True)
        for path in cines.series.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.{ord(name[2])}"
            dataset.save_as(tmp_path / name / path.name)
    access = Access()
    with served(make_app(tmp_path, registrar, tmp_path / "out", access)) as place:
        page.goto(f"{place}/?token={access.token}")
        page.locator("#cines button").first.wait_for()
        assert page.locator("#cines .study").count() == 1
        assert page.locator("#cines .study > b").inner_text() == "a"
        assert page.locator("#cines .study button b").all_inner_texts() == ["whole folder", "4ch", "sax"]
        page.fill("#find", "4ch")
        assert page.locator("#cines button:visible").count() == 1
        page.fill("#find", "b/")
        assert page.locator("#cines button:visible").all_inner_texts() == ["b\nsax"]
