"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from .errors import check_flag

__all__ = ["refuse_overwriting", "write_aside", "write_csv"]


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


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table with six digits, whole or not at all; what is nan is left empty."""
    with write_aside(path) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")


def refuse_overwriting(*paths: str | Path, overwrite: bool = False) -> None:
    """
    Raises:
        FileExistsError: when one of the paths exists and ``overwrite`` is false.
    """
    for path in paths:
        if not check_flag(overwrite, "overwrite") and Path(path).exists():
            raise FileExistsError(
                f"'{path}' exists; choose another --output_dir, or replace it by --overwrite True (dirnet: --force)"
            )
