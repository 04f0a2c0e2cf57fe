"""Files that are whole or not there, and sets of them.

A set is written to a folder ``.writing-…`` inside the folder where it belongs, and each file is then renamed to its
place. There::

    new/        the files of the set
    old-0, …    while files take their places: those that were there before
    journal     locked as long as the process lives; while files take their places it names them

A process that is killed leaves that folder. The next that writes to the same place clears it away, and where the set
was not yet whole puts back what was there before. That holds for processes that are killed, not for a power failure.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import check_flag

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing can be locked, so nothing is swept
    fcntl = None  # type: ignore[assignment]

__all__ = ["buffered", "check_results", "incomplete", "refuse_overwriting", "write_aside", "write_set_aside"]

PREFIX = ".writing-"
JOURNAL = "journal"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A path of the same name to write to; the file takes the place of ``path`` when the block ends well, and is
    removed when it does not.

    Raises:
        OSError: names the folder where it cannot be written to, or the disk is full.
    """
    path = Path(path)
    with write_set_aside(path.parent, [path.name], overwrite=True) as aside:
        yield aside / path.name


@contextmanager
def write_set_aside(folder: str | Path, names: Collection[str], overwrite: bool = False) -> Iterator[Path]:
    """A new folder to write the files ``names`` to. They take their places in ``folder`` when the block ends well; when
    it does not, or one of them cannot, none does, and what was there stays. A name may hold a folder. Within the folder
    of another set, files are written where they belong: they take their places with that set.

    Sets that threads or processes of one machine write at once are not mixed.

    Raises:
        FileExistsError: before the block, or after it where another has come between, when one of the files exists and
            may not be replaced.
        NotADirectoryError: when the folder is a file.
        OSError: names the folder where it cannot be written to, or the disk is full.
    """
    folder = Path(folder)
    if any(part.startswith(PREFIX) for part in folder.parts):
        yield folder
        return
    _check_folder(folder)
    paths = [folder / name for name in names]
    with _naming(folder), _made_for(paths), ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _sweep(folder)
            refuse_overwriting(*paths, overwrite=overwrite)
            aside = Path(tempfile.mkdtemp(dir=folder, prefix=PREFIX))  # inside: on the same file system
            cleared = stack.enter_context(ExitStack())
            cleared.callback(_clear, aside, folder)
            journal = stack.enter_context((aside / JOURNAL).open("w"))
            _lock(journal)
        (aside / "new").mkdir()
        yield aside / "new"
        with _locked(folder), cleared:  # cleared before others see the folder
            refuse_overwriting(*paths, overwrite=overwrite)
            _move(aside, folder, names, journal)


@contextmanager
def buffered(path: Path) -> Iterator[io.BytesIO]:
    """A stream in memory that is written to a file when the block ends well, for writers whose own errors do not say
    that the disk is full."""
    stream = io.BytesIO()
    yield stream
    path.write_bytes(stream.getbuffer())


def incomplete(path: Path) -> OSError:
    """The error of a file that cannot be read back as it was written, for writers that do not report a full disk."""
    return OSError(errno.EIO, "what was written cannot be read back; is the disk full?", str(path))


def check_results(folder: str | Path, names: Collection[str], overwrite: bool = False) -> None:
    """Refuse what :func:`write_set_aside` would refuse, before the work whose results these are.

    Raises:
        FileExistsError: when one of the files exists and may not be replaced.
        NotADirectoryError: when the folder is a file.
    """
    folder = Path(folder)
    _check_folder(folder)
    if folder.is_dir():
        with _naming(folder), _locked(folder):
            _sweep(folder)  # what a killed process left half done is no result
    refuse_overwriting(*(folder / name for name in names), overwrite=overwrite)


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise NotADirectoryError(f"'{folder}' is a file; expected a folder to write to")


def refuse_overwriting(*paths: str | Path, overwrite: bool = False) -> None:
    """
    Raises:
        FileExistsError: when one of the paths exists and ``overwrite`` is false.
    """
    for path in paths:
        if not check_flag(overwrite, "overwrite") and Path(path).exists():
            raise FileExistsError(
                f"'{path}' exists; choose another place, or replace it: dirnet --force, a config's --overwrite True, "
                "in Python overwrite=True"
            )


def _move(aside: Path, folder: Path, names: Collection[str], journal: IO[str]) -> None:
    """Move a set to its place. The journal is kept while several files move; renaming a single one is atomic."""
    if len(names) > 1:
        journal.write(json.dumps({name: _state(aside / "new" / name) for name in names}))
        journal.flush()
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(names) > 1 and path.is_file():
            _keep(path, aside / f"old-{number}")
    for name in names:  # old and new are mixed for as long as this takes
        (aside / "new" / name).replace(folder / name)
    os.ftruncate(journal.fileno(), 0)  # from here on nothing is undone


def _keep(path: Path, old: Path) -> None:
    try:
        os.link(path, old, follow_symlinks=False)  # what was there stays in sight until it is replaced
    except (OSError, NotImplementedError):  # no hard links here, or not to this file
        path.replace(old)


def _clear(aside: Path, folder: Path) -> None:
    """Remove the folder of a set. Where some of its files are in their places and some are not, put back what was there
    before. Whatever this is interrupted by, it can be done again."""
    text = (aside / JOURNAL).read_text() if (aside / JOURNAL).is_file() else ""
    try:
        new: dict[str, Any] = json.loads(text or "{}")
    except ValueError:  # killed while it was written: before any file was moved
        new = {}
    moved = [not (aside / "new" / name).exists() for name in new]
    if not all(moved):
        for number, (name, state) in enumerate(new.items()):
            path, old = folder / name, aside / f"old-{number}"
            now = _state(path)
            if now is not None and not (moved[number] and now == state):
                continue  # not of the set: from before, or written since
            if old.exists():
                old.replace(path)
            else:
                path.unlink(missing_ok=True)
    shutil.rmtree(aside, ignore_errors=True)


def _state(path: Path) -> list[int] | None:
    """By which a file that was renamed is known again; None of a file that is not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _sweep(folder: Path) -> None:
    """Clear away what processes that were killed have left."""
    for aside in folder.glob(f"{PREFIX}*"):
        with suppress(OSError), (aside / JOURNAL).open("a") as journal:
            if _lock(journal, wait=False):
                _clear(aside, folder)


def _lock(file: IO[str] | int, wait: bool = True) -> bool:
    """Lock a file or folder; false where the file system has no locks, or another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other threads and processes from moving files in a folder."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing does not unlock what a forked process has open too
        os.close(handle)


@contextmanager
def _made_for(paths: Collection[Path]) -> Iterator[None]:
    """On failure, removes the folders of the files that were not there before, where nothing else is in them."""
    missing = [folder for path in paths for folder in path.parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Turns what the system says of a file of the set, or of a full disk, to a sentence that names the folder."""
    try:
        yield
    except OSError as error:
        written = PREFIX in str(error.filename) or error.filename in (str(folder), folder)
        if not (written or (error.filename is None and error.errno in DISK)):
            raise
        raise type(error)(f"'{error.filename2 or folder}' cannot be written to: {error.strerror}") from error
