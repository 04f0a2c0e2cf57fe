"""Control points to displacement field."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dirnet.nets.splines import BSplineTransformer

from .measure import SIZE, Bench, Line, Row, same
from .spline_peers import TransposedSpline, itk_field

__all__ = ["rows"]

SPACING = 16
BATCHES = (1, 32)
TOLERANCE = 1e-4  # pixels, of displacements of up to 5
# least ratio of forward, and of forward and backward, at the largest batch
SEPARABLE, FULL = (5, 4), (20, 15)


def rows(bench: Bench) -> Iterator[list[Row]]:
    """Each order, batch and passes: ours against transposed convolutions and, forward on one, SimpleITK."""
    for order in (2, 3):
        for batch in BATCHES:
            for backward in (False, True):
                yield bench.measure(_lines(bench, order, batch, backward))


def _lines(bench: Bench, order: int, batch: int, backward: bool) -> list[Line]:
    count = SIZE // SPACING
    points = (torch.rand(batch, 2, count, count, device=bench.device) * 10 - 5).requires_grad_(backward)
    ours = BSplineTransformer(SPACING, order)
    expected = ours(points.detach())
    gradient = torch.rand_like(expected)  # a value a pixel, as a loss gives it
    passes = "forward + backward" if backward else "forward"
    targets = batch == max(BATCHES)

    def line(name: str, spline: Callable[[Tensor], Tensor], least: float | None) -> Line:
        same(name, spline(points.detach()), expected, TOLERANCE)

        def call() -> None:
            field = spline(points)
            if backward:
                points.grad = None
                field.backward(gradient)

        return Line(f"{name}, order {order}", call, batch, passes=passes, least_ratio=least)

    lines = [line("basis matrices", ours, None)]
    for separable, kind in ((True, "separable"), (False, "full 2-D")):
        least = (SEPARABLE if separable else FULL)[backward] if targets else None
        for grouped, way in ((True, "components as groups"), (False, "components as a batch")):
            spline = TransposedSpline(SPACING, order, separable, grouped).to(bench.device)
            lines.append(line(f"transposed convolution, {kind}, {way}", spline, least))
    if batch == 1 and not backward:
        lines.append(line("SimpleITK", lambda p: itk_field(p[0], SPACING, order)[None], None))
    return lines
