"""Ray, of this machine alone or of a cluster: where workers run, and with how much of it each."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray starts: nothing is sent anywhere
import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config

from dirnet.speed.threads import available_cores

__all__ = ["Share", "connect", "share_out", "threads_of"]

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # no cluster: what Ray does on these two it does everywhere with "0"
OBJECT_STORE = 80 * 2**20  # about the least that Ray takes: paths and numbers travel, no images


@dataclass(frozen=True)
class Share:
    """What a worker has: processors, as many threads, and a part of a GPU."""

    threads: int
    gpus: float


@contextmanager
def connect(address: str | None, workers: int | None) -> Iterator[None]:
    """Ray for the time of the block.

    Args:
        address: of a running cluster, as ``ray.init`` takes it; without, Ray is started on this machine and stopped at
            the end. It listens to 127.0.0.1 alone, and does nothing for who lacks its token, whatever the user has in
            RAY_AUTH_MODE.
        workers: for how many there must be room on this machine; more than its processors share them.

    Raises:
        ConnectionError: when there is no cluster, or the one started here could be reached by others.
    """
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    with _private() if address is None else nullcontext():
        try:
            if address is None:
                room = max(available_cores(), workers or 1)
                ray.init("local", num_cpus=room, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
                if any(node["NodeManagerAddress"] not in ("127.0.0.1", "::1") for node in ray.nodes()):
                    raise ConnectionError(f"Ray {ray.__version__} listens to more than this machine")
            else:
                _join(address, quiet)
            yield
        finally:
            ray.shutdown()


def _join(address: str, options: Mapping[str, Any]) -> None:
    """
    Raises:
        ConnectionError: when there is no cluster.
    """
    try:
        ray.init(address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if "AuthToken" in str(error.__cause__):
            reason += "; it asks for a token: set RAY_AUTH_MODE=token, and see Ray's documentation of it"
        raise ConnectionError(f"no Ray cluster at --address {address}: {reason}") from error


@contextmanager
def _private() -> Iterator[None]:
    """What Ray starts in the block listens to 127.0.0.1 alone, and asks for a token made for it."""
    # not ~/.ray/auth_token, which Ray would write readable for all
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), LOOPBACK: "0"}
    before = {name: os.environ.get(name) for name in settings}
    cluster = ray_constants.ENABLE_RAY_CLUSTER

    def refresh() -> None:  # Ray read both when it was imported
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    try:
        os.environ.update(settings)
        ray_constants.ENABLE_RAY_CLUSTER = False  # it takes no 127.0.0.1 as an address otherwise
        refresh()
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = cluster
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        refresh()


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
