"""What a person sees when an input is wrong."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

__all__ = ["check_flag", "show_cause_alone"]


def show_cause_alone() -> None:
    """Under ``python -m monai.bundle``, end on the message of a wrong input alone.

    MONAI wraps an error in those of each config expression around it, so that the message that names the file and
    what was expected would stand in the middle of a hundred lines. Other errors keep their full traceback, as these do
    when the environment variable DIRNET_TRACEBACK is set; other programs keep their own hook.
    """
    if Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause = error
    while cause.__cause__ is not None and str(cause).startswith(("Failed to ", "applying transform")):
        cause = cause.__cause__
    if isinstance(cause, ValueError | OSError) and not os.environ.get("DIRNET_TRACEBACK"):
        print(f"error: {cause}", file=sys.stderr)
    else:
        traceback.print_exception(kind, error, trace)


def check_flag(value: bool, name: str) -> bool:
    """
    Raises:
        ValueError: when ``value`` is no bool, such as the "true" that a command line turns into a string.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value
