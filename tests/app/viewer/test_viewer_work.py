"""A reader's work in Chromium: structures, a mended frame, undo, phases; and all of it there again after a stop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from app.viewer.access import Access
from app.viewer.server import make_app
from tests.app.viewer.reading import EPICARDIUM, LUMEN, Reader, served


def volume(page):
    return float(page.locator("#edv").inner_text().removesuffix(" ml"))


@pytest.fixture
def drawn(reader, cines):
    """Lumen and epicardium drawn at end-diastole, and followed."""
    lumen = cines.lumens[0, cines.ed] > 0
    reader.press("1")
    reader.press("d")
    reader.draw(lumen)
    reader.press("Enter")
    reader.press("2")
    reader.press("d")
    reader.draw(binary_dilation(lumen, iterations=6))
    reader.press("Enter")
    reader.press("p")
    assert reader.status().startswith("Followed through 10 frames")
    return reader


def drag(reader, mask, by):
    """The line of a contour from the middle of its right side, by pixels to the right."""
    rows, columns = np.nonzero(mask)
    x, y = columns.max() + 0.5, float(rows.mean())
    box, scale, (left, top) = reader.scale()
    start = box["x"] + left + x * scale, box["y"] + top + y * scale
    reader.page.mouse.move(*start)
    reader.page.mouse.down()
    for step in range(1, 6):
        reader.page.mouse.move(start[0] + by * scale * step / 5, start[1])
    reader.page.mouse.up()


def test_a_followed_contour_is_mended_and_the_rest_follows(drawn, cines, dice):
    page, ed = drawn.page, cines.ed
    frame = (ed + 4) % 10
    drawn.press("1")
    drawn.go_to(frame)
    before = drawn.enclosed(LUMEN)
    drawn.go_to(frame + 1 if frame < 9 else 0)
    beside = drawn.enclosed(LUMEN)
    drawn.go_to(frame)
    drag(drawn, before, 5)
    page.locator("#undo:not([disabled])").wait_for()
    assert "ollow" in drawn.status()  # mended and followed, or being so
    page.wait_for_timeout(1500)
    mended = drawn.enclosed(LUMEN)
    assert mended.sum() > before.sum() + 10
    drawn.go_to(frame + 1 if frame < 9 else 0)
    assert drawn.enclosed(LUMEN).sum() > beside.sum()
    drawn.go_to(ed)
    assert dice(drawn.enclosed(LUMEN), cines.lumens[0, ed] > 0) > 0.95  # as it was drawn
    drawn.go_to(frame)
    drawn.press("Control+z")
    page.wait_for_timeout(1500)
    assert dice(drawn.enclosed(LUMEN), before) > 0.98
    drawn.press("Control+y")
    page.wait_for_timeout(1500)
    assert dice(drawn.enclosed(LUMEN), mended) > 0.98


def test_work_is_there_again_after_the_server_was_stopped(page, cines, registrar, tmp_path, dice):
    """Drawn contours, phases and slices left out, as they were; another cine in between loses nothing."""
    access = Access()
    lumen = cines.lumens[1, cines.ed] > 0

    def opened(place):
        page.goto(f"{place}/?token={access.token}")
        page.click("#cines li:first-child button")
        page.locator("#status:not(.busy)").wait_for()
        return Reader(page, cines.lumens.shape[2:])

    with served(make_app(cines.folder, registrar, tmp_path, access)) as place:
        reader = opened(place)
        page.locator("#status:has-text('2 slices, 10 frames')").wait_for()
        reader.go_to(cines.ed)
        reader.press("d")
        reader.draw(lumen)
        reader.press("Enter")
        reader.press("p")
        assert reader.status().startswith("Followed")
        reader.press("o")  # this slice is left out at end-systole
        page.wait_for_timeout(300)
        page.click("#cines li:nth-child(2) button")
        page.locator("#status:not(.busy)").wait_for()
        page.wait_for_timeout(2000)
    (file,) = tmp_path.rglob("CINESAX_300_session.json")
    kept = json.loads(file.read_text())
    assert [(one["structure"], one["frame"]) for one in kept["contours"]] == [("lumen", cines.ed)]
    assert kept["left_out_es"] == [kept["contours"][0]["slice"]]
    with served(make_app(cines.folder, registrar, tmp_path, access)) as place:
        reader = opened(place)
        page.locator("#edv:not(:has-text('–'))").wait_for()  # followed again by itself
        assert reader.slice() == kept["contours"][0]["slice"]
        reader.go_to(cines.ed)
        assert dice(reader.enclosed(LUMEN), lumen) > 0.95
        assert page.locator("#esv").inner_text() == "0 ml"


def test_structures_have_colours_of_their_own_and_save_together(drawn, cines, dice, tmp_path):
    lumen = cines.lumens[0, cines.ed] > 0
    drawn.go_to(cines.ed)
    assert dice(drawn.enclosed(EPICARDIUM), binary_dilation(lumen, iterations=6)) > 0.93
    drawn.page.click("#save")
    drawn.page.locator("#status:has-text('Saved in')").wait_for()
    about = json.loads(next(tmp_path.rglob("CINESAX_300_masks.json")).read_text())
    assert about["drawn"] == {"lumen": {"0": [cines.ed]}, "epicardium": {"0": [cines.ed]}}
    numbers = json.loads(next(tmp_path.rglob("CINESAX_300_numbers.json")).read_text())
    assert numbers["structures"] == ["lumen", "epicardium"]
    assert round(numbers["end_diastolic_volume_ml"]) == volume(drawn.page)
