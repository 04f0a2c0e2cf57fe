"""Report and download in Chromium: their numbers are those of the page, and they come whole."""

from __future__ import annotations

import io
import json
import re
import zipfile


def numbers_in(report):
    """What stands in a report's elements that have a number, as in the JSON file."""
    found = report.evaluate(
        "[...document.querySelectorAll('[data-number]:not([data-segment])')]"
        ".map(({ dataset }) => [dataset.number, dataset.value ?? null])"
    )
    return {name: None if value is None else float(value) for name, value in found}


def test_report_and_download_are_of_what_is_on_the_page(viewer, cines):
    reader, page = viewer.reader, viewer.page
    viewer.opened()
    reader.press("Control+Shift+S")
    assert reader.status() == "Draw a contour first, or load a mask."
    reader.go_to(cines.ed)
    for number in (0, 1):
        reader.go_to_slice(number)
        reader.press("d")
        reader.draw(cines.lumens[number, cines.ed] > 0)
        reader.press("Enter")
    reader.press("p")
    assert reader.status().startswith("Followed")

    page.check("#named-results")  # on request alone
    with page.expect_popup() as opened:
        page.click("#report")
    report = opened.value
    report.wait_for_load_state()
    shown = numbers_in(report)
    assert f"{shown['end_diastolic_volume_ml']:.0f} ml" == page.locator("#edv").inner_text()
    assert f"{shown['ejection_fraction_percent']:.0f} %" == page.locator("#ef").inner_text()
    text = report.locator("body").inner_text()
    assert "weights contours" in text
    assert "Phantom SCD0000101" in text
    assert f"End-diastole is {page.locator('#ed').inner_text()}" in text
    assert report.locator("figcaption").first.inner_text().startswith("slice 1, base")  # which is stored as 1
    assert report.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "20px"  # its style is let in
    report.close()
    assert reader.status().startswith("Report saved in")
    assert "It names the patient" in reader.status()

    page.uncheck("#named-results")
    with page.expect_download() as given:
        reader.press("Control+Shift+S")
    assert given.value.suggested_filename == "CINESAX_300.zip"
    packed = zipfile.ZipFile(io.BytesIO(given.value.path().read_bytes()))
    assert packed.testzip() is None
    ends = ("masks.nii.gz", "masks.json", "segmentation.dcm", "rtstruct.dcm", "cycle.csv", "numbers.json", "cycle.png",
            "strain.png", "cine.gif", "report.html")  # fmt: skip
    assert sorted(packed.namelist()) == sorted(f"CINESAX_300/CINESAX_300_{end}" for end in ends)
    numbers = json.loads(packed.read("CINESAX_300/CINESAX_300_numbers.json"))
    assert {name: numbers[name] for name in shown} == shown
    assert "SCD0000101" not in packed.read("CINESAX_300/CINESAX_300_report.html").decode()
    written = sorted(path.name for path in viewer.folder.rglob("*.*") if path.is_file())
    assert written == ["CINESAX_300_report.html", "CINESAX_300_session.json"]

    page.click("#report")
    page.locator("#question").wait_for()
    assert re.search("there is a report of this cine in .*: replace[?]", page.locator("#question-text").inner_text())
    page.keyboard.press("Escape")
    assert "there is a report" in reader.status()
    assert [text for text in page.messages if "status of 409" not in text] == []
