"""The record of a run: what it was made with, whole, and whether a training may start or resume in a folder."""

from __future__ import annotations

import atexit
import inspect
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from ..errors import InputError, check_flag
from ..files.aside import write_aside
from ..nets.adapters import check_registers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "check_parts",
    "check_run",
    "check_same",
    "is_running",
    "options_of",
    "read_record",
    "release",
    "whole_config",
    "write_record",
]

LOCK = ".lock"

# Where a training runs and what it shows: a resumed one may differ in these. Their data are compared as a datalist.
FREE = (
    "output_dir",
    "cache_dir",
    "dataset_dir",
    "bundle_root",
    "resume",
    "first_process",
    "device",
    "compile",
    "threads",
    "imports",
    "records",
    "writer",
    "network",
    "about",
    "_meta_",
    "initialize",
    "training",
    "run",
    "finalize",
    "train#trainer#train_handlers",
    "train#dataset#progress",
    "train#dataset#rank",
    "train#dataset#processes",
    "train#dataset#num_workers",
    "validate#dataset",
    "validate#evaluator#network",
)

_locks: dict[Path, int] = {}  # file descriptors of the folders in which this process trains


def whole_config() -> dict[str, Any]:
    """The config that is being run, all files and options of the command line merged; for a config's own expression.

    MONAI hands an expression the values that it refers to, and not the config: it is that of the parser which
    evaluates the expression. Empty outside a config.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return json.loads(_json(parser.get()))
        frame = frame.f_back
    return {}


def check_parts(network: nn.Module, loss: Any, device: torch.device, spatial_dims: int = 2) -> None:
    """Whether a config's parts fit a training, of slices or of volumes, before anything is read.

    Raises:
        InputError: names the key, what was found and what was expected.
    """
    check_registers(network)
    dims = getattr(network, "spatial_dims", 2)
    if dims != spatial_dims:
        of = "2-D slices" if spatial_dims == 2 else "3-D volumes"
        raise InputError(f"network_def: this training is of {of}, the network is {dims}-D (spatial_dims)")
    if not hasattr(loss, "terms"):
        raise InputError(
            f"loss: expected the loss of a registration, such as dirnet.nets.losses.RegistrationLoss, found "
            f"{type(loss).__name__}; what compares two images is named by --similarity"
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device: '{device}', but PyTorch finds no GPU here; leave it out, or name 'cpu'")


def check_run(output_dir: str | Path, resume: bool, about: Mapping[str, Any]) -> None:
    """Whether a training may start in ``output_dir``, before anything is read or written; the folder is then this
    process's until :func:`release`.

    Args:
        output_dir: of the training.
        resume: whether to resume the training that the folder holds.
        about: what is kept of a run, a file ``<name>.json`` each, and is the same when it is resumed: its ``settings``,
            ``datalist`` and whole ``config``.

    Raises:
        FileExistsError: when the folder holds a training and ``resume`` is false.
        FileNotFoundError: when it holds none, or not all of one, and ``resume`` is true.
        InputError: when another training runs in the folder, a setting is no number that it can be, or what is to be
            resumed was started with other settings, options or data; names the differences.
    """
    _check_numbers(about.get("settings", {}))
    folder = Path(output_dir)
    if check_flag(resume, "resume"):
        if not (folder / "last.pt").is_file():
            raise FileNotFoundError(f"'{folder}' holds no last.pt to resume from")
    elif any(folder.glob("*.pt")):
        raise FileExistsError(
            f"'{folder}' holds a training already: resume it by --resume True, or choose another --output_dir"
        )
    _lock(folder)
    try:
        if resume:
            check_same(folder, about)
    except BaseException:
        release(folder)
        raise


def write_record(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what is kept of a run."""
    for name, content in about.items():
        with write_aside(folder / f"{name}.json") as path:
            path.write_text(_json(content))


def release(folder: Path) -> None:
    """Let another training into a folder."""
    descriptor = _locks.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)
        (folder / LOCK).unlink(missing_ok=True)


def is_running(folder: Path) -> bool:
    """Whether a process trains in a folder now; where files can't be locked, on Windows, never."""
    if fcntl is None or not (folder / LOCK).is_file():
        return False
    with (folder / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _lock(folder: Path) -> None:
    """Claim a folder. A process that dies lets go of it."""
    if fcntl is None or folder.resolve() in _locks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise InputError(
            f"another training runs in '{folder}' (process {owner or 'unknown'}); choose another --output_dir"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    _locks[folder.resolve()] = descriptor
    atexit.register(release, folder)  # also where the training never begins


def check_same(folder: Path, about: Mapping[str, Any]) -> None:
    """
    Raises:
        FileNotFoundError: when the folder holds no record of a training.
        InputError: when its training was started with other settings, options or data; names the differences.
    """
    for name, content in about.items():
        path = folder / f"{name}.json"
        before, now = read_record(path), json.loads(_json(content))
        if name == "config":
            before, now = (dict(options_of(config)) for config in (before, now))
        keys = [*now, *(key for key in before if key not in now)]
        values = [(key, before.get(key), now.get(key)) for key in keys]
        changes = [f"{key} {earlier!r} (now {later!r})" for key, earlier, later in values if earlier != later]
        if changes:
            summary = ", ".join(change if len(change) < 200 else change.split(" ", 1)[0] for change in changes[:5])
            raise InputError(f"{path} is of a training with other settings, which cannot be resumed: {summary}")


def options_of(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a config that a resumed training has to share, by their place."""
    if place in FREE:
        return
    if isinstance(config, dict | list) and config:
        items = config.items() if isinstance(config, dict) else enumerate(config)
        for key, value in items:
            yield from options_of(value, f"{place}#{key}" if place else str(key))
    else:
        yield place, config


def _check_numbers(settings: Mapping[str, Any]) -> None:
    """Refuse what would fail deep in torch; settings that a training does not have are passed over."""
    for key in ("iterations", "batch_size"):
        value = settings.get(key, 1)
        if type(value) is not int or value < 1:
            raise InputError(f"{key} must be a whole number from 1, got {value!r}")
    rate = settings.get("learning_rate", 1.0)
    if type(rate) not in (int, float) or not 0 < rate < math.inf:
        raise InputError(f"learning_rate must be a number above 0, got {rate!r}")


def read_record(path: Path) -> Any:
    """What a file of :func:`write_record` holds.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path.parent}' holds no {path.name}, which says what its training was started with: put it back, or "
            "start anew in another --output_dir"
        )
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged, which says what its training was started with: put it back, or start anew in another "
            "--output_dir"
        ) from error


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, default=str) + "\n"
