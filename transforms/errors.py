"""Whose fault an error is: what a user gave, or the program."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """What a user gave is wrong: a file, an option, an argument.

    Its message is one line that names the file or the option, what was found and what was expected. The commands, the
    viewer and the servers show that line alone; every other error is the program's own, and keeps its traceback.
    """
