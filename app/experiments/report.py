"""The experiment as one HTML page that needs nothing else: tables, figures, and a viewer of registrations."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from contourpy import contour_generator
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from dirnet.files.aside import write_aside
from dirnet.files.pictures import window_around

__all__ = ["Section", "write"]

CROP = 144


@dataclass(frozen=True)
class Section:
    """A table of texts with its title and what is to be said of it."""

    title: str
    table: pd.DataFrame
    note: str = ""


def write(
    path: Path,
    sections: Sequence[Section],
    about: Mapping[str, Any],
    figures: Path,
    captions: Mapping[str, str],
    cases: Sequence[Mapping[str, Any]],
    introduction: str,
    title: str = "DIRNet: Table 1, again",
) -> None:
    """
    Args:
        path: of the page.
        sections: its tables.
        about: what the results were made with.
        figures: folder of the PNG files that ``captions`` names.
        captions: of the figures, in order.
        cases: of the viewer, as :func:`app.experiments.figures.comparison` takes them, with ``dice`` by ``"before"``
            and method's title.
    """
    environment = Environment(loader=PackageLoader("app.experiments"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html.j2").render(
        title=title,
        introduction=introduction,
        sections=sections,
        about=about,
        figures=[(_data_uri(Image.open(figures / name).convert("RGB")), caption) for name, caption in captions.items()],
        # "<" could end the script element, or begin a comment in it
        cases=json.dumps([_viewer_case(case) for case in cases]).replace("<", "\\u003c"),
        has_cases=bool(cases),
    )
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def _viewer_case(case: Mapping[str, Any]) -> dict[str, Any]:
    window = window_around(case["fixed_lumen"], case["fixed"].shape, CROP)

    def view(name: str, image: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
        return {"name": name, "image": _picture(image[window]), "contour": _outline(mask[window])}

    warped = [
        {**view(name, image, case["warped_lumen"][name]), "dice": _number(case["dice"][name])}
        for name, image in case["warped"].items()
    ]
    moving = view("moving frame, not registered", case["moving"], case["moving_lumen"])
    moving["dice"] = _number(case["dice"]["before"])
    height, width = (part.stop - part.start for part in window)
    return {
        "title": case["title"].replace("\n", ": ", 1).replace("\n", " "),
        "size": [width, height],
        "fixed": view("fixed frame", case["fixed"], case["fixed_lumen"]),
        "shown": [*warped, moving],
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def _picture(image: np.ndarray) -> str:
    return _data_uri(Image.fromarray((255 * image.clip(0, 1)).round().astype(np.uint8)))


def _outline(mask: np.ndarray) -> str:
    """A mask's outline as an SVG path, in pixels from the corner of the first."""
    lines = contour_generator(z=np.pad(mask.astype(float), 1)).lines(0.5)
    return " ".join("M" + "L".join(f"{x - 0.5:.1f} {y - 0.5:.1f}" for x, y in line) for line in lines)


def _data_uri(image: Image.Image) -> str:
    """WebP, which every browser shows: a page of PNG is five times as large."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
