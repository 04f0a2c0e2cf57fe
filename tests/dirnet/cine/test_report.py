"""The report: its numbers are those of the JSON file, it needs no other file, and prints on two pages."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dirnet import Registrar
from dirnet.cine.bullseye import bullseye
from dirnet.cine.counting import Counting
from dirnet.cine.follow import follow
from dirnet.cine.normal_ranges import NORMAL, SOURCES
from dirnet.cine.phases import Phases
from dirnet.cine.report import write_report
from dirnet.cine.saving import save
from dirnet.cine.segments import NAMES
from tests.hearts import STUDY, heart, stack
from transforms.authors import UNSEEN
from transforms.cine_files import read_cine_stack
from transforms.study_info import StudyInfo


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


@pytest.fixture(scope="module")
def followed(registrar):
    return follow(registrar, stack(), heart((2.0, 3.5)), study=STUDY, phases=Phases(left_out_es=frozenset({0})))


@pytest.fixture(scope="module")
def saved(followed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    save(followed, folder, "heart", formats=["table", "report"], weights="contours")
    return folder


class Numbers(HTMLParser):
    """What stands in the elements that have data-number: attributes and text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if "data-number" in dict(attrs):
            self.open = (dict(attrs), [])

    def handle_data(self, data):
        if self.open:
            self.open[1].append(data)

    def handle_endtag(self, tag):
        if self.open:
            self.found.append((self.open[0], "".join(self.open[1])))
            self.open = None


def test_the_numbers_are_those_of_the_json_file(saved):
    numbers = json.loads((saved / "heart_numbers.json").read_text())
    found = Numbers((saved / "heart_report.html").read_text(encoding="utf-8")).found
    names = {attributes["data-number"] for attributes, _ in found}
    assert {
        "end_diastolic_volume_ml", "ejection_fraction_percent", "cardiac_index_l_per_min_per_m2", "myocardial_mass_g",
        "rv_ejection_fraction_percent", "peak_filling_rate_ml_per_s", "segment_wall_thickening_percent",
        "wall_thickness_end_systole_mm", "body_surface_area_m2", "heart_rate_per_min", "lowest_estimated_dice",
    } <= names  # fmt: skip
    for attributes, text in found:
        value = numbers[attributes["data-number"]]
        if "data-segment" in attributes:
            value = value[int(attributes["data-segment"])]
        assert float(attributes["data-value"]) == value, attributes
        digits = len(text.partition(".")[2])
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=0.5001 * 10**-digits), attributes
    assert len([1 for attributes, _ in found if "data-segment" in attributes]) == 3 * 16


def test_what_it_says_besides(saved, followed):
    page = (saved / "heart_report.html").read_text(encoding="utf-8")
    for text in (
        "For research; not a medical device", "weights contours", "monai-dirnet ", "slice 1, base", "slice 6, apex",
        "left out", "found by its contour", "Basal slices 2–3, mid 4, apical 5–6", "60</span> /min", "Petersen",
    ):  # fmt: skip
        assert text in page, text
    assert page.count("<figcaption><span>slice") == 2 * 6
    assert not re.search(r"\b(nan|None|undefined)\b", page)
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing but itself


def test_what_a_network_drew_and_what_is_doubted_are_seen(followed, tmp_path):
    frames = followed.slices[2].drawn["lumen"]
    doubted = dataclasses.replace(followed.slices[2], estimated_dice=np.full(len(followed.cine.images[2]), 0.849))
    authors = {"lumen": {2: {frames[0]: UNSEEN}}}
    other = dataclasses.replace(followed, slices={**followed.slices, 2: doubted}, authors=authors)
    write_report(other, tmp_path / "a.html", "a")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "by a network" in page
    assert ">0.84<" in page  # below 0.85, as it is said of what is doubted


def test_slices_and_frames_are_counted_as_in_the_viewer(registrar, tmp_path):
    """From 1 and the base, which is the last stored slice here; beside it the number in files."""
    cine, drawn = stack(), heart()
    for number, grid in enumerate(cine.grids):  # from the apex, left, forwards and down, to the base
        grid.SetOrigin(np.array([1.0, -1.0, -1.0]) * -number)
    drawn = {"lumen": drawn["lumen"][::-1].copy()}
    drawn["lumen"][2] = False
    followed = follow(registrar, dataclasses.replace(cine, times=None), drawn)
    write_report(followed, tmp_path / "a.html", "a")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "slices from the base" in page
    assert re.findall(r"<span>slice (\d+(?:, \w+)?)", page)[:5] == ["1, base", "2", "3", "5", "6, apex"]
    assert re.findall(r'<td>(\d+)</td><td class="small">(\d+)</td>', page)[0] == ("1", "5")
    assert "slice 2: not drawn on, between others that are" in followed.numbers["warnings"][-1]
    assert "slice 4: not drawn on, between others that are" in page
    ed, es = followed.function.ed, followed.function.es
    assert f"End-diastole is frame {ed + 1}, end-systole frame {es + 1}." in page
    assert f"<h2>End-systole, frame {es + 1}" in page
    counting = Counting(12, False)
    assert counting.said("slices 0, 2 and frame 7 of 3 slices: 4 ml") == "slices 10, 12 and frame 8 of 3 slices: 4 ml"


def test_a_long_axis_view_has_length_and_area_and_no_volumes(registrar, tmp_path):
    cine, drawn = dataclasses.replace(stack(), view="long axis"), {"lumen": heart()["lumen"]}
    followed = follow(registrar, cine, drawn)
    write_report(followed, tmp_path / "a.html", "a")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    found = {attributes["data-number"]: text for attributes, text in Numbers(page).found}
    numbers = followed.numbers
    assert found["plane_length_end_diastole_mm"] == f"{numbers['plane_length_end_diastole_mm']:.0f}" == "51"
    assert found["plane_area_end_diastole_mm2"] == f"{numbers['plane_area_end_diastole_mm2']:.0f}"
    assert "end_diastolic_volume_ml" not in found
    assert "One plane: no volumes follow from it." in page
    assert "<h2>How these were measured</h2>" in page  # nothing here has a normal value
    assert "<ol" not in page
    assert not [text for text in numbers["warnings"] if "volume" in text or "apex" in text]


def test_unknown_is_said_and_is_no_number(registrar, tmp_path):
    cine = dataclasses.replace(stack(), times=None, distance=None, positions=None)
    write_report(follow(registrar, cine, {"lumen": heart()["lumen"]}), tmp_path / "a.html", "a")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    found = {attributes["data-number"]: text for attributes, text in Numbers(page).found}
    for name in ("end_diastolic_volume_ml", "cardiac_output_l_per_min", "heart_rate_per_min", "body_surface_area_m2"):
        assert found[name] == "unknown"
    assert "Unknown: no epicardium was drawn." in page
    assert "myocardial_mass_g" not in found  # nor a right ventricle: they were not drawn
    assert "rv_end_diastolic_volume_ml" not in found
    assert "M 48–68," in page  # of both sexes, as it is not known
    assert "F 51–71 %" in page
    cited = {int(number) for number in re.findall(r"<sup>(\d)</sup>", page)}
    listed = {int(number): source for number, source in re.findall(r'<li value="(\d)">(.*)\.</li>', page)}
    assert cited == set(listed) == {1, 2}
    assert all(source == SOURCES[number - 1] for number, source in listed.items())


def test_the_patients_name_on_request_alone(registrar, phantom_dir, tmp_path, monkeypatch):
    cine = read_cine_stack(next(phantom_dir.glob("SCD_IMAGES_01/SCD0000101/*")))
    drawn = np.zeros(cine.images.shape, bool)
    drawn[:, 0, 20:28, 28:36] = True
    followed = follow(registrar, cine, {"lumen": drawn})
    for asked in (False, True):
        write_report(followed, tmp_path / "a.html", "cine", patient_name=asked)
        page = (tmp_path / "a.html").read_text(encoding="utf-8")
        assert ("Phantom SCD0000101" in page) == asked
        assert ("SCD0000101" in page) == asked
    monkeypatch.setattr(
        "dirnet.cine.report.read_study_info", lambda *_, **__: StudyInfo(patient_name="SCD1", patient_id="SCD1")
    )
    write_report(followed, tmp_path / "a.html", "cine", patient_name=True)
    assert "<dt>Patient</dt><dd>SCD1</dd>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "patient" not in json.dumps(followed.numbers).lower()


def test_two_pages_of_paper(saved, page):
    page.goto(f"file://{saved}/heart_report.html")
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.messages == []


def test_the_places_of_the_bulls_eye():
    fields = dict(zip(NAMES, bullseye([*range(15), None], 0, 10), strict=True))
    assert (fields["basal anterior"].x, fields["basal anterior"].y) == (0, -85)
    assert fields["basal anteroseptal"].x < 0 > fields["basal anteroseptal"].y
    assert fields["mid inferoseptal"].x < 0 < fields["mid inferoseptal"].y
    assert fields["mid inferolateral"].x > 0 < fields["mid inferolateral"].y
    assert (fields["apical septal"].x, fields["apical septal"].y) == (-26, 0)
    assert fields["basal anterior"].fill == "rgb(244,247,250)"
    assert fields["apical lateral"].fill == "#fff"  # unknown


def test_normal_ranges_have_a_source():
    assert NORMAL["ejection_fraction_percent"].said("M") == ["48–68"]
    assert NORMAL["mid_wall_thickness_end_diastole_mm"].said("F") == ["3.5–7.1"]
    assert {normal.source for normal in NORMAL.values()} == set(range(len(SOURCES)))
