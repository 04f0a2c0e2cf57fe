"""One registration as shipped against the size and the number of images, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from .measure import SIZE, Bench, Row

__all__ = ["rows"]

SIZES = (128, 256, 512, 1024)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
VOLUMES = (64, 128)
MOST_MB = 16e3


def rows(bench: Bench) -> Iterator[list[Row]]:
    """Images of batch 1, then batches of one size, then volumes; each against one pair of 256x256."""
    first = _row(bench, (SIZE, SIZE), 1)
    found = []
    for size in SIZES:
        found.append(first if size == SIZE else _row(bench, (size, size), 1, first))
    for batch in BATCHES[1:]:
        if 2 * (found[-1].peak_mb or 0) > MOST_MB and found[-1].batch > 1:
            bench.skipped.append(f"scaling: batch {batch} and more, which need more than {MOST_MB / 1e3:g} GB")
            break
        found.append(_row(bench, (SIZE, SIZE), batch, first))
    for size in VOLUMES:
        found.append(_row(bench, (size,) * 3, 1, first))
    yield found


def _row(bench: Bench, size: Sequence[int], batch: int, first: Row | None = None) -> Row:
    command = [sys.executable, "-m", "app.benchmarks.one_registration", "--size", *map(str, size)]
    command += ["--batch", str(batch), "--threads", str(bench.threads), "--seconds", str(bench.seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(bench.threads)}
    result = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(result.stdout.splitlines()[-1])
    kind = "registration as shipped" if len(size) == 2 else "3-D registration, random weights"
    against = {} if first is None else {"against": first.name, "ratio": found["median_ms"] / first.median_ms}
    return Row(kind, batch, "x".join(map(str, size)), "forward", **found, **against)
