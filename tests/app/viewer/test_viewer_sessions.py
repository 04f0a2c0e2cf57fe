"""A reader's work is kept by the server as it is done, and nothing that anyone drew is replaced unasked."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from app.viewer.access import Access
from app.viewer.server import make_app

RING = [[40, 30], [70, 30], [70, 60], [40, 60.125]]
WORK = {
    "contours": [{"structure": "rv", "slice": 1, "frame": 3, "rings": [RING], "points": RING}],
    "open": {"structure": "lumen", "slice": 0, "frame": 2, "points": [[1, 2.5]]},
    "suggested": {"frame": 2, "contours": [{"structure": "lumen", "slice": 0, "frame": 2, "rings": [RING]}]},
    "ed": 3,
    "left_out_es": [1],
    "papillary": "included",
    "following": True,
    "shown": {"structure": "rv", "slice": 1, "frame": 3},
    "window": "a",
}


@pytest.fixture
def cine(cines, registrar, tmp_path):
    """The first phantom, as ``get()`` and ``put(work)`` reach its session; and the folder of the file."""
    access = Access()
    client = TestClient(make_app(cines.folder, registrar, tmp_path, access), "http://127.0.0.1")
    client.get("/", params={"token": access.token})
    address = f"/api/cines/{client.get('/api/cines').json()[0]['id']}/session"

    class Cine:
        folder = tmp_path / "SCD_IMAGES_01" / "SCD0000101"
        file = folder / "CINESAX_300_session.json"

        def get(self):
            return client.get(address).json()

        def put(self, after, **changes):
            answer = client.put(address, json={**WORK, "after": after, **changes})
            return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["detail"])

    return Cine()


def test_work_comes_back_as_it_was(cine):
    assert cine.get() == {"session": None}
    assert cine.put(0)["version"] == 1
    found = cine.get()
    assert found["same"]
    kept = found["session"]
    assert kept["contours"][0]["points"] == RING
    assert kept["suggested"]["contours"][0]["rings"] == [RING]
    said = {**WORK, "contours": None, "suggested": None}
    assert {**kept, "contours": None, "suggested": None}.items() >= said.items()
    assert [kept[key] for key in ("version", "es", "left_out_ed")] == [1, None, []]
    assert cine.put(1, ed=None)["version"] == 2
    assert cine.get()["session"]["ed"] is None
    assert [path.name for path in cine.folder.iterdir()] == [cine.file.name]


def test_other_windows_are_not_overwritten_unasked(cine):
    cine.put(0)
    assert cine.put(0)["version"] == 2  # an answer was lost: it is the same window's
    assert cine.put(2, window="b", papillary=None)["version"] == 3  # it was opened there, and goes on
    assert cine.put(2) == (409, "the work on this cine was changed in another window")
    assert cine.get()["session"]["window"] == "b"
    assert cine.put(2, force=True)["version"] == 4
    aside = [path for path in cine.folder.iterdir() if path != cine.file]
    assert [json.loads(path.read_text())["window"] for path in aside] == ["b"]
    assert cine.put(4, window="b")["version"] == 5


def test_work_on_other_files_and_damaged_work_are_put_aside(cine, monkeypatch):
    cine.put(0)
    monkeypatch.setattr("app.viewer.cines.Cines.mark", lambda *_: "changed")
    assert not cine.get()["same"]
    assert cine.put(1, papillary="excluded")["version"] == 2
    assert cine.get()["same"]
    cine.file.write_text(cine.file.read_text()[:-20])
    assert cine.get()["trouble"].startswith("CINESAX_300_session.json: expected the work of a reader")
    assert cine.put(0)["version"] == 1
    aside = sorted(path.read_text() for path in cine.folder.iterdir() if path != cine.file)
    assert len(aside) == 2
    assert any('"excluded"' in text for text in aside)
    assert any('"included"' in text for text in aside)


def test_wrong_work_is_refused_in_words(cine):
    assert cine.put(0, papillary="some") == (422, "papillary: Input should be 'included' or 'excluded'")
    assert cine.put(0, contours=[{"structure": "rv", "slice": 0, "frame": 0, "rings": []}])[0] == 422
    assert cine.put(None)[0] == 422
    assert not cine.file.exists()
