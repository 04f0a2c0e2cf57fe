"""The viewer in Chromium, as a reader uses it: what is judged is what is on the screen."""

from __future__ import annotations

import os
import re
import shutil
import time

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from app.viewer.access import Access
from app.viewer.server import make_app
from app.viewer.shown import Shown
from dirnet.cine.saving import write_masks
from tests.app.viewer.reading import LUMEN, MOTION, Reader, served


def test_a_drawn_contour_is_followed(reader, cines, dice):
    page, lumens, ed = reader.page, cines.lumens, cines.ed
    page.click("#draw")
    reader.draw(lumens[0, ed])
    reader.press("Enter")
    drawn = reader.enclosed(LUMEN)
    assert dice(drawn, lumens[0, ed]) > 0.95
    page.click("#propagate")
    assert reader.status().startswith("Followed through 10 frames")
    for frame in (0, 2, 4, 6, ed):
        reader.go_to(frame)
        assert dice(reader.enclosed(LUMEN), lumens[0, frame]) > 0.8, frame
    reader.go_to(ed)
    # what is drawn is what is measured: the pixels, whose area is in the panel
    area = float(page.locator("#area").inner_text().removesuffix(" cm²"))
    assert area == pytest.approx(drawn.sum() * np.prod(cines.stack.spacing) / 100, rel=0.06)
    volume = lumens[0].sum((1, 2))
    fraction = float(page.locator("#ef").inner_text().removesuffix(" %"))
    assert fraction == pytest.approx(100 * (1 - volume.min() / volume.max()), abs=8)
    assert page.locator("#extent").inner_text().startswith("Of one slice alone, of 2")
    assert page.locator("#ed").inner_text() == f"frame {ed + 1}"

    # blink: fixed and warped frame by turns
    reader.go_to(int(volume.argmin()))
    frames, labels = set(), set()
    reader.press("b")
    end = time.monotonic() + 5
    while min(len(labels), len(frames)) < 2 and time.monotonic() < end:
        frames.add(reader.see()[100:].tobytes())
        labels.add(page.locator("#shown").inner_text())
    shown = volume.argmin() + 1
    assert labels == {f"frame {shown}", f"drawn frame warped onto {shown}"}
    assert len(frames) > 1
    reader.press("b")

    # motion: arrows, grid, none
    seen = []
    for mode in ("off", "arrows", "grid", "off"):
        assert page.locator("#field-mode").inner_text() == mode
        seen.append(reader.see()[60:-60])
        reader.press("f")
    orange = [(np.abs(view - MOTION).sum(2) < 60).sum() for view in seen]
    assert orange[1] > 100
    assert (seen[2] != seen[1]).any()
    assert (seen[2] != seen[0]).any()
    assert np.array_equal(seen[3], seen[0])

    # a click on the curve goes to that frame
    box = page.locator("#curve .u-over").bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + 40)
    assert reader.frame() == 0
    page.click("#save")
    assert "CINESAX_300_masks.nii.gz" in reader.status()
    page.click("#save")
    page.locator("#question").wait_for()
    page.click("#question-yes")
    page.locator("#status:has-text('Saved in')").wait_for()


def test_points_are_drawn_on_their_pixels_and_corrected(reader, cines):
    page = reader.page
    wide, level = Shown.of(cines.stack).window
    expected = 255 * np.clip((cines.stack.images[0, cines.ed] - level) / wide + 0.5, 0, 1)
    inside = (slice(16, -12), slice(12, -12))  # clear of the writing in the corners
    assert np.abs(reader.at_pixels(reader.see())[..., 0] - expected)[inside].mean() < 3
    corners = [(40, 30), (70, 30), (70, 60), (40, 60)]
    reader.press("d")
    for corner in corners:
        reader.click(*corner)
    reader.click(*corners[0])  # closes it
    square = reader.enclosed(LUMEN).sum()
    assert square > 0.9 * 30 * 30
    box, scale, (left, top) = reader.scale()
    screen = [(box["x"] + left + x * scale, box["y"] + top + y * scale) for x, y in [*corners, (90, 20)]]
    page.mouse.move(*screen[1])
    page.mouse.down()
    page.mouse.move(*screen[4], steps=4)
    page.mouse.up()
    assert reader.enclosed(LUMEN).sum() > square + 100
    reader.click(90, 20, button="right")  # a point less
    triangle = reader.enclosed(LUMEN).sum()
    assert triangle < 0.85 * square
    reader.press("d")
    reader.click(10, 10)
    reader.press("Escape")
    assert reader.enclosed(LUMEN).sum() == triangle
    reader.click(40, 30, button="right")
    assert reader.enclosed(LUMEN).sum() == 0
    assert page.locator("#propagate").is_disabled()


def test_the_page_stays_open_to_who_had_the_token(reader, address):
    page = reader.page
    bare = address.split("?")[0]
    page.goto(bare)
    page.locator("#cines li").first.wait_for()
    page.context.clear_cookies()
    assert page.goto(bare).status == 403
    assert page.locator("body").inner_text().startswith("open the viewer by the address that 'dirnet view' has written")
    page.goto(address)
    page.locator("#cines li").first.wait_for()
    page.context.clear_cookies()  # as when the server has started anew
    page.click("#cines li:first-child button")
    page.locator("#status.wrong:has-text('open the viewer by the address')").wait_for()


def test_keys(reader):
    page = reader.page
    reader.go_to(8)
    reader.press("ArrowRight", 2)
    assert reader.frame() == 0
    reader.press("ArrowLeft", 3)
    assert reader.frame() == 7
    reader.press("ArrowUp", 2)
    assert reader.slice() == 1
    reader.press("ArrowDown")
    assert reader.slice() == 0
    before = reader.see()
    reader.press("Space")
    frames = {reader.frame() for _ in range(8) if page.wait_for_timeout(60) is None}
    assert len(frames) > 2
    reader.press("Space")
    stopped = reader.frame()
    page.wait_for_timeout(200)
    assert reader.frame() == stopped
    reader.go_to(7)
    assert np.array_equal(reader.see(), before)
    page.mouse.move(*(page.locator("#stage").bounding_box()[side] + 200 for side in "xy"))
    page.mouse.wheel(0, -300)
    assert (reader.see() != before).any()
    reader.press("0")
    assert np.array_equal(reader.see(), before)
    reader.press("?")
    assert page.locator("#help").is_visible()
    reader.press("Escape")
    assert not page.locator("#help").is_visible()


def test_a_mask_is_loaded_and_errors_are_shown(reader, cines, dice, tmp_path):
    page, ed = reader.page, cines.ed
    masks = np.zeros_like(cines.lumens)
    masks[:, ed] = cines.lumens[:, ed]
    write_masks(tmp_path / "lumen.nii.gz", masks, cines.stack)
    page.set_input_files("#mask", tmp_path / "lumen.nii.gz")
    assert "drawn on 2 of 2 slices" in reader.status()
    for number in (0, 1):
        reader.go_to_slice(number)
        assert dice(reader.enclosed(LUMEN), cines.lumens[number, ed]) > 0.97
    reader.press("p")
    assert reader.status().startswith("Followed")
    assert page.locator("#extent").inner_text() == "Sum of discs over all 2 slices."
    small = sitk.GetImageFromArray(np.ones((5, 6), np.uint8))
    sitk.WriteImage(small, tmp_path / "small.nii.gz")
    page.set_input_files("#mask", tmp_path / "small.nii.gz")
    assert reader.status().startswith("small.nii.gz: has no place in space")
    assert "wrong" in page.locator("#status").get_attribute("class")


@pytest.fixture
def mask(cines, tmp_path):
    """A file of the lumens at end-diastole, which names no frame."""
    write_masks(tmp_path / "lumen.nii.gz", cines.lumens, cines.stack)
    sitk.WriteImage(sitk.ReadImage(tmp_path / "lumen.nii.gz")[..., cines.ed], tmp_path / "lumen.nii.gz")
    return tmp_path / "lumen.nii.gz"


def hold(page, address):
    """The requests to an address, which wait until they are sent on by :func:`let`."""
    held = []
    page.route(address, lambda route: held.append(route))
    return held


def let(page, held, **answer):
    """Answer the first request that is held, or send it on, and wait for what comes of it."""
    deadline = time.monotonic() + 10
    while not held and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    route = held.pop(0)
    with page.expect_response(route.request.url):
        route.fulfill(**answer) if answer else route.continue_()
    page.wait_for_timeout(100)
    return route.request


def test_a_mask_is_taken_for_the_frame_it_was_asked_for(reader, mask):
    page = reader.page
    held = hold(page, "**/mask?*")
    reader.go_to(3)
    page.click("#play")
    page.wait_for_timeout(150)
    page.set_input_files("#mask", mask)
    asked = reader.frame()
    page.wait_for_timeout(300)
    assert reader.frame() == asked  # the player has stopped
    assert f"frame={asked}" in held[0].request.url
    reader.go_to((asked + 4) % 10)
    page.click("#play")
    let(page, held)
    assert reader.status().endswith(f"2 of 2 slices, frame {asked + 1}. Click on a contour to correct it.")
    assert reader.frame() == asked
    page.wait_for_timeout(200)
    assert reader.frame() == asked
    assert reader.enclosed(LUMEN).any()


def test_a_mask_that_comes_too_late_is_dropped(reader, mask):
    page = reader.page
    held = hold(page, "**/mask?*")
    page.set_input_files("#mask", mask)
    page.click("#draw")  # it is begun, and goes on
    reader.click(40, 30)
    let(page, held)
    assert reader.status() == "lumen.nii.gz was not taken: the drawing has changed since."
    for corner in ((70, 30), (70, 60)):
        reader.click(*corner)
    reader.press("Enter")
    assert page.locator("#slices .has-contour").count() == 1

    page.set_input_files("#mask", mask)
    page.set_input_files("#mask", shutil.copy(mask, mask.with_name("last.nii.gz")))
    page.wait_for_timeout(100)
    let(page, held)
    let(page, held)
    assert reader.status().startswith("last.nii.gz: lumen drawn on 2")

    page.set_input_files("#mask", mask)
    page.click("#cines li:nth-child(2) button")
    page.locator("#where:has-text('SCD0000201')").wait_for()
    let(page, held)
    assert "Draw the lumen on one frame" in reader.status()
    assert page.locator("#propagate").is_disabled()


def test_what_is_asked_of_one_cine_does_not_reach_another(reader, mask):
    page = reader.page
    page.set_input_files("#mask", mask)
    page.locator("#status:has-text('lumen drawn on')").wait_for()
    reader.press("p")
    page.locator("#status:has-text('Followed')").wait_for()
    saves = hold(page, "**/save")
    page.click("#save")
    cines = hold(page, re.compile("/api/cines/[^/]+$"))
    page.click("#cines li:nth-child(2) button")
    page.click("#clear")
    page.click("#draw")
    reader.click(40, 30)
    let(page, cines)
    page.locator("#where:has-text('SCD0000201')").wait_for()
    assert page.locator("#draw").get_attribute("aria-pressed") == "false"  # it was begun on the cine before

    first = let(page, saves, status=409, json={"detail": "there are results"})
    question = page.locator("#question-text").inner_text()
    assert question == "SCD0000101 / CINESAX_300: there are results: replace?"
    page.click("#question-yes")
    second = let(page, saves, json={"folder": "there", "files": ["it"]})
    assert second.url == first.url
    assert second.post_data_json == {**first.post_data_json, "overwrite": True}
    assert reader.status() == "Saved in there: it"


def test_a_study_offers_its_cines_and_doubts_are_shown(page, cines, registrar, tmp_path):
    shutil.copytree(cines.series, tmp_path / "study" / "one")
    for file in sorted(cines.series.iterdir()):
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3.77", 77
        dataset.save_as(tmp_path / "study" / "one" / f"again_{file.name}")
    access = Access()
    with served(make_app(tmp_path, registrar, tmp_path / "out", access)) as place:
        page.goto(f"{place}/?token={access.token}")
        page.click("#cines li button")
        page.locator("#status:has-text('holds 2 cines: choose one')").wait_for()
        page.click("#cines li li:has-text('77') button")
        page.locator("#status:has-text('2 slices, 10 frames')").wait_for()
        reader = Reader(page, cines.lumens.shape[2:])
        labels = np.where(cines.lumens > 0, 3, 1).astype(np.uint8)
        labels[:, [t for t in range(labels.shape[1]) if t != cines.ed]] = 0
        image = sitk.GetImageFromArray(labels.transpose(1, 0, 2, 3), isVector=False)
        write_masks(tmp_path / "labels.nii.gz", labels > 0, cines.stack)
        image.CopyInformation(sitk.ReadImage(tmp_path / "labels.nii.gz"))
        sitk.WriteImage(image, tmp_path / "labels.nii.gz")
        page.set_input_files("#mask", tmp_path / "labels.nii.gz")
        page.locator("#status:has-text('which is the lumen? Labels:')").wait_for()
        page.fill("#labels", "acdc")
        page.set_input_files("#mask", tmp_path / "labels.nii.gz")
        page.locator("#status:has-text('drawn on 2 of 2 slices')").wait_for()
        page.click("#propagate")
        page.locator("#status:has-text('Followed through 10 frames')").wait_for()
        assert "drawn on 2 of 2 slices: the volumes" in page.locator("#warnings").inner_text()
        assert reader.frame() == cines.ed


def test_the_only_cine_opens_by_itself(page, cines, registrar, tmp_path):
    """With the work that was done on it; of files that have changed since only if the reader says so."""
    series = shutil.copytree(cines.series, tmp_path / "study" / "one")
    access = Access()
    lumen = cines.lumens[1, cines.ed] > 0

    def loaded(status):
        page.goto(f"{place}/?token={access.token}")
        page.locator(f"#status:has-text('{status}')").wait_for()
        return Reader(page, cines.lumens.shape[2:])

    with served(make_app(tmp_path, registrar, tmp_path / "out", access)) as place:
        reader = loaded("2 slices, 10 frames")
        reader.go_to(cines.ed)
        reader.press("d")
        reader.draw(lumen)
        reader.press("Enter")
        page.locator("#kept[data-state=kept]").wait_for()
        kept = (tmp_path / "out" / "study" / "one_session.json").read_bytes()
        reader = loaded("restored")
        assert reader.frame() == cines.ed
        assert page.locator("#slices .has-contour").count() == 1
        os.utime(next(series.iterdir()))
        page.goto(f"{place}/?token={access.token}")
        page.locator("#question[open]").wait_for()
        assert "have changed since the work" in page.locator("#question-text").inner_text()
        reader.press("Escape")
        page.locator("#status:has-text('Draw the lumen')").wait_for()
        assert (tmp_path / "out" / "study" / "one_session.json").read_bytes() == kept
    assert page.messages == []


def test_what_is_drawn_stays_when_a_cine_is_chosen_twice(reader, address):
    page = reader.page
    held = hold(page, re.compile("/api/cines/[^/]+$"))
    for _ in range(2):
        page.click("#cines li:nth-child(2) button")
    let(page, held)
    page.locator("#where:has-text('SCD0000201')").wait_for()
    reader.wait()
    reader.press("d")
    reader.click(40, 30)
    if held:
        let(page, held)
    assert page.locator("#draw").get_attribute("aria-pressed") == "true"
    assert page.locator("#undo").is_enabled()


def test_several_cines_wait_to_be_chosen(page, address):
    page.goto(address)
    page.locator("#cines button").nth(2).wait_for()
    page.wait_for_timeout(200)
    assert page.locator("#status").inner_text() == "Choose a cine."


def test_the_slices_beside_are_there_before_they_are_asked_for(page, address):
    page.goto(address)
    with page.expect_response(re.compile("/slices/0/frames$")):
        page.click("#cines li:first-child button")  # slice 1 is shown, as it is stored
    held = hold(page, "**/slices/*/frames")
    page.keyboard.press("ArrowDown")
    page.locator("#slices [data-slice='0'][aria-pressed=true]").wait_for()
    assert page.locator("#stage").get_attribute("aria-busy") == "false"
    assert held == []


def opened(page, address, cines):
    """The first phantom as it is opened, before its other slice is looked at."""
    page.goto(address)
    page.click("#cines li:first-child button")
    page.locator("#status:has-text('2 slices, 10 frames')").wait_for()
    reader = Reader(page, cines.lumens.shape[2:])
    reader.wait()
    return reader


def from_slice(reader, cines, number):
    """How far the stage is from the image of a slice, on the frame that is shown; None where it shows nothing."""
    wide, level = Shown.of(cines.stack).window
    inside = (slice(16, -12), slice(12, -12))  # clear of the writing in the corners
    seen = reader.at_pixels(reader.see())[..., 0][inside]
    expected = 255 * np.clip((cines.stack.images[number, reader.frame()][inside] - level) / wide + 0.5, 0, 1)
    return None if np.ptp(seen) < 2 else np.abs(seen - expected).mean()


def test_a_slice_is_blank_and_not_drawn_on_until_its_image_has_come(page, address, cines):
    held = hold(page, "**/slices/0/frames")
    reader = opened(page, address, cines)
    assert from_slice(reader, cines, 1) < 3
    reader.press("ArrowDown")
    assert page.locator("#where").inner_text().endswith("slice 2 of 2, apex")
    assert from_slice(reader, cines, 0) is None
    for key in ("d", "x", "c"):
        reader.press(key)
        assert reader.status() == "The slice is being read."
    let(page, held)
    assert from_slice(reader, cines, 0) < 3
    reader.press("d")
    for corner in ((40, 30), (70, 30), (70, 60)):
        reader.click(*corner)
    page.locator("#kept[data-state=kept]").wait_for()

    # nor is the contour closed that was being drawn on it
    page.goto(address)
    page.click("#cines li:first-child button")
    page.locator("#status:has-text('restored')").wait_for()
    assert from_slice(reader, cines, 0) is None
    reader.press("Enter")
    let(page, held)
    assert page.locator("#slices .has-contour").count() == 0
    reader.press("Enter")
    assert page.locator("#slices .has-contour").count() == 1


def test_a_slice_that_could_not_be_read_is_asked_for_again(page, address, cines):
    """Silently where it was not looked at."""
    held = hold(page, "**/slices/0/frames")
    reader = opened(page, address, cines)
    failure = {"status": 500, "json": {"detail": "The disk is gone."}}
    let(page, held, **failure)
    assert reader.status().startswith("2 slices, 10 frames")
    reader.press("ArrowDown")
    let(page, held, **failure)
    assert reader.status() == "The disk is gone."
    assert from_slice(reader, cines, 0) is None
    reader.press("d")
    assert reader.status() == "The slice could not be read: choose it once more."
    page.click("#slices [data-slice='0']")
    let(page, held)
    assert from_slice(reader, cines, 0) < 3
    reader.press("d")
    assert page.locator("#draw").get_attribute("aria-pressed") == "true"


def test_work_is_called_kept_once_all_of_it_is(reader):
    page = reader.page
    held = hold(page, "**/session")
    reader.press("e")
    page.wait_for_timeout(700)
    reader.press("s")
    let(page, held)
    assert page.locator("#kept").get_attribute("data-state") == "unsaved"
    let(page, held)
    page.locator("#kept[data-state=kept]").wait_for()
