"""Requests that nobody should send, made from a seed: none is an internal error, and none changes an answer."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.viewer.access import Access
from app.viewer.server import make_app
from dirnet.cine.saving import write_masks
from transforms.contours import outline

REQUESTS = 250
ODD = (
    None,
    True,
    -1,
    0,
    1,
    2,
    9,
    10,
    2**31,
    2**63,
    10**400,
    0.5,
    1e300,
    "",
    "0",
    "\ud800",
    "a\0",
    [],
    [[]],
    {},
    {"0": []},
)
TEXTS = ("", "0", "-1", "1e3", "9" * 5000, "..", "%2e%2e%2f", "\x00", "ü", "a" * 3000, "None", "0 OR 1")
HEADERS = (
    ("Origin", ("http://[::1", "null", "http://127.0.0.1:1", "//", "\xff", "a" * 9000)),
    ("Host", ("[::1", "", "elsewhere.org", "127.0.0.1:x", "[")),
    ("Cookie", ("dirnet-127-0-0-1=", "=;=", "\xff=\xff", "a" * 9000)),
    ("Content-Length", ("0", "99999999999", "-1", "x")),
    ("Content-Type", ("", "application/json; charset=utf-16", "multipart/form-data", "\xff")),
    ("Range", ("bytes=0-", "bytes=9-1", "lines=1-2")),
    ("Accept", ("text/html", "\xff")),
)


class Fuzzer:
    """Makes requests of which a few parts are wrong."""

    def __init__(self, cine: str, drawing: dict, mask: bytes, seed: int) -> None:
        self.cine, self.drawing, self.mask = cine, drawing, mask
        self.random = random.Random(seed)

    def request(self, result: int) -> dict:
        pick = self.random.choice
        kind = pick(
            ("list", "describe", "frames", "mask", "follow", "warped", "field", "save", "session", "progress", "file")
        )
        cine = pick((self.cine, self.cine, self.cine, *TEXTS))
        number = pick(("0", "0", "0", *TEXTS))
        query = {"result": pick((str(result), *TEXTS))} if kind in ("warped", "field") else {}
        path = {
            "list": "",
            "describe": f"/{cine}",
            "mask": f"/{cine}/mask",
            "follow": f"/{cine}/follow",
            "save": f"/{cine}/save",
            "session": f"/{cine}/session",
            "progress": f"/{cine}/progress/{pick(('follow', *TEXTS))}",
        }.get(kind, f"/{cine}/slices/{number}/{kind}")
        made = {"method": "GET", "url": f"/api/cines{path}", "params": query, "headers": []}
        if kind == "file":
            made["url"] = "/" + pick(("viewer.js", *TEXTS))
        if kind == "mask":
            made |= {"method": "POST", "content": self.bytes(self.mask)}
            name = pick(("a.nii.gz", "a.nii.gz", "a.nii", "a.dcm", "a.png", "a.txt", *TEXTS))
            made["params"] = {"name": name, "frame": pick(("0", "3", *TEXTS))}
        if kind in ("follow", "save", "session"):
            shown = {"structure": "rv", "slice": 0, "frame": 0}
            open_ = {**shown, "points": [[1, 2]]}
            session = {**self.drawing, "shown": shown, "open": open_, "window": "a", "after": 0, "following": True}
            session["suggested"] = {"frame": 0, "contours": self.drawing["contours"]}
            bodies = {"follow": self.drawing, "save": {"result": result, "overwrite": True}, "session": session}
            content = json.dumps(self.json(bodies[kind])).encode()
            method = "PUT" if kind == "session" else "POST"
            made |= {"method": method, "content": pick((content, content, content, self.bytes(content), b"[" * 99_999))}
        if self.random.random() < 0.2:
            made["method"] = pick(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"))
        if self.random.random() < 0.3:
            name, values = pick(HEADERS)
            made["headers"] = [(name.encode(), pick(values).encode("latin-1"))]
        if self.random.random() < 0.1:
            made["params"] = {**made["params"], "token": pick(TEXTS)}
        # httpx refuses some itself
        made["url"] = made["url"].replace("\x00", "%00")
        return made

    def bytes(self, content: bytes) -> bytes:
        """Cut, with a byte changed inside its packing or outside, or as it is."""
        how = self.random.randrange(5)
        packed = content[:2] == b"\x1f\x8b"
        data = bytearray(gzip.decompress(content) if packed and how < 3 else content)
        if how in (0, 3):
            for _ in range(self.random.choice((1, 4))):
                data[self.random.randrange(min(len(data), 400))] = self.random.randrange(256)
        elif how == 1:
            del data[self.random.randrange(len(data)) :]
        return gzip.compress(bytes(data), 1) if packed and how < 3 else bytes(data)

    def json(self, body: dict) -> object:
        """A copy in which one value, at any depth, is another, or none is."""
        body = json.loads(json.dumps(body))
        place, key = {"": body}, ""
        while self.random.random() < 0.7 and isinstance(place[key], dict | list) and place[key]:
            place = place[key]
            key = self.random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if self.random.random() < 0.7:
            place[key] = self.random.choice((*ODD, float("nan"), float("inf")))
            return place[""] if "" in (place if isinstance(place, dict) else {}) else body
        return body


@pytest.fixture
def asked(cines, registrar, tmp_path):
    """A client that has come in, and one that has not."""
    access = Access()
    app = make_app(cines.folder, registrar, tmp_path / "results", access)
    client, stranger = (TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) for _ in range(2))
    assert client.get("/", params={"token": access.token}).status_code == 200
    return client, stranger


def fuzz(asked, cines, tmp_path, count: int, seed: int = 0) -> Counter:
    """Send requests, and see after each fiftieth that a right one is answered as before.

    Returns:
        how many had which status.
    """
    client, stranger = asked
    cine = client.get("/api/cines").json()[0]["id"]
    rings = [ring.tolist() for ring in outline(cines.lumens[0, cines.ed])]
    contour = {"structure": "lumen", "slice": 0, "frame": cines.ed, "rings": rings}
    drawing = {"contours": [contour], "ed": 0, "es": 4, "left_out_ed": [], "left_out_es": [1], "papillary": None}
    masks = np.zeros_like(cines.lumens)
    masks[:, cines.ed] = cines.lumens[:, cines.ed]
    write_masks(tmp_path / "lumen.nii.gz", masks, cines.stack)
    fuzzer = Fuzzer(cine, drawing, (tmp_path / "lumen.nii.gz").read_bytes(), seed)
    right = client.post(f"/api/cines/{cine}/follow", json=drawing).json()
    result = right.pop("result")
    seen = Counter()
    for number in range(count):
        request = fuzzer.request(result)
        who = stranger if number % 10 == 9 else client
        try:
            answer = who.request(**request)
        except (ValueError, UnicodeError, TypeError):  # the client's own: this cannot be sent
            seen["unsent"] += 1
            continue
        seen[answer.status_code] += 1
        assert answer.status_code < 500, (request, answer.text)
        if who is stranger:
            assert answer.status_code in (400, 403, 413), request["headers"]
        if answer.status_code == 422:
            assert len(answer.json()["detail"].splitlines()) == 1, answer.text
        if number % 50 == 0:
            again = client.post(f"/api/cines/{cine}/follow", json=drawing).json()
            result = again.pop("result")
            assert again == right
    return seen


def test_no_request_is_an_internal_error(asked, cines, tmp_path):
    seen = fuzz(asked, cines, tmp_path, REQUESTS)
    assert {200, 403, 404, 405, 422} <= set(seen)
    assert seen["unsent"] < REQUESTS / 10
