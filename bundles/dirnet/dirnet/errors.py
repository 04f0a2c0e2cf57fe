"""What a person sees when an input is wrong."""

from __future__ import annotations

import ast
import difflib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from transforms.errors import InputError

__all__ = ["InputError", "cause_of", "check_flag", "check_options", "show_cause_alone"]

# of `python -m monai.bundle run` itself
RUN_OPTIONS = {
    "run_id",
    "init_id",
    "final_id",
    "config_file",
    "meta_file",
    "logging_file",
    "tracking",
    "args_file",
    "workflow_type",
}

# of a component of a config, whose options a person has named
WRONG_KEYWORD = re.compile(r"unexpected keyword argument|missing \d+ required|required positional argument")

INTERRUPTED = 130  # exit status: 128 and the number of SIGINT


def show_cause_alone() -> None:
    """Under ``python -m monai.bundle``, end on the message of a wrong input alone, and Ctrl-C on one line.

    MONAI wraps an error in those of each config expression around it, so that the message that names the file and
    what was expected would stand in the middle of a hundred lines. Other errors keep their full traceback, as these do
    when the environment variable DIRNET_TRACEBACK is set; other programs keep their own hook.
    """
    if Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):
        sys.excepthook = _report
        check_options(sys.argv[1:])


def check_options(arguments: Sequence[str]) -> None:
    """Refuse an option that the configs on the same command line do not have: MONAI takes it, and nothing reads it.

    Raises:
        ValueError: names the option, and the one that it resembles.
    """
    from monai.bundle import ConfigParser  # here: the light command line takes its errors from this module

    options = [part[2:].split("=", 1)[0].replace("-", "_") for part in arguments if part.startswith("--")]
    if "config_file" not in options:
        return
    place = next(i for i, part in enumerate(arguments) if part.startswith(("--config_file", "--config-file")))
    value = arguments[place].partition("=")[2] or "".join(arguments[place + 1 : place + 2])
    try:
        files = ast.literal_eval(value) if value.startswith(("[", "(")) else value.split(",")
    except (ValueError, SyntaxError) as error:
        raise InputError(
            f"--config_file: expected a file, or a list as \"['a.json','b.json']\", got {value}"
        ) from error
    known = set()
    for file in files:
        if not Path(file).is_file():
            raise FileNotFoundError(f"--config_file: there is no file '{file}'")
        try:
            known |= {key.split("#")[0].lstrip("+") for key in ConfigParser.load_config_file(file)}
        except ValueError as error:
            raise InputError(f"{file}: cannot be read as a config: {error}") from error
    for option in options:
        name = option.split("#")[0].split("::")[0]
        if name not in known | RUN_OPTIONS:
            similar = "".join(f"; is it --{close}?" for close in difflib.get_close_matches(name, known, 1))
            raise InputError(f"no config has the key of the option --{option}{similar}")


def cause_of(error: BaseException) -> BaseException:
    """What lies under the errors that MONAI wraps around one for each config expression and transform."""
    while error.__cause__ is not None and str(error).startswith(("Failed to ", "applying transform")):
        error = error.__cause__
    return error


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _fails_first():
        line = _line(error)
        if line is None or os.environ.get("DIRNET_TRACEBACK"):
            traceback.print_exception(kind, error, trace)
        else:
            print(line, file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        sys.exit(INTERRUPTED)


def _line(error: BaseException) -> str | None:
    """What a person is told of what a person did; None of other errors."""
    if isinstance(error, KeyboardInterrupt):
        return f"\n{str(error) or 'interrupted'}"  # below the progress bar
    cause = cause_of(error)
    if isinstance(cause, TypeError) and WRONG_KEYWORD.search(str(cause)):
        component = re.findall(r"instantiate component '([\w.]+)'", _chain(error))
        return f"error: {component[-1]}: {cause}" if component else None
    return f"error: {cause}" if isinstance(cause, InputError | OSError) else None


def _chain(error: BaseException | None) -> str:
    """The messages of an error and of those that caused it."""
    return "" if error is None else f"{error}\n{_chain(error.__cause__)}"


def _fails_first() -> bool:
    """Whether no other process that torchrun has started with this one has failed before it.

    A wrong input fails in all, and where one fails those that wait for it do: the first message is the one to read.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    from torch.distributed import TCPStore  # which not every build of PyTorch has

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))
    return store.add("dirnet/failed", 1) == 1


def check_flag(value: bool, name: str) -> bool:
    """
    Raises:
        ValueError: when ``value`` is no bool, such as the "true" that a command line turns into a string.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {value!r}")
    return value
