"""Files that are whole or not there, and sets of them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import check_flag

__all__ = ["refuse_overwriting", "write_aside", "write_set_aside"]

_MOVING = threading.Lock()


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A path in the same folder to write to, with the same suffixes; it takes the place of ``path`` when the block
    ends well, and is removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)  # temporary files are made for their owner alone
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def write_set_aside(folder: str | Path, names: Collection[str], overwrite: bool = False) -> Iterator[Path]:
    """A new folder inside ``folder`` to write the files ``names`` to. They take their places in ``folder`` when the
    block ends well; when it does not, or one of them cannot, none does, and what was there stays.

    Sets that threads of one process write at once are not mixed.

    Raises:
        FileExistsError: before the block, or after it where another has come between, when one of the files exists and
            may not be replaced.
        FileNotFoundError: when the block has not written one of them.
        NotADirectoryError: when the folder is a file.
    """
    if Path(folder).is_file():
        raise NotADirectoryError(f"'{folder}' is a file; expected a folder to write to")
    paths = [Path(folder) / name for name in names]
    refuse_overwriting(*paths, overwrite=overwrite)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as name:  # inside: on the same file system
        aside = Path(name)
        yield aside
        with _MOVING:
            refuse_overwriting(*paths, overwrite=overwrite)
            _move_all(aside, Path(folder), names)


def _move_all(aside: Path, folder: Path, names: Collection[str]) -> None:
    """Move files to their places; when one cannot be moved, put back what was there."""
    before = Path(tempfile.mkdtemp(dir=aside))
    with ExitStack() as undo:
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)  # a name may hold a folder
            if path.is_file():
                undo.callback(path.replace(before / str(number)).replace, path)
                (aside / name).replace(path)
            else:
                (aside / name).replace(path)
                undo.callback(path.unlink)
        undo.pop_all()  # all moved: nothing is undone


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
