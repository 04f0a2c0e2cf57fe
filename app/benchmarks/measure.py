"""Calls timed in turn, so that the drift of a busy machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transforms import scd
from transforms.phantom import write_scd
from transforms.records import Record
from transforms.sources import read_records

__all__ = ["SIZE", "Bench", "Line", "Row", "measure", "same"]

SIZE = 256
BLOCK = 0.02  # s; calls shorter than that are timed several at once
LEAST_RUNS = 3


@dataclass(frozen=True)
class Line:
    """Something to be measured.

    Attributes:
        name: as it stands in the table.
        call: of which each timing is.
        batch, size, passes: what it works on, for the table.
        least_ratio: target; how many times longer than the first of its lines it should take at least.
        least_rate: target; how many of the batch's pairs a second it should do at least.
        ncc: what similarity the call's result has, where that means something.
        times_itself: whether the call returns the seconds that count, without its own preparations.
        once: whether it is too slow to be run more than once.
    """

    name: str
    call: Callable[[], Any]
    batch: int = 1
    size: str = f"{SIZE}x{SIZE}"
    passes: str = "forward"
    least_ratio: float | None = None
    least_rate: float | None = None
    ncc: Callable[[Any], float] | None = None
    times_itself: bool = False
    once: bool = False


@dataclass(frozen=True)
class Row:
    """What was measured of a line. ``ratio`` is its time over that of the line ``against``, the first measured with
    it: the median over the rounds, between its quartiles; None of the first line itself."""

    name: str
    batch: int
    size: str
    passes: str
    median_ms: float
    iqr_ms: float
    runs: int
    against: str = ""
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    least_ratio: float | None = None
    least_rate: float | None = None
    ncc: float | None = None
    peak_mb: float | None = None

    @property
    def per_second(self) -> float:
        """Pairs, or what the line makes one of for each of the batch."""
        return 1e3 * self.batch / self.median_ms


@dataclass
class Bench:
    """Where and how long it is measured.

    Attributes:
        device: of what is not bound to the processor.
        threads: of the processor.
        seconds: spent on each line; a line that takes long is run three times all the same.
        dataset_dir: real frames, in SCD's layout; None for the phantom.
        folder: for temporary files.
        skipped: what could not be measured here, and why.
    """

    device: torch.device
    threads: int
    seconds: float
    dataset_dir: str | None
    folder: Path
    skipped: list[str] = field(default_factory=list)

    def measure(self, lines: Sequence[Line]) -> list[Row]:
        return measure(lines, self.seconds, self.device)

    @cached_property
    def phantom(self) -> Path:
        return write_scd(self.folder / "phantom", size=(SIZE, SIZE))

    @cached_property
    def records(self) -> list[Record]:
        return read_records(self.dataset_dir, "") if self.dataset_dir else scd.scan(self.phantom)


def measure(lines: Sequence[Line], seconds: float, device: torch.device | str = "cpu") -> list[Row]:
    """Time lines in turn, there and back, until ``seconds`` a line have passed; three rounds at least.

    A timing is of one call, or the mean of as many as take 20 ms. The first line may not be run only once.
    """
    repeats = [1] * len(lines)
    nccs: list[float | None] = [None] * len(lines)
    times: list[list[float]] = [[] for _ in lines]
    for number, line in enumerate(lines):
        if line.times_itself:
            continue
        _synchronise(device)
        start = time.perf_counter()
        result = line.call()  # what is made once only is made here
        _synchronise(device)
        first = time.perf_counter() - start
        if line.ncc is not None:
            nccs[number] = line.ncc(result)
        del result
        if line.once:
            times[number].append(first)
        elif first < 1:
            repeats[number] = max(1, round(BLOCK / _block(line, 1, device)))
    numbers = [number for number, line in enumerate(lines) if not line.once]
    start = time.perf_counter()
    while len(times[0]) < LEAST_RUNS or time.perf_counter() - start < seconds * len(numbers):
        for number in numbers:
            times[number].append(_block(lines[number], repeats[number], device))
        numbers.reverse()
    return [_row(line, lines[0], own, times[0], ncc) for line, own, ncc in zip(lines, times, nccs, strict=True)]


def _block(line: Line, repeats: int, device: torch.device | str) -> float:
    """Seconds a call."""
    if line.times_itself:
        return line.call()
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(repeats):
        line.call()
    _synchronise(device)
    return (time.perf_counter() - start) / repeats


def _synchronise(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _row(line: Line, first: Line, times: Sequence[float], first_times: Sequence[float], ncc: float | None) -> Row:
    low, median, high = np.percentile(times, (25, 50, 75)) * 1e3
    if line is first:
        against, ratios = "", (None, None, None)
    elif line.once:
        against, ratios = first.name, (times[0] / float(np.median(first_times)), None, None)
    else:
        against = first.name
        # round by round: what slowed the machine slowed both
        ratios = tuple(map(float, np.percentile(np.divide(times, first_times), (50, 25, 75))))
    return Row(
        line.name,
        line.batch,
        line.size,
        line.passes,
        float(median),
        float(high - low),
        len(times),
        against,
        *ratios,
        least_ratio=line.least_ratio,
        least_rate=line.least_rate,
        ncc=ncc,
    )


def same(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """
    Raises:
        RuntimeError: when what is compared with ours does not give the same, up to ``tolerance``.
    """
    difference = (found.to(expected.device) - expected).abs().max().item()
    if not difference <= tolerance:
        raise RuntimeError(f"{name} differs from ours by {difference:g}, more than {tolerance:g}")
