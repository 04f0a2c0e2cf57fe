"""Pictures of a followed contour: curves over the cycle, and the cine with the contour moving on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from ..files.aside import write_aside
from ..files.pictures import window_around

__all__ = ["curve_figure", "save_animation"]

# of Okabe and Ito, told apart by the colour-blind too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
YELLOW, BLUE = (0xF0, 0xE4, 0x42), (0x56, 0xB4, 0xE9)  # drawn and followed contour, as in other pictures
GREYS = 126  # the first colours of a GIF, then yellow and blue; twice as many make the file larger by half
SIDE = 320  # pixels of an animation's longer side at least; of several slices, of two
HEADROOM = 0.08  # of a curve's height, above it: the marks at its largest value lie on no edge
BAR = 4  # rows of it that show the place in the cycle


def curve_figure(
    curves: Mapping[str, ArrayLike],
    quantity: str,
    unit: str,
    ed: int | None = None,
    es: int | None = None,
    times: ArrayLike | None = None,
    first: int = 0,
) -> Figure:
    """Curves over the cycle with end-diastole (ED) and end-systole (ES) marked, of a single curve with their values.

    To write it, :func:`dirnet.files.pictures.save_picture`.

    Args:
        curves: (T,) values by name, such as of each slice; nan leaves a gap.
        quantity, unit: label the vertical axis, such as "LV volume" and "ml".
        ed, es: frames, from 0; None for none.
        times: (T,) of the frames in ms; the horizontal axis counts frames without.
        first: number of the first frame where they are counted.

    Raises:
        ValueError: when there is no curve, or lengths differ, or ``ed`` or ``es`` is no frame.
    """
    values = {name: np.asarray(curve, float) for name, curve in curves.items()}
    shapes = {curve.shape for curve in values.values()} | ({np.shape(times)} if times is not None else set())
    if not values or len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"expected curves (T,) of one length, got {list(values)} of {sorted(shapes)}")
    length = next(iter(shapes))[0]
    marks = {name: frame for name, frame in (("ED", ed), ("ES", es)) if frame is not None}
    if not all(0 <= frame < length for frame in marks.values()):
        raise ValueError(f"{marks}: expected frames of 0 to {length - 1}")

    along = first + np.arange(length) if times is None else np.asarray(times, float)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = figure.subplots()
    for k, (name, curve) in enumerate(values.items()):
        style: dict[str, Any] = {
            "color": COLOURS[k % len(COLOURS)],
            "linestyle": DASHES[k // len(COLOURS) % len(DASHES)],
        }
        ax.plot(along, curve, marker="o", markersize=3, label=name, **style)
        ends = list(marks.values())
        ax.plot(along[ends], curve[ends], "o", markersize=8, color=style["color"], fillstyle="none")
    top = ax.secondary_xaxis("top")
    top.set_xticks(
        [along[frame] for frame in marks.values()],
        [_mark(name, frame, list(values.values()), unit) for name, frame in marks.items()],
    )
    for frame in marks.values():
        ax.axvline(along[frame], color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="frame" if times is None else "time, ms", ylabel=f"{quantity}, {unit}")
    if times is None:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    known = np.concatenate([curve[np.isfinite(curve)] for curve in values.values()])
    ax.margins(y=HEADROOM)
    if not (known < 0).any():
        ax.set_ylim(bottom=0)  # an axis cut off below makes a heart look stronger than it is
        if known.any():
            ax.set_ylim(top=(1 + HEADROOM) * known.max())
    if len(values) > 1:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _mark(name: str, frame: int, curves: list[np.ndarray], unit: str) -> str:
    if len(curves) > 1 or np.isnan(curves[0][frame]):
        return name
    value = f"{curves[0][frame]:.{1 if unit == '%' else 0}f}".replace("-", "−")
    return f"{name} {value} {unit}"


def save_animation(
    path: str | Path,
    images: ArrayLike,
    masks: ArrayLike | Mapping[str, ArrayLike],
    drawn: ArrayLike,
    frame_ms: float = 50.0,
    titles: Sequence[str] = (),
) -> None:
    """Write a cine with contours on it as an animated GIF, without end: yellow as drawn, blue as followed.

    Slices stand side by side, each as a square around its masks, of the size that the largest needs with as much again
    around it, enlarged by a whole factor; a bar below grows with the cycle. Pixels are shown square. A GIF counts time
    in 10 ms, so frames differ by that to keep the rate. The file appears whole or not at all.

    Args:
        images: (S, T, H, W), or (T, H, W) of one slice, in [0, 1]; what is beyond is clipped.
        masks: of the same shape, above 0.5 inside; empty where there is no contour. Of several structures by name.
        drawn: frame on which it was drawn, from 0; or of each slice and frame whether it was, (S, T).
        frame_ms: from one frame to the next; 20 or more, for what is faster viewers slow down.
        titles: of the slices, written into them.

    Raises:
        ValueError: when the shapes differ, there is no such frame, or ``frame_ms`` is out of range.
    """
    stacks = np.asarray(images, np.float32)
    given = list(masks.values()) if isinstance(masks, Mapping) else [masks]
    shapes = {np.shape(part) for part in given}
    found = " and ".join(map(str, [stacks.shape, *shapes]))
    if stacks.ndim not in (3, 4) or 0 in stacks.shape or shapes != {stacks.shape}:
        raise ValueError(f"expected images and masks (T, H, W) or (S, T, H, W), got {found}")
    stacks = stacks.reshape(-1, *stacks.shape[-3:])
    layers = np.stack([(np.asarray(part) > 0.5).reshape(stacks.shape) for part in given], 2)  # (S, T, structures, H, W)
    inside = np.asarray(layers.any(2))
    count = stacks.shape[1]
    as_drawn = np.asarray(drawn)
    if as_drawn.ndim == 0:
        if not 0 <= as_drawn < count:
            raise ValueError(f"the frame drawn on must be 0 to {count - 1}, got {as_drawn}")
        as_drawn = np.broadcast_to(np.arange(count) == as_drawn, stacks.shape[:2])
    if not 20 <= frame_ms <= 60_000:
        raise ValueError(f"expected 20 to 60000 ms a frame, got {frame_ms}")

    anywhere = np.asarray(inside.any(1))
    extents = [int(np.ptp(where)) + 1 for slice_ in anywhere for where in np.nonzero(slice_) if where.size]
    side = min(max(48, 2 * max(extents, default=0)), max(stacks.shape[2:]))
    places = [slice_ if slice_.any() else np.asarray(anywhere.any(0)) for slice_ in anywhere]
    windows = [(slice(None), *window_around(place, place.shape, side)) for place in places]
    factor = -(-SIDE // (side * min(2, len(stacks))))
    pages = []
    for frame in range(count):
        panels = [
            _panel(
                stack[window][frame],
                layer[frame][(slice(None), *window[1:])],
                factor,
                GREYS + (not yellow[frame]),
                title,
            )
            for stack, layer, yellow, window, title in zip(
                stacks, layers, as_drawn, windows, [*titles, *[""] * len(stacks)], strict=False
            )
        ]
        pages.append(_page(panels, (frame + 1) / count))
    ticks = np.round(np.arange(count + 1) * frame_ms / 10)
    durations = (10 * np.diff(ticks)).astype(int).tolist()
    with write_aside(path) as aside:
        pages[0].save(aside, "GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0)


def _panel(image: np.ndarray, masks: np.ndarray, factor: int, colour: int, title: str) -> np.ndarray:
    """One slice's frame enlarged, with contours inside the borders of masks (structures, H, W), in the colours of the
    GIF."""
    size = (image.shape[1] * factor, image.shape[0] * factor)
    grey = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    if title:
        ImageDraw.Draw(grey).text((4, 2), title, fill=255, font_size=14)
    indices = np.asarray(grey, np.uint16) * (GREYS - 1) // 255
    for mask in masks:
        smooth = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        inside = np.asarray(smooth) > 127
        indices[inside & ~binary_erosion(inside, iterations=2, border_value=1)] = colour
    return indices


def _page(panels: Sequence[np.ndarray], progress: float) -> Image.Image:
    """Panels side by side, and the bar below."""
    shown = np.concatenate(panels, 1)
    bar = np.zeros((BAR, shown.shape[1]), np.uint16)
    bar[1:, : round(progress * shown.shape[1])] = GREYS - 1
    page = Image.fromarray(np.concatenate([shown, bar]).astype(np.uint8), "P")
    greys = np.linspace(0, 255, GREYS).round().astype(int).repeat(3).tolist()
    page.putpalette([*greys, *YELLOW, *BLUE])
    return page
