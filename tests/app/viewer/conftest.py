"""A folder of cines whose motion is known, and a reader at the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.viewer.access import Access
from app.viewer.server import make_app
from dirnet.registrar import Registrar
from tests.app.viewer.reading import Reader, served
from tests.conftest import new_page
from transforms.cine_files import read_cine_stack
from transforms.phantom import Phantom, write_scd

SIZE, PHASES, SLICES = (96, 112), 10, 2


@pytest.fixture(scope="session")
def cines(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """``folder`` of three phantoms; of the first its ``series``, its ``stack`` as it is read, the true ``lumens``
    (S, T, H, W) in the order of that, and ``ed``."""
    folder = write_scd(tmp_path_factory.mktemp("cines") / "phantom", 3, SIZE, PHASES, SLICES)
    series = next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))
    stack, phantom = read_cine_stack(series), Phantom(0, SIZE, PHASES, SLICES)
    lumens = np.array([[phantom.lumen(number, phase) for phase in range(PHASES)] for number in range(SLICES)])
    if int(Path(stack.files[0][0]).stem.rsplit("-", 1)[1]) > PHASES:  # read by place, made from base to apex
        lumens = lumens[::-1]
    return SimpleNamespace(folder=folder, series=series, stack=stack, lumens=lumens, ed=phantom.ed)


@pytest.fixture(scope="session")
def registrar() -> Registrar:
    return Registrar.load()


@pytest.fixture(scope="session")
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda a, b: 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))


@pytest.fixture
def address(cines, registrar, tmp_path):
    """Of a server on a free port, with its token."""
    access = Access()
    with served(make_app(cines.folder, registrar, tmp_path / "results", access)) as place:
        yield f"{place}/?token={access.token}"


@pytest.fixture(scope="module")
def viewer(browser, cines, registrar, tmp_path_factory):
    """For the tests of a file: a ``reader`` at a ``page`` of a server, the ``folder`` of results, and ``opened()``, by
    which the page is loaded and the first phantom opened."""
    access, folder = Access(), tmp_path_factory.mktemp("results")
    app = make_app(cines.folder, registrar, folder, access, weights="contours")
    with served(app) as place, new_page(browser) as page:

        def opened():
            page.goto(f"{place}/?token={access.token}")
            page.click("#cines li:first-child button")
            page.locator("#where:has-text('of 2')").wait_for()
            page.locator("#status:not(.busy)").wait_for()

        yield SimpleNamespace(reader=Reader(page, cines.lumens.shape[2:]), page=page, folder=folder, opened=opened)


@pytest.fixture
def reader(page, address, cines):
    """At the first phantom's first stored slice, its apex, on the frame of end-diastole. All of a phantom of this size
    is the heart's region."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.click("#cines li:first-child button")
    reader = Reader(page, cines.lumens.shape[2:])
    page.locator("#status:has-text('2 slices, 10 frames')").wait_for()
    assert page.locator("#slices [aria-pressed=true]").inner_text() == "1"
    assert reader.slice() == 1  # the base, as it is stored
    reader.go_to_slice(0)
    reader.go_to(cines.ed)
    yield reader
    # Chromium itself notes what the server refuses
    assert [text for text in page.messages if not re.search("status of (403|409|422)", text)] == []
    assert all(url.startswith((address.split("?")[0], "data:")) for url in asked)
