"""Data that tests share."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch starts its threads: each process has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.forking import forker
from transforms.phantom import write_scd


def pytest_configure(config):
    """Files in the order of their folders, long ones first: xdist would leave those of few tests, often the longest, to
    the end, when the other process has nothing to do."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.fixture(scope="session")
def phantom_dir(tmp_path_factory):
    """Three phantoms in SCD's layout, one a split, 2 slices of 20 frames of 48x64 pixels; not to be changed."""
    return write_scd(tmp_path_factory.mktemp("data") / "phantom", patients=3, size=(48, 64), slices=2)


@pytest.fixture(scope="session")
def scd_dir():
    """The Sunnybrook Cardiac Data, where they are."""
    if not os.environ.get("SCD_DIR"):
        pytest.skip("SCD_DIR, the folder of the Sunnybrook Cardiac Data, is not set")
    return Path(os.environ["SCD_DIR"])


@pytest.fixture(scope="session")
def hippocampus_dir():
    """Hippocampi of the Medical Segmentation Decathlon, where they are."""
    if not os.environ.get("HIPPOCAMPUS_DIR"):
        pytest.skip("HIPPOCAMPUS_DIR, the folder of the Decathlon's hippocampi, is not set")
    return Path(os.environ["HIPPOCAMPUS_DIR"])


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Starts commands in processes that need not import anything; see tests/forking.py."""
    with forker(tmp_path_factory.mktemp("outputs")) as starts:
        yield starts


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@contextmanager
def new_page(browser):
    """A page without cookies; what it writes to its console, errors too, is in ``page.messages``, and which requests
    failed, except those that were under way as it was left."""
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        page = context.new_page()
        page.messages = []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: request.failure == "net::ERR_ABORTED" or page.messages.append(request.url),
        )
        yield page


@pytest.fixture
def page(browser):
    """:func:`new_page` for one test."""
    with new_page(browser) as page:
        yield page
