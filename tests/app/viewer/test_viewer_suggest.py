"""A network suggests contours in Chromium, and the reader decides."""

from __future__ import annotations

import json

import numpy as np

from dirnet.cine.first_drawing import save_first
from dirnet.cine.saving import LABELS, write_masks
from dirnet.first_contours import FirstContours
from tests.app.viewer.reading import EPICARDIUM, LUMEN
from transforms.authors import UNSEEN
from transforms.saved_masks import describe, sidecar


def network_by(work):
    return {(one["structure"], one["slice"]): one.get("by") for one in work["contours"]}


def test_a_network_suggests_and_the_reader_decides(viewer, cines, dice):
    """Suggested on the slice that is not drawn on alone; taken back, accepted, mended; what was drawn stays."""
    reader, page = viewer.reader, viewer.page
    viewer.opened()
    reader.press("y")
    assert reader.status() == "Nothing is suggested: A asks for it."
    reader.go_to(cines.ed)
    reader.go_to_slice(0)
    reader.press("d")
    reader.draw(cines.lumens[0, cines.ed] > 0)
    reader.press("Enter")
    reader.go_to((cines.ed + 3) % 10)
    reader.press("a")
    assert reader.status().startswith(f"Suggested on 1 slice, frame {cines.ed + 1}.")
    assert (reader.slice(), reader.frame()) == (1, cines.ed)
    offered = FirstContours.load().draw(cines.stack, cines.ed)
    for colour, structure in ((LUMEN, "lumen"), (EPICARDIUM, "epicardium")):
        assert dice(reader.enclosed(colour, gap=5), offered[structure][1]) > 0.95
    reader.press("p")
    assert reader.status().startswith("Followed")  # what is drawn alone
    assert "Sum" not in page.locator("#extent").inner_text()

    reader.press("Control+z")
    assert page.locator("#suggested").is_hidden()
    reader.press("Control+y")
    page.wait_for_timeout(900)  # until it is kept
    viewer.opened()
    assert page.locator("#suggested").is_visible()
    reader.go_to_slice(0)
    reader.press("y")
    assert reader.status() == "Nothing is suggested on this slice."
    reader.go_to_slice(1)
    reader.press("q")
    assert page.locator("#suggested").is_hidden()
    reader.press("Control+z")
    page.click("#accept")
    page.locator("#warnings li:has-text('slice 1: contours were drawn by a network and accepted')").wait_for()
    reader.press("Control+z")
    assert page.locator("#suggested").is_visible()

    reader.press("v")  # a copy of what is only suggested is not the reader's own line either
    page.wait_for_timeout(900)
    work = json.loads(next(viewer.folder.rglob("CINESAX_300_session.json")).read_text())
    assert [one["by"] for one in work["contours"] if one["frame"] == cines.ed + 1] == ["network, mended"]
    reader.press("Control+z")
    reader.go_to(cines.ed)

    drag_right_side(reader, offered["epicardium"][1], 4)
    page.locator("#warnings li:has-text('slice 1: contours were drawn by a network and mended')").wait_for()
    reader.press("Shift+Y")
    page.locator("#warnings li:has-text('slice 1: contours were drawn by a network and accepted')").wait_for()
    reader.press("Control+s")
    page.locator("#status:has-text('Saved in')").wait_for()
    work = json.loads(next(viewer.folder.rglob("CINESAX_300_session.json")).read_text())
    assert network_by(work) == {
        ("lumen", 0): None, ("lumen", 1): "network", ("epicardium", 1): "network, mended"
    }  # fmt: skip
    numbers = json.loads(next(viewer.folder.rglob("CINESAX_300_numbers.json")).read_text())
    assert [text.split(": ")[0] for text in numbers["warnings"] if "by a network" in text] == ["slice 1"] * 2
    assert numbers["drawn_on_frames"] == [cines.ed]
    load_again(viewer, work)
    offer_of_a_file(viewer, cines, offered)
    what_nobody_has_looked_at_is_offered(viewer, cines)
    assert viewer.page.messages == []


def load_again(viewer, work):
    """Saved masks: what was drawn, and by whom, is as it was."""
    reader, folder = viewer.reader, next(viewer.folder.rglob("CINESAX_300_masks.nii.gz")).parent
    for number in (0, 1):
        reader.go_to_slice(number)
        reader.press("Shift+X")
    assert viewer.page.locator("#slices .has-contour").count() == 0
    viewer.page.set_input_files("#mask", folder / "CINESAX_300_masks.nii.gz")
    viewer.page.locator("#slices .has-contour").nth(1).wait_for()
    viewer.page.locator("#status:has-text('Followed')").wait_for()
    viewer.page.locator("#kept[data-state=kept]").wait_for()
    assert network_by(json.loads((folder / "CINESAX_300_session.json").read_text())) == network_by(work)


def offer_of_a_file(viewer, cines, offered):
    """What a command drew, with the file beside it, is a suggestion as that of the page."""
    reader, elsewhere = viewer.reader, viewer.folder / "elsewhere"
    for number in (0, 1):
        reader.go_to_slice(number)
        reader.press("Shift+X")
    save_first(offered, cines.stack, cines.ed, elsewhere, "a")
    pair = [elsewhere / f"a_first_contours.{end}" for end in ("json", "nii.gz")]
    viewer.page.set_input_files("#mask", pair)
    viewer.page.locator("#status:has-text('Suggested on 2 slices')").wait_for()
    assert viewer.page.locator("#slices .has-contour").count() == 0
    # beside a lumen that is there the epicardium can still be taken
    reader.press("Shift+Y")
    reader.press("2")
    for number in (0, 1):
        reader.go_to_slice(number)
        reader.press("x")
    viewer.page.set_input_files("#mask", pair)
    viewer.page.locator("#status:has-text('Suggested on 2 slices')").wait_for()
    reader.press("Shift+Y")
    viewer.page.locator("#status:has-text('Followed')").wait_for()  # which else would be said after what is awaited
    viewer.page.set_input_files("#mask", pair)
    viewer.page.locator("#status:has-text('a_first_contours.nii.gz: all that a network has drawn')").wait_for()
    assert viewer.page.locator("#suggested").is_hidden()
    viewer.page.set_input_files("#mask", [elsewhere / f"a_first_contours.{end}" for end in ("png", "nii.gz")])
    assert reader.status().startswith("Choose one mask")


def what_nobody_has_looked_at_is_offered(viewer, cines):
    """Of a file whose other slice the reader drew, which is loaded."""
    reader, page, path = viewer.reader, viewer.page, viewer.folder / "mixed.nii.gz"
    for number in (0, 1):
        reader.go_to_slice(number)
        reader.press("Shift+X")
    masks = np.zeros(cines.lumens.shape, bool)
    masks[:, cines.ed] = cines.lumens[:, cines.ed] > 0
    write_masks(path, {"lumen": masks}, cines.stack)
    slices, authors = {"lumen": {0: [cines.ed], 1: [cines.ed]}}, {"lumen": {1: {cines.ed: UNSEEN}}}
    sidecar(path).write_text(json.dumps(describe(path, LABELS, slices, authors)))
    page.set_input_files("#mask", [path, sidecar(path)])
    frame = f"frame {cines.ed + 1}"
    said = f"lumen drawn on 1 of 2 slices, {frame}. Click on a contour to correct it. Suggested on 1 slice, {frame}."
    page.locator(f"#status:has-text('{said}')").wait_for()
    assert page.locator("#slices .has-contour").get_attribute("data-slice") == "0"
    reader.go_to_slice(1)
    reader.press("y")
    page.locator("#kept[data-state=kept]").wait_for()
    work = json.loads(next(viewer.folder.rglob("CINESAX_300_session.json")).read_text())
    assert network_by(work) == {("lumen", 0): None, ("lumen", 1): "network"}


def drag_right_side(reader, mask, by):
    """The line around a mask, from the middle of its right side, by pixels to the right."""
    row = round(np.nonzero(mask)[0].mean())
    box, scale, (left, top) = reader.scale()
    start = box["x"] + left + (np.flatnonzero(mask[row])[-1] + 0.5) * scale, box["y"] + top + row * scale
    reader.page.mouse.move(*start)
    reader.page.mouse.down()
    reader.page.mouse.move(start[0] + by * scale, start[1], steps=5)
    reader.page.mouse.up()
