"""Ray, of this machine alone or of a cluster: where workers run, and with how much of it each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray starts: nothing is sent anywhere
import ray

__all__ = ["Share", "connect", "processors", "share_out", "threads_of"]

OBJECT_STORE = 80 * 2**20  # about the least that Ray takes: paths and numbers travel, no images


@dataclass(frozen=True)
class Share:
    """What a worker has: processors, as many threads, and a part of a GPU."""

    threads: int
    gpus: float


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def connect(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray for the time of the block.

    Args:
        address: of a running cluster, as ``ray.init`` takes it; without, Ray is started on this machine, seen by no
            other, and stopped at the end.
        workers: for how many there must be room on this machine; more than its processors share them.

    Raises:
        ConnectionError: when there is no cluster.
    """
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        room = max(processors(), workers or 1)
        local = {"include_dashboard": False, "object_store_memory": OBJECT_STORE, "_node_ip_address": "127.0.0.1"}
        ray.init("local", num_cpus=room, **local, **quiet)
    else:
        try:
            ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            if "AuthToken" in str(error.__cause__):
                reason += "; it asks for a token: set RAY_AUTH_MODE=token, and see Ray's documentation of it"
            raise ConnectionError(f"no Ray cluster at --address {address}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def share_out(workers: int | None, studies: int) -> tuple[int, Share]:
    """How many workers, one a processor unless it is said and none without a study, and what each has, so that all
    find room at once."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    workers = min(workers or max(1, sum(cpus)), studies)
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    # a whole part of one, or two would not fit where they should: 1/2, not 2/3, of 2 GPUs for 3 workers
    part = 1 / -(-workers // gpus) if gpus else 0
    # more workers than processors share what this machine has
    threads = threads_of(cpus, workers)
    return workers, Share(threads, part)


def threads_of(cpus: Sequence[int], workers: int) -> int:
    """With how many threads each of some workers can run on machines of so many processors, 1 at least."""
    return next((n for n in range(max(cpus, default=1), 1, -1) if sum(cpu // n for cpu in cpus) >= workers), 1)
