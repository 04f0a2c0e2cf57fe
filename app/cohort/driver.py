"""Hands studies to workers, sees that each is done once, and outlives the workers."""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from app.settings import keep_settings
from dirnet.errors import InputError
from dirnet.models import weights_file
from dirnet.registrar import Registrar

from .cluster import Share, connect, share_out
from .records import INTERNAL, Row, check_room, new_folder, publish, read_records, sweep, write_table
from .studies import INPUTS, Study
from .worker import STUDIES_PER_WORKER, Worker

__all__ = ["Outcome", "run"]

MAX_WORKER_DEATHS = 3  # of workers: once with others in it, then with this study alone
STARTS = 3  # of a worker that dies before it is ready


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        table: with all records.
        studies: of the table of studies.
        records: by id; of this run and of those before.
        now: ids of what was done, or failed, in this run.
        failed: how many of these failed.
        seconds: since the first worker was ready.
        deaths: of workers.
        stopped: the signal that ended it early, SIGINT or SIGTERM; None where it came to its end.
    """

    table: Path
    studies: int
    records: dict[str, Row]
    now: list[str] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0
    deaths: int = 0
    stopped: signal.Signals | None = None

    @property
    def broken(self) -> bool:
        """Whether no study is done, and one at least failed by a bug."""
        rows = self.records.values()
        return any(row.get("reason", "").startswith(INTERNAL) for row in rows) and not any(
            row["status"] == "done" for row in rows
        )


# after each study, and when workers come and go: how many are at work
Report = Callable[[Outcome, int], None]


def run(
    studies: Sequence[Study],
    output_dir: Path,
    weights: Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    retry_failed: bool = False,
    report: Report = lambda outcome, workers: None,
) -> Outcome:
    """Do those studies that are not done, and write ``<output_dir>/cohort.parquet``. Ctrl-C or SIGTERM ends it early,
    in order.

    Args:
        studies: of :func:`app.cohort.studies.read_studies`.
        output_dir: that all workers see; ``studies/<id>`` there gets what a study leaves.
        weights: as :meth:`dirnet.registrar.Registrar.load` takes them.
        workers: one a processor by default.
        address: of a Ray cluster; this machine by default.
        retry_failed: whether to do those again that failed before.
        report: told how it goes.

    Raises:
        ValueError: when the folder has studies that were done with other weights or from other files, or files of
            others where a study's results belong.
        FileNotFoundError: when there are no such weights.
        BlockingIOError: when another run works in the folder.
        OSError: when the results cannot be written.
        ChildProcessError: when no worker starts.
    """
    Registrar.load(weights, "cpu", spatial_dims=2)  # raises here, not in each worker
    content = weights_file(weights).read_bytes()
    output_dir = output_dir.resolve()
    output_dir.mkdir(parents=True, exist_ok=True)
    with _alone(output_dir):
        keep_settings(output_dir, {"weights_sha256": hashlib.sha256(content).hexdigest()})
        folder, table = output_dir / "studies", output_dir / "cohort.parquet"
        sweep(folder)
        outcome = Outcome(table, len(studies), read_records(folder, studies))
        wanted = [study for study in studies if _wanted(study, outcome.records.get(study.name), folder, retry_failed)]
        check_room(folder, wanted)
        for study in wanted:
            outcome.records.pop(study.name, None)  # why it failed before
        try:
            if wanted:
                with connect(address, workers), _terminable(outcome):
                    workers, share = share_out(workers, len(wanted))
                    _WorkerPool(workers, share, content, folder).do(wanted, outcome, report)
        except KeyboardInterrupt:
            outcome.stopped = outcome.stopped or signal.SIGINT
            outcome.records = read_records(folder, studies) | outcome.records  # a worker's last may not have arrived
        finally:
            sweep(folder)
            write_table(table, studies, outcome.records)
    return outcome


def _wanted(study: Study, record: Mapping[str, Any] | None, folder: Path, retry_failed: bool) -> bool:
    """
    Raises:
        ValueError: when it is done, but from other files.
    """
    if record is None:
        return True
    now = study.absolute
    changes = [
        f"{name} {record.get(name)} (now {now.get(name)})" for name in INPUTS if record.get(name) != now.get(name)
    ]
    if record["status"] == "done" and changes:
        raise InputError(
            f"study '{study.name}' was done with {', '.join(changes)}; choose another --output_dir, remove "
            f"'{folder / study.name}' to have it done anew, or give the other study its own id"
        )
    return record["status"] != "done" and (retry_failed or bool(changes))


@contextmanager
def _terminable(outcome: Outcome) -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; Ray's own handler, which it sets as it starts, would abort."""

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what is done is being written
        outcome.stopped = signal.SIGTERM  # here: Ray raises a KeyboardInterrupt of its own for whatever is raised
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # Python takes signals there alone
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """
    Raises:
        BlockingIOError: when another run works in the folder.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # on Windows nobody watches
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"another run works in '{folder}'") from error
        except OSError:  # a file system without locks
            pass
        yield


@dataclass
class _WorkerHandle:
    """A worker's process, the studies that it has, and whether it shall have but the one."""

    actor: Any
    starting: Any  # its answer that it is ready; None once it is
    starts: int = 1
    flight: dict[Any, Study] = field(default_factory=dict)
    alone: bool = False


class _WorkerPool:
    """The workers of a run, replaced as they die."""

    def __init__(self, workers: int, share: Share, weights: bytes, folder: Path) -> None:
        options = {"num_cpus": share.threads, "num_gpus": share.gpus, "max_concurrency": STUDIES_PER_WORKER}
        # restarts and retries are this class's: it knows which studies a dead worker had, and which may have killed it
        self.worker = ray.remote(Worker).options(**options, max_restarts=0, max_task_retries=0)
        self.arguments = (ray.put(weights), folder, share.threads)
        self.folder = folder
        self.hands = [self._start_worker() for _ in range(workers)]
        self.fresh: deque[Study] = deque()
        self.to_isolate: deque[Study] = deque()  # a worker died that had them
        self.deaths: dict[str, int] = {}

    def do(self, studies: Sequence[Study], outcome: Outcome, report: Report) -> None:
        """Do the studies, and add their records to the outcome."""
        self.fresh.extend(studies)
        start = None
        try:
            while self.fresh or self.to_isolate or any(hand.flight for hand in self.hands):
                report(outcome, sum(hand.starting is None for hand in self.hands))
                owner = {ref: hand for hand in self.hands for ref in (hand.starting, *hand.flight) if ref is not None}
                done, _ = ray.wait(list(owner), timeout=1)
                for ref in done:
                    self._take(ref, owner[ref], outcome)
                if start is None and any(hand.starting is None for hand in self.hands):
                    start = time.perf_counter()
                self._feed()
        finally:
            outcome.seconds = 0.0 if start is None else time.perf_counter() - start
            for hand in self.hands:
                ray.kill(hand.actor)
        report(outcome, 0)

    def _start_worker(self, starts: int = 1) -> _WorkerHandle:
        actor = self.worker.remote(*self.arguments)
        return _WorkerHandle(actor, actor.ready.remote(), starts)

    def _feed(self) -> None:
        """Give each worker what it has room for, in turn; a suspect to one that has nothing else."""
        for depth in range(STUDIES_PER_WORKER):
            for hand in self.hands:
                if hand.starting is not None or hand.alone or len(hand.flight) > depth:
                    continue
                hand.alone = bool(self.to_isolate) and not hand.flight
                queue = self.to_isolate if hand.alone else self.fresh
                if queue:
                    study = queue.popleft()
                    hand.flight[hand.actor.do.remote(study)] = study

    def _take(self, ref: Any, hand: _WorkerHandle, outcome: Outcome) -> None:
        """Take what a worker has answered.

        Raises:
            OSError: that it could not write.
            ChildProcessError: when no worker is left.
        """
        if ref is not hand.starting and ref not in hand.flight:
            return  # it has died since
        try:
            answer = ray.get(ref)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            self._lost(hand, error, outcome)
            return
        if ref is hand.starting:
            hand.starting = None
        else:
            self._note(hand.flight.pop(ref), answer, outcome)
            hand.alone = hand.alone and bool(hand.flight)

    def _lost(self, hand: _WorkerHandle, error: RayError, outcome: Outcome) -> None:
        """A worker has died: its studies are done by others, and another takes its place."""
        ray.kill(hand.actor)  # if it has but lost its connection
        self.hands.remove(hand)
        failed_to_start = isinstance(error, RayActorError) and error.actor_init_failed
        outcome.deaths += not failed_to_start
        if hand.starting is None:
            self.hands.append(self._start_worker())
        elif hand.starts < STARTS and not failed_to_start:
            self.hands.append(self._start_worker(hand.starts + 1))
        elif not self.hands:
            raise ChildProcessError(f"no worker can start: {str(error).strip().splitlines()[-1]}") from error
        studies, hand.flight = hand.flight.values(), {}
        for study in studies:
            self.deaths[study.name] = self.deaths.get(study.name, 0) + 1
            if self.deaths[study.name] < MAX_WORKER_DEATHS:
                self.to_isolate.append(study)
                continue
            died = f"{MAX_WORKER_DEATHS} workers died that had this study"
            reason = f"{died}: a file that ends the program, or not enough memory"
            row = {"study": study.name, "status": "failed", "reason": reason, "task": study.task, **study.absolute}
            self._note(study, publish(new_folder(self.folder, study.name), row), outcome)

    def _note(self, study: Study, row: Row, outcome: Outcome) -> None:
        outcome.records[study.name] = {sys.intern(key): value for key, value in row.items()}  # there may be many
        outcome.now.append(study.name)
        outcome.failed += row["status"] == "failed"
