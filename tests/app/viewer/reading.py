"""Who looks at the viewer's page in Chromium and has a mouse and a keyboard."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import uvicorn
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes

from transforms.contours import outline

LUMEN, EPICARDIUM, RV, MOTION = (0xF0, 0xE4, 0x42), (0x2C, 0xC2, 0x95), (0x56, 0xB4, 0xE9), (0xE6, 0x9F, 0x00)


@contextmanager
def served(app) -> Iterator[str]:
    """The address of a server on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:  # after a failure too: else pytest waits for the thread
            server.should_exit = True
            thread.join(10)


class Reader:
    """Who looks at a page and has a mouse and a keyboard."""

    def __init__(self, page, size):
        self.page, self.size = page, size

    def press(self, key, times=1):
        for _ in range(times):
            self.page.keyboard.press(key)

    def status(self):
        """The line at the bottom, once nothing is going on."""
        return self.page.locator("#status:not(.busy)").inner_text()

    def frame(self):
        """As files count, from 0; the page counts from 1."""
        return int(self.page.locator("#time").inner_text().split()[1]) - 1

    def wait(self):
        """For the image of the slice: before it is there, nothing can be drawn."""
        self.page.locator("#stage[aria-busy=false]").wait_for()

    def go_to(self, frame):
        self.page.locator("#frame").fill(str(frame + 1))
        self.wait()

    def slice(self):
        """As files count."""
        return int(self.page.locator("#slices [aria-pressed=true]").get_attribute("data-slice"))

    def go_to_slice(self, number):
        self.page.click(f"#slices [data-slice='{number}']")
        self.wait()

    def scale(self):
        """The stage, the scale of the image that fills it, and where the middle of its first pixel is."""
        box = self.page.locator("#stage").bounding_box()
        scale = min(box["width"] / self.size[1], box["height"] / self.size[0])
        height, width = self.size
        return box, scale, (box["width"] / 2 - (width - 1) / 2 * scale, box["height"] / 2 - (height - 1) / 2 * scale)

    def click(self, x, y, **options):
        """On a place of the image, in its pixels."""
        box, scale, (left, top) = self.scale()
        self.page.mouse.click(box["x"] + left + x * scale, box["y"] + top + y * scale, **options)

    def draw(self, mask, points=14):
        ring = outline(mask)[0]
        for x, y in ring[np.linspace(0, len(ring), points, endpoint=False).astype(int)]:
            self.click(x, y)

    def see(self, part="#stage"):
        """What is on the stage, RGB."""
        self.page.wait_for_timeout(120)  # for the next frame of the screen
        return np.asarray(Image.open(io.BytesIO(self.page.locator(part).screenshot())).convert("RGB")).astype(int)

    def at_pixels(self, seen):
        """What was seen in the middle of each pixel of the image."""
        _, scale, (left, top) = self.scale()
        row, column = np.indices(self.size)
        return seen[np.round(top + row * scale - 0.5).astype(int), np.round(left + column * scale - 0.5).astype(int)]

    def enclosed(self, colour, gap=2):
        """Pixels of the image inside the line of a colour, over gaps beside points or between dashes, of as many pixels
        of the screen to each side: (H, W) bool."""
        seen = self.see()
        line = binary_dilation(np.abs(seen - colour).sum(2) < 60, iterations=gap)
        return self.at_pixels(binary_erosion(binary_fill_holes(line), iterations=gap))
