"""Pictures of registrations: fixed, moving, warped, differences and the warped grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from matplotlib.figure import Figure

from ..files import write_aside

__all__ = ["RegistrationPictures", "picture", "save_picture"]


def picture(rows: list[dict[str, Any]], crop: int | None = None) -> Figure:
    """One row a registration: fixed, moving, warped, fixed - moving, fixed - warped, and the warped grid.

    Args:
        rows: dictionaries of arrays (H, W) ``fixed``, ``moving``, ``warped``, ``ddf`` (2, H, W), and optionally the
            masks ``fixed_lumen``, ``moving_lumen`` and ``warped_lumen``, drawn as contours, and a ``title``.
        crop: side in pixels of the square around the fixed lumen that is shown, where there is one.
    """
    headings = ("fixed", "moving", "warped", "fixed − moving", "fixed − warped", "warped grid")
    figure = Figure(figsize=(2.2 * len(headings), 2.35 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(headings), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        fixed, moving, warped = row["fixed"], row["moving"], row["warped"]
        shown = _window(row, crop)
        white = max(np.percentile(fixed[shown], 99.5), np.percentile(moving[shown], 99.5), 1e-3)
        for ax, image in zip(line, (fixed, moving, warped), strict=False):
            ax.imshow(image, cmap="gray", vmin=0, vmax=white)
        for ax, image in zip(line[3:], (moving, warped), strict=False):
            ax.imshow(fixed - image, cmap="RdBu_r", vmin=-white, vmax=white)
        line[5].imshow(fixed, cmap="gray", vmin=0, vmax=white, alpha=0.5)
        _draw_grid(line[5], row["ddf"])
        _draw_contours(line, row)
        for ax in line:
            ax.set(xlim=(shown[1].start - 0.5, shown[1].stop - 0.5), xticks=[])
            ax.set(ylim=(shown[0].stop - 0.5, shown[0].start - 0.5), yticks=[])
        line[0].set_ylabel(row.get("title", ""), fontsize=8)
    for ax, heading in zip(axes[0], headings, strict=True):
        ax.set_title(heading, fontsize=9)
    return figure


def save_picture(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a figure to a PNG file, whole or not at all."""
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=dpi)


def _draw_grid(ax: Any, ddf: np.ndarray, step: int = 8) -> None:
    """Lines of the fixed grid where the field takes them in the moving image."""
    rows, columns = np.meshgrid(*map(np.arange, ddf.shape[1:]), indexing="ij")
    rows, columns = rows + ddf[0], columns + ddf[1]
    ax.plot(columns[::step].T, rows[::step].T, color="#0072B2", linewidth=0.6)
    ax.plot(columns[:, ::step], rows[:, ::step], color="#0072B2", linewidth=0.6)


def _draw_contours(line: Any, row: dict[str, Any]) -> None:
    """Fixed lumen in yellow on every image, moving or warped lumen in blue on its own."""
    shown = ((0, None), (1, "moving_lumen"), (2, "warped_lumen"))
    for column, own in shown:
        for name, colour in (("fixed_lumen", "#F0E442"), (own, "#56B4E9")):
            if name in row and row[name].any():
                line[column].contour(row[name], levels=[0.5], colors=colour, linewidths=0.9)


def _window(row: dict[str, Any], crop: int | None) -> tuple[slice, ...]:
    """Rows and columns to show: a square of side ``crop`` around the fixed lumen, or the whole image."""
    size, mask = row["fixed"].shape, row.get("fixed_lumen")
    if crop is None or mask is None or not mask.any():
        return tuple(slice(0, n) for n in size)
    starts = [
        int(np.clip(where.mean() - crop / 2, 0, max(0, n - crop)))
        for where, n in zip(np.nonzero(mask), size, strict=True)
    ]
    return tuple(slice(start, min(start + crop, n)) for start, n in zip(starts, size, strict=True))


class RegistrationPictures:
    """Shows the same few registrations each time a validator has run: in TensorBoard, and the last time as a file.

    Args:
        writer: TensorBoard's ``SummaryWriter``.
        path: of the PNG file.
        step: gives the iteration that the pictures carry.
        count: registrations shown, spread evenly over the validator's.
    """

    def __init__(self, writer: Any, path: str | Path, step: Callable[[], int], count: int = 4) -> None:
        self.writer = writer
        self.path = Path(path)
        self.step = step
        self.count = count
        self.rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.show)

    def collect(self, engine: Engine) -> None:
        """Take the first registration of evenly spread batches, so that no image is kept that is not shown."""
        batches, batch = engine.state.epoch_length, engine.state.iteration - 1
        chosen = {round(k * (batches - 1) / max(1, self.count - 1)) for k in range(self.count)}
        if batch not in chosen:
            return
        output, names = engine.state.output, engine.state.batch
        arrays = {
            "moving": output["image"][0, 0],
            "fixed": output["label"]["fixed"][0, 0],
            "warped": output["pred"]["warped"][0, 0],
            "ddf": output["pred"]["ddf"][0],
            "moving_lumen": names["moving_lumen"][0, 0],
            "fixed_lumen": output["label"]["fixed_lumen"][0, 0],
            "warped_lumen": output["pred"]["warped_masks"][0, 0],
        }
        row: dict[str, Any] = {name: array.float().cpu().numpy() for name, array in arrays.items()}
        row["title"] = f"{names['patient'][0]}, slice {int(names['slice'][0])}, {names['direction'][0]}"
        self.rows.append(row)

    def show(self, engine: Engine) -> None:
        figure = picture(self.rows, crop=128)
        self.writer.add_figure("registrations", figure, self.step())
        save_picture(figure, self.path)
