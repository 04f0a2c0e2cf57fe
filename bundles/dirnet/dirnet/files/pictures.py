"""Pictures of registrations: fixed, moving, warped, differences and the warped grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .aside import write_aside

__all__ = ["picture", "planes_of", "save_picture", "window_around"]


def picture(rows: list[dict[str, Any]], crop: int | None = None) -> Figure:
    """One row a registration: fixed, moving, warped, fixed - moving, fixed - warped, and the warped grid.

    Args:
        rows: dictionaries of arrays (H, W) ``fixed``, ``moving``, ``warped``; ``ddf`` (2, H, W) in pixels,
            (row, column), pull-back; optionally the masks ``fixed_masks``, ``moving_masks`` and ``warped_masks``,
            (H, W) or (K, H, W), drawn as contours; ``aspect``, the height of a pixel over its width; and a ``title``.
        crop: side in pixels of the square around the fixed masks that is shown, where there are some.
    """
    headings = ("fixed", "moving", "warped", "fixed − moving", "fixed − warped", "warped grid")
    figure = Figure(figsize=(2.2 * len(headings), 2.3 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), len(headings), squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        fixed, moving, warped = row["fixed"], row["moving"], row["warped"]
        shown = window_around(row.get("fixed_masks"), fixed.shape, crop)
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
            ax.set(ylim=(shown[0].stop - 0.5, shown[0].start - 0.5), yticks=[], aspect=row.get("aspect", 1.0))
        line[0].set_ylabel(row.get("title", ""), fontsize=8)
    for ax, heading in zip(axes[0], headings, strict=True):
        ax.set_title(heading, fontsize=9)
    return figure


def planes_of(arrays: Mapping[str, np.ndarray], spacing: Sequence[float]) -> dict[str, dict[str, Any]]:
    """Three planes of volumes through the middle of the fixed masks, or their own, with the field, for :func:`picture`.

    Args:
        arrays: volumes and masks (..., D, H, W), axes (slice, row, column) in LPS; among them may be
            ``fixed_masks``; and the field as ``ddf`` (3, D, H, W).
        spacing: mm, (slice, row, column).

    Returns:
        by the plane's name, arrays (..., rows, columns) by theirs, in which the head or the front is above; ``ddf``
        (2, rows, columns); and ``aspect``.
    """
    drawn = np.argwhere(arrays.get("fixed_masks", np.zeros((1, 1, 1))))
    size = arrays["ddf"].shape[1:]
    middle = drawn.mean(0)[-3:].round().astype(int) if len(drawn) else np.array(size) // 2
    planes = {}
    for axis, name in enumerate(("axial", "coronal", "sagittal")):
        rest = [other for other in range(3) if other != axis]
        plane: dict[str, Any] = {
            key: np.take(values, middle[axis], axis - 3)[..., :: -1 if rest[0] == 0 else 1, :]  # slices from the head
            for key, values in arrays.items()
        }
        plane["ddf"] = plane["ddf"][rest] * (np.array([-1 if rest[0] == 0 else 1, 1])[:, None, None])
        plane["aspect"] = spacing[rest[0]] / spacing[rest[1]]
        planes[name] = plane
    return planes


def save_picture(figure: Figure, path: str | Path, dpi: int = 110) -> None:
    """Write a figure to a PNG file, whole or not at all."""
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=dpi)


def _draw_grid(ax: Any, ddf: np.ndarray) -> None:
    """Lines of the fixed grid where the field takes them in the moving image."""
    step = 8 if min(ddf.shape[1:]) >= 64 else 4
    rows, columns = np.meshgrid(*map(np.arange, ddf.shape[1:]), indexing="ij")
    rows, columns = rows + ddf[0], columns + ddf[1]
    ax.plot(columns[::step].T, rows[::step].T, color="#0072B2", linewidth=0.6)
    ax.plot(columns[:, ::step], rows[:, ::step], color="#0072B2", linewidth=0.6)


def _draw_contours(line: Any, row: dict[str, Any]) -> None:
    """Fixed masks in yellow on every image, moving or warped masks in blue on their own."""
    shown = ((0, None), (1, "moving_masks"), (2, "warped_masks"))
    for column, own in shown:
        for name, colour in (("fixed_masks", "#F0E442"), (own, "#56B4E9")):
            for mask in row[name].reshape(-1, *row["fixed"].shape) if name in row else ():
                if mask.any() and not mask.all():
                    line[column].contour(mask, levels=[0.5], colors=colour, linewidths=0.9)


def window_around(mask: np.ndarray | None, shape: Sequence[int], crop: int | None) -> tuple[slice, ...]:
    """Rows and columns of a square of side ``crop`` around masks, (H, W) or (K, H, W), cut to the image's ``shape``;
    the whole image without either."""
    if crop is None or mask is None or not mask.any():
        return tuple(slice(0, n) for n in shape)
    places = np.nonzero(mask.reshape(-1, *shape))[1:]
    starts = [
        int(np.clip(where.mean() - crop / 2, 0, max(0, n - crop))) for where, n in zip(places, shape, strict=True)
    ]
    return tuple(slice(start, min(start + crop, n)) for start, n in zip(starts, shape, strict=True))
