"""``dirnet view``: how long a reader waits, in Chromium, from what they do to the picture that shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.experiments.cine_scores import Patient, read_patients
from dirnet.cine.saving import write_masks
from dirnet.errors import InputError
from transforms.contours import outline
from transforms.phantom import write_scd
from transforms.sources import read_records

from .measure import SIZE, Bench, Line, Row

__all__ = ["rows"]

SLICES = 12
LEAST = 2.0  # a second: no wait is longer than half a second, except that for what is propagated, 60 frames a second
PROPAGATED = 60.0
POINTS = 12  # of a drawn contour
BROWSERS = ("chromium", "google-chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
SCREEN = {"width": 1440, "height": 900}
PATIENCE = 300_000  # ms

# From the first event of a kind after it was armed, or from the start of the page, to the frame of the screen after the
# one on which `done` holds.
ARM = """([done, kind, patience]) => {
  const holds = new Function(`return ${done}`), armed = performance.now();
  window.waited = new Promise((resolve, reject) => {
    let start = kind ? null : 0;
    const note = ({ timeStamp }) => { start ??= timeStamp; };
    if (kind) addEventListener(kind, note, { capture: true });
    const look = (now) => {
      if (now - armed > patience) return reject(new Error(`waited too long for: ${done}`));
      if (start === null || !holds()) return requestAnimationFrame(look);
      removeEventListener(kind, note, { capture: true });
      requestAnimationFrame((next) => resolve((next - start) / 1000));
    };
    requestAnimationFrame(look);
  });
  window.waited.catch(() => {});
}"""
IMAGE = "document.getElementById('stage').ariaBusy === 'false'"
IDLE = "!document.querySelector('#status.busy')"
LISTED = "document.querySelector('#cines button')"
NUMBERS = (
    f"{IDLE} && document.getElementById('edv').textContent !== '–' && !document.querySelector('#numbers.outdated')"
)


def rows(bench: Bench) -> Iterator[list[Row]]:
    """Of a phantom, or of the first patients of the data set where there is one: what a reader does, in order."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        bench.skipped.append("viewer: playwright is not installed")
        return
    if browser is None:
        bench.skipped.append("viewer: Chromium is not installed")
        return
    patients = _patients(bench)
    if not patients:
        return
    patient, *others = patients
    other = others[0].cine.files[0][0].parent if others else None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(OPTIONS))
        with _Reader(bench, patient, other, chromium) as reader:
            for line in reader.lines():
                yield bench.measure([line])
        chromium.close()


def _patients(bench: Bench) -> list[Patient]:
    """Whose cines can be judged; none, with a word, where there are none."""
    source = bench.dataset_dir or write_scd(bench.folder / "viewed", size=(SIZE, SIZE), patients=3, slices=SLICES)
    try:
        return read_patients(read_records(source, ""))[0]
    except InputError as error:
        bench.skipped.append(f"viewer: {error}")
        return []


class _Reader:
    """Has a server of a patient's cine and another one, in a process of its own, and a page."""

    def __init__(self, bench: Bench, patient: Patient, other: Path | None, browser: Any) -> None:
        self.bench, self.patient, self.other, self.browser = bench, patient, other, browser
        self.folder = bench.folder / "view"

    def __enter__(self) -> _Reader:
        cine, cines = self.patient.cine, self.folder / "cines"
        series = shutil.copytree(cine.files[0][0].parent, cines / "1")
        shutil.copytree(self.other or series, cines / "2")
        self.file = next(path for path in series.iterdir() if path.is_file())
        self.mask = self.folder / "drawn.nii.gz"
        masks = np.zeros(cine.images.shape, bool)
        masks[:, self.patient.ed] = self.patient.drawn["ed"]
        write_masks(self.mask, masks, cine)
        self.slices = np.flatnonzero(masks.any((1, 2, 3))).tolist()
        command = [sys.executable, "-m", "app.command_line", "view", cines, "--port", "0", "--no-browser"]
        command += ["--output_dir", self.folder / "results"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.bench.threads), "PYTHONUNBUFFERED": "1"}
        with ExitStack() as begun:
            self.server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            begun.enter_context(self.server)  # which waits for its end
            begun.callback(self.server.terminate)
            assert self.server.stdout is not None
            found = re.search(r"http://\S+", self.server.stdout.readline())
            if found is None:
                raise RuntimeError("the viewer's server has not started")
            self.address = found[0]
            self.page = self.browser.new_page(viewport=SCREEN)
            begun.callback(self.page.close, run_before_unload=False)
            self.page.set_default_timeout(PATIENCE)
            self.page.on("dialog", lambda dialog: dialog.accept())
            self.begun = begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.begun.close()

    def lines(self) -> Iterator[Line]:
        """In the order in which they can be done."""
        size, count = "{}x{}".format(*self.patient.cine.images.shape[2:]), self.patient.cine.images.shape[1]
        middle = self.slices[len(self.slices) // 2]
        ed, later = self.patient.ed, (self.patient.ed + count // 4) % count

        def line(name: str, call: Callable[[], float], batch: int = 1, least: float = LEAST) -> Line:
            return Line(name, call, batch, size, "viewer", least_rate=least, times_itself=True)

        yield line("open a study, until its cines are listed", self._load)
        yield line("choose a cine that was not read yet", self._open_anew)
        yield line("choose a cine that was", self._open_again)
        yield line("next slice, not seen before", self._next_slice)
        yield line("next slice, seen before", self._seen_slice)
        yield line("next frame", lambda: self._key("ArrowRight", self._moved("time")))
        yield line("play, until the next frame", self._play)
        yield line("close a contour", partial(self._draw, middle, ed))
        yield line("undo", partial(self._undo_and_redo, 0))
        yield line("redo", partial(self._undo_and_redo, 1))
        yield line("suggest contours", self._suggest)
        sizes = f"{len(self.slices)} slices x {count} frames"
        yield line(f"propagate {sizes}", self._propagate, count * len(self.slices), PROPAGATED)
        yield line("drag a followed contour, until it is where the mouse is", lambda: self._drag(middle, later)[0])
        yield line("drag a followed contour, until the numbers are of it", lambda: self._drag(middle, later)[1])
        yield line("save", self._save)
        yield line("report", self._report)
        yield line("download", lambda: self._key("Control+Shift+S", self._says("Given")))

    def _waited(self, act: Callable[[], object], done: str, kind: str) -> float:
        """Seconds from what is done, by events of a kind, until JavaScript says that it is."""
        self.page.evaluate(ARM, [done, kind, PATIENCE])
        act()
        return float(self.page.evaluate("waited"))

    def _until(self, done: str) -> float:
        """Seconds since the page's start."""
        return self._waited(lambda: None, done, "")

    def _key(self, key: str, done: str) -> float:
        return self._waited(lambda: self.page.keyboard.press(key), done, "keydown")

    def _moved(self, part: str) -> str:
        """That the image is there, and a text is another than now."""
        text = self.page.evaluate(f"document.getElementById('{part}').textContent")
        return f"{IMAGE} && document.getElementById('{part}').textContent !== {text!r}"

    def _says(self, text: str) -> str:
        return f"document.getElementById('status').textContent.startsWith('{text}') && {IDLE}"

    def _load(self) -> float:
        """The page anew, with all that was drawn on it kept."""
        if self.page.url != "about:blank":
            self.page.locator("#kept:not([data-state=unsaved])").wait_for(state="attached")
        self.page.goto(self.address, wait_until="commit")
        return self._until(LISTED)

    def _open(self, number: int = 0) -> float:
        done = f"{IMAGE} && {IDLE} && document.querySelectorAll('#cines button')[{number}].ariaCurrent === 'true'"
        return self._waited(self.page.locator("#cines button").nth(number).click, done, "pointerdown")

    def _open_anew(self) -> float:
        """With files that the server has not read as they are now."""
        os.utime(self.file)
        self._load()
        return self._open()

    def _open_again(self) -> float:
        self._open(1)
        return self._open()

    def _begin(self) -> None:
        """The cine, with no work on it."""
        self._load()
        for session in (self.folder / "results").rglob("*_session.json"):
            session.unlink()
        self._open()

    def _next_slice(self) -> float:
        self._begin()
        return self._key("ArrowDown", self._moved("where"))

    def _seen_slice(self) -> float:
        """There and back: however often it is timed, there is a slice to go to."""
        self._key("ArrowUp", self._moved("where"))
        return self._key("ArrowDown", self._moved("where"))

    def _play(self) -> float:
        waited = self._key(" ", self._moved("time"))
        self.page.keyboard.press(" ")
        return waited

    def _show(self, number: int, frame: int) -> None:
        self.page.click(f"#slices [data-slice='{number}']")
        self.page.locator("#frame").fill(str(frame + 1))
        self._until(IMAGE)  # without it nothing can be drawn
        self.page.keyboard.press("0")

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """Of a pixel of the image on the screen, where the whole image is shown."""
        height, width = self.patient.cine.images.shape[2:]
        row, column = self.patient.cine.spacing
        box, aspect = self.page.locator("#stage").bounding_box(), row / column
        scale = min(box["width"] / width, box["height"] / (height * aspect))
        left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        return left + (x - (width - 1) / 2) * scale, top + (y - (height - 1) / 2) * scale * aspect

    def _draw(self, number: int, frame: int) -> float:
        self._show(number, frame)
        self.page.keyboard.press("d")
        ring = outline(self.patient.drawn["ed"][number])[0]
        for x, y in ring[np.linspace(0, len(ring), POINTS, endpoint=False).astype(int)]:
            self.page.mouse.click(*self._place(x, y))
        return self._key("Enter", "document.getElementById('draw').ariaPressed === 'false'")

    def _undo_and_redo(self, wanted: int) -> float:
        """Open a closed contour, and close it again."""
        opened, closed = (f"document.getElementById('draw').ariaPressed === '{text}'" for text in ("true", "false"))
        return (self._key("Control+z", opened), self._key("Control+y", closed))[wanted]

    def _suggest(self) -> float:
        self._begin()
        return self._key("a", self._says("Suggested"))

    def _propagate(self) -> float:
        self._begin()
        self.page.set_input_files("#mask", self.mask)
        self.page.locator("#status:has-text('drawn on')").wait_for()
        with self.page.expect_response(_follows) as answer:
            waited = self._key("p", NUMBERS)
        self.followed = answer.value.json()["slices"]
        return waited

    def _drag(self, number: int, frame: int) -> tuple[float, float]:
        """The rightmost place of a followed contour is dragged, let go, and put back."""
        self._show(number, frame)
        self.page.locator("#kept[data-state=kept]").wait_for()
        (ring, *_) = self.followed[str(number)]["contours"]["lumen"][frame]
        x, y = self._place(*max(ring))
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        changed = "document.getElementById('kept').dataset.state === 'unsaved'"
        line = self._waited(lambda: self.page.mouse.move(x + 9, y, steps=3), changed, "pointermove")
        numbers = self._waited(self.page.mouse.up, NUMBERS, "pointerup")
        with self.page.expect_response(_follows):
            self.page.keyboard.press("Control+z")
        self._until(NUMBERS)
        return line, numbers

    def _save(self) -> float:
        self._clear()
        return self._key("Control+s", self._says("Saved"))

    def _report(self) -> float:
        self._clear()
        waited = self._waited(lambda: self.page.click("#report"), self._says("Report"), "pointerdown")
        for page in self.page.context.pages[1:]:
            page.close()
        return waited

    def _clear(self) -> None:
        """Away with results, so that nothing is asked before they are written."""
        for path in (self.folder / "results").rglob("?_*"):
            if not path.name.endswith("_session.json"):
                path.unlink()


def _follows(response: Any) -> bool:
    return bool(response.request.method == "POST" and response.url.endswith("/follow"))
