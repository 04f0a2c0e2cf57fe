"""Displacement field and image to warped image."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from monai.networks.blocks import Warp
from torch import Tensor

from dirnet.fields.resampling import warp
from dirnet.nets.splines import BSplineTransformer

from .measure import SIZE, Bench, Line, Row, same

__all__ = ["rows"]

SPACING = 16
BATCHES = (1, 32)
TOLERANCE = 1e-3  # of intensities in [0, 1]: of noise, rounded coordinates show
LEAST = 3


def rows(bench: Bench) -> Iterator[list[Row]]:
    """Each batch and passes: our warp against MONAI's."""
    for batch in BATCHES:
        for backward in (False, True):
            yield bench.measure(_lines(bench.device, batch, backward))


def _lines(device: torch.device, batch: int, backward: bool) -> list[Line]:
    """The first way is ours."""
    count = SIZE // SPACING
    moving = torch.rand(batch, 1, SIZE, SIZE, device=device)
    points = torch.rand(batch, 2, count, count, device=device) * 10 - 5
    source = BSplineTransformer(SPACING)(points).requires_grad_(backward)
    monai = Warp(padding_mode="border")
    ways = {"warp": lambda ddf: warp(moving, ddf), "MONAI's Warp": lambda ddf: monai(moving, ddf)}
    expected = warp(moving, source.detach())
    gradient = torch.rand_like(expected)  # a value a pixel, as a loss gives it

    def line(name: str, way: Callable[[Tensor], Tensor], least: float | None) -> Line:
        same(name, way(source.detach()), expected, TOLERANCE)

        def call() -> None:
            warped = way(source)
            if backward:
                source.grad = None
                warped.backward(gradient)

        passes = "forward + backward" if backward else "forward"
        return Line(name, call, len(source), passes=passes, least_ratio=least)

    return [line(name, way, LEAST if number else None) for number, (name, way) in enumerate(ways.items())]
