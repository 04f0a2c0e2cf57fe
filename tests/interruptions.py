"""Does what is written survive a process that is killed, and a disk that fills up?

The tests use the functions here. By hand, as root, on Linux: ``python -m tests.interruptions`` runs ``dirnet register``
in each format, and ``dirnet propagate``, with ``--force`` over an earlier result of a phantom. It kills each before
every change that Python makes to a file, and at 50 random times, and runs each on 50 disks that are too small. What the
folder then holds, after a next command has written to it, is counted: all earlier files, all new ones, or neither.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHANGES = ("open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")  # audit events
TIMES = 50
PAGE = 4096  # bytes that a file system in memory allots at a time

Files = dict[str, bytes]


def in_child(
    act: Callable[[], object], kill_at: int | None = None, kill_after: float | None = None, within: str = ""
) -> tuple[int, int, float]:
    """Do something in a forked process, which is killed in the middle.

    Args:
        act: done in the child.
        kill_at: before which change to files it is killed, from 0: those that Python opens, links, renames, removes.
        kill_after: how many seconds after the first change it is killed, whatever it does then.
        within: what counts as a change has this in its path.

    Returns:
        exit status, or the negative number of the signal that killed it; of one that was not killed, how many changes
        there were, and how many seconds from the first to the end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        count, start = 0, 0.0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count, start
            if event in CHANGES and within in str(arguments):
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                if count == 0:
                    start = time.perf_counter()
                    signal.setitimer(signal.ITIMER_REAL, kill_after or 0)  # its signal has no handler
                count += 1

        status = 1
        try:
            sys.addaudithook(hook)
            act()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            os.write(writing, f"{count} {time.perf_counter() - start}".encode())
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as stream:
        count, seconds = (stream.read() or "0 0").split()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(count), float(seconds)


def contents(folder: Path) -> Files:
    """All files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def file_size_limited(size: int) -> Iterator[None]:
    """Lets no file grow beyond a size in bytes: stands for a full disk where no file system can be mounted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _commands(data: Path) -> dict[str, tuple[list[str], list[str]]]:
    """By what is written, the arguments of the earlier command and of the one that replaces its results."""
    import numpy as np

    from dirnet.cine.saving import write_masks
    from dirnet.files.formats import FORMATS
    from transforms.cine_files import read_cine_stack
    from transforms.phantom import write_scd

    scd = write_scd(data / "phantom", patients=3, size=(96, 112), phases=10, slices=3)
    series = next(scd.glob("SCD_IMAGES_01/SCD0000101/*"))
    cine = read_cine_stack(series)
    moving, masks = [], []
    for number, frame in enumerate((4, 6)):
        moving.append(data / f"{number}" / "moving.dcm")
        moving[-1].parent.mkdir()
        shutil.copy(cine.files[1][frame], moving[-1])
        drawn = np.zeros(cine.images.shape, bool)
        drawn[1, 0, 36 + 5 * number : 60, 45:70] = True
        masks.append(data / f"{number}.nii.gz")
        write_masks(masks[-1], drawn, cine)
    fixed = cine.files[1][0]
    by_format = {
        form: tuple(["register", str(path), str(fixed), "--formats", form] for path in moving)
        for form in (*FORMATS, ",".join(FORMATS))
    }
    return by_format | {"propagate": tuple(["propagate", str(series), str(path)] for path in masks)}


def _dirnet(arguments: list[str], folder: Path) -> Callable[[], None]:
    def run() -> None:
        from app import command_line

        sys.argv = ["dirnet", *arguments, "--force", "-o", str(folder)]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        command_line.main()

    return run


def _next_command(folder: Path) -> None:
    from dirnet.files.aside import write_aside

    with write_aside(folder / "other.txt") as path:
        path.touch()
    (folder / "other.txt").unlink()


def _judge(folder: Path, old: Files, new: Files, hidden: bool = True) -> str:
    """Which set is in a folder. DICOM objects and HDF5 files differ a little from run to run, and are new when they are
    not the old ones and as long as the new."""
    found = (
        contents(folder) if hidden else {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    )
    if found == old:
        return "old"
    same = found.keys() == new.keys() and all(
        content == new[name]
        or (name.endswith((".dcm", ".h5")) and content != old[name] and abs(len(content) - len(new[name])) < 64)
        for name, content in found.items()
    )
    return "new" if same else "neither"


def _fresh(folder: Path, files: Files) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    _fill(folder, files)


def _fill(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _kills(arguments: list[str], folder: Path, old: Files, new: Files) -> Counter[str]:
    def killed(**moment: float) -> tuple[int, float]:
        _fresh(folder, old)
        status, changes, seconds = in_child(_dirnet(arguments, folder), within=str(folder), **moment)
        counts["killed"] += status < 0
        counts["mixed until the next command"] += _judge(folder, old, new, hidden=False) == "neither"
        _next_command(folder)
        counts[_judge(folder, old, new)] += 1
        return changes, seconds

    counts: Counter[str] = Counter()
    changes, seconds = killed()  # this one ends
    for moment in range(changes):
        killed(kill_at=moment)
    while counts["killed"] < changes + TIMES:  # some end before
        killed(kill_after=random.uniform(0, seconds))
    return counts


def _disks(arguments: list[str], folder: Path, old: Files, new: Files) -> Counter[str]:
    counts: Counter[str] = Counter()
    used, needed = (sum(-(-len(content) // PAGE) for content in files.values()) * PAGE for files in (old, new))
    for _ in range(TIMES):
        room = random.randrange(0, needed, PAGE)
        _fresh(folder, {})
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + room}", "tmpfs", folder], check=True)
        try:
            _fill(folder, old)
            status, *_ = in_child(_dirnet(arguments, folder))
            counts["refused" if status == 1 else f"status {status}"] += 1
            counts[_judge(folder, old, new)] += 1
        finally:
            subprocess.run(["umount", folder], check=True)
    return counts


def main() -> None:
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        data, folder = Path(name), Path(name) / "results"
        for what, (before, after) in _commands(data).items():
            if sys.argv[1:] and what not in sys.argv[1:]:
                continue
            sets = []
            for arguments in (before, after):
                _fresh(folder, {})
                if in_child(_dirnet(arguments, folder))[0]:
                    sys.exit(f"{what} fails")
                sets.append(contents(folder))
            for interruption in (_kills, _disks):
                print(what, interruption.__name__.strip("_"), dict(interruption(after, folder, *sets)), flush=True)


if __name__ == "__main__":
    main()
