"""One worker: reads a study while it registers another and writes a third."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import SimpleITK as sitk
import torch

from app.wording import reworded
from dirnet.cine.follow import Followed, follow
from dirnet.cine.saving import save
from dirnet.errors import InputError, cause_of
from dirnet.files.images import as_image
from dirnet.registrar import Registrar
from dirnet.registration import Registration
from dirnet.speed.memory import keep_freed_memory
from transforms.authors import Authors
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_authors, read_keyframes

from .records import INTERNAL, LOG, Row, new_folder, publish
from .studies import Study

__all__ = ["STUDIES_PER_WORKER", "Worker"]

STUDIES_PER_WORKER = 3  # studies in a worker's memory: one is read, one registered, one written
T = TypeVar("T")


class Worker:
    """Does studies, several at a time: :meth:`do` may be called by :data:`STUDIES_PER_WORKER` threads. Reading,
    registering and writing have a thread each, in which one study waits for the other.

    Args:
        weights: content of a ``model.pt``; so all workers have the same, wherever they run.
        folder: that gets a folder a study.
        threads: with which it computes.
    """

    def __init__(self, weights: bytes, folder: Path, threads: int) -> None:
        self.folder = folder
        keep_freed_memory()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            file.write(weights)
            file.flush()
            self.registrar = Registrar.load(file.name)
        self.reading, self.registering, self.writing = (
            ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,))
            for _ in range(STUDIES_PER_WORKER)
        )

    def ready(self) -> str:
        """Where it runs; answers when its network is loaded."""
        return platform.node()

    def do(self, study: Study) -> Row:
        """Do a study, and write its results and its record.

        Returns:
            the record: what is wrong with a study is in it, and raises nothing.

        Raises:
            OSError: when the record cannot be written.
        """
        row: Row = {"study": study.name, "status": "done", "task": study.task, **study.absolute}
        row["host"] = platform.node()
        aside = new_folder(self.folder, study.name)
        try:
            (self._propagate if study.task == "propagate" else self._register)(study, aside, row)
        except Exception as error:
            shutil.rmtree(aside, ignore_errors=True)  # of a study that failed nothing is kept but why
            aside.mkdir(exist_ok=True)
            row |= {"status": "failed", "reason": _reason(error)}
            if row["reason"].startswith(INTERNAL):
                (aside / LOG).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return publish(aside, row)

    def _propagate(self, study: Study, aside: Path, row: Row) -> None:
        def read() -> tuple[CineStack, dict[str, np.ndarray], Authors]:
            stack = read_cine_stack(study.path("cine"), study.inputs.get("series"))
            masks = read_keyframes(study.masks, stack, study.frames, study.inputs.get("labels"))
            return stack, masks, read_authors(study.masks, masks)

        def register() -> Followed:
            return follow(self.registrar, cine, drawn, authors=authors)

        cine, drawn, authors = _timed(row, "read", self.reading, read)
        followed = _timed(row, "register", self.registering, register)
        _timed(row, "write", self.writing, lambda: save(followed, aside, study.name))
        # of the frames that were registered: not those drawn on with themselves
        others = [result.origins != np.arange(len(result.origins)) for result in followed.slices.values()]
        for name in ("ncc_before", "ncc_after"):
            values = [getattr(result, name)[at] for result, at in zip(followed.slices.values(), others, strict=True)]
            row[name] = round(float(np.mean(np.concatenate(values))), 6) if np.any(others) else None
        row |= followed.numbers
        row["pairs"] = int(np.sum(others))

    def _register(self, study: Study, aside: Path, row: Row) -> None:
        def read() -> list[sitk.Image]:
            return [as_image(study.path(role), role) for role in ("moving", "fixed")]

        images = _timed(row, "read", self.reading, read)
        registration: Registration = _timed(row, "register", self.registering, lambda: self.registrar.register(*images))
        _timed(row, "write", self.writing, lambda: registration.save(aside, study.name))
        row |= {name: round(getattr(registration, name), 6) for name in ("folded_percent", "ncc_before", "ncc_after")}
        row["pairs"] = 1


def _timed(row: Row, name: str, thread: ThreadPoolExecutor, part: Callable[[], T]) -> T:
    """Do a part of a study in its thread, and note how long it took without the wait for the thread."""

    def timed() -> tuple[T, float]:
        start = time.perf_counter()
        return part(), time.perf_counter() - start

    result, seconds = thread.submit(timed).result()
    row[f"seconds_{name}"] = round(seconds, 4)
    return result


def _reason(error: BaseException) -> str:
    """One line: what is wrong with the study, or that the fault is the program's."""
    cause = cause_of(error)
    text = reworded(" ".join(str(cause).split()), "column {}")
    if isinstance(cause, InputError | FileNotFoundError) and text:
        return text
    kind = f"{type(cause).__name__}: {text}"
    return kind if isinstance(cause, OSError) else f"{INTERNAL}: {kind} (traceback in {LOG} in the study's folder)"
