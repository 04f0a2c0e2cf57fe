"""How many threads compute, and what they do while they wait. To be set before torch is loaded; imports nothing large.

PyTorch's threads on a CPU are OpenMP's. While one has nothing to do it spins, so as to be there at once. On a machine
whose cores are taken by other programs, the thread that everyone waits for then waits for those that spin: a pair of
256×256 took 820 ms with two threads, 13 ms when they yield, and 8 ms with one (two cores under a load of 8,
2026-11, docs/threads.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from ..errors import InputError

__all__ = ["available_cores", "prepare", "use"]

GROUPS = Path("/sys/fs/cgroup")  # Linux's control groups, as a container sees them


def available_cores(groups: Path = GROUPS) -> int:
    """Cores that this process may use: of its affinity, and of its container's quota, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(groups)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(groups: Path) -> float | None:
    """Cores that a container has time for; None without a limit."""
    second, first = groups / "cpu.max", groups / "cpu"  # of the two versions of control groups
    try:
        if second.is_file():
            most, period = second.read_text().split()  # microseconds, or "max"
        else:
            most, period = ((first / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(most) / int(period) if int(most) > 0 else None  # -1 is no limit
    except (OSError, ValueError):
        return None


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have OpenMP's threads yield while they wait, and be no more than the cores; what the user has set stays."""
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "OMP_NUM_THREADS" not in environment:
        environment["OMP_NUM_THREADS"] = str(available_cores())


def use(threads: int | None) -> None:
    """Compute with so many threads, in PyTorch; None leaves it as it is.

    Raises:
        InputError: when it is no whole number from 1.
    """
    if threads is None:
        return
    if type(threads) is not int or threads < 1:
        raise InputError(f"threads must be a whole number from 1, got {threads!r}")
    import torch  # here: the environment is read when it loads

    torch.set_num_threads(threads)
