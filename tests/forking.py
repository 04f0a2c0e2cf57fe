"""Commands in processes that start at once: forks of one that has imported what they use, which takes seconds.

A fork does as ``python -m module`` does, with arguments, folder, environment and outputs of its own, until it ends:
exit status, last words and signals are the command's. Imports are not tried so: other tests start Python for them.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

PACKAGES = ("dirnet", "transforms", "app.experiments")
LIBRARIES = ("monai.bundle", "monai.handlers", "torch.utils.tensorboard", "matplotlib.backends.backend_agg")


class Forked:
    """A command that runs, as :class:`subprocess.Popen` has it."""

    def __init__(self, forker: Forker, pid: int, stdout: Path, stderr: Path) -> None:
        self.pid, self.returncode = pid, None
        self._forker, self._outputs = forker, (stdout, stderr)

    def poll(self) -> int | None:
        """Exit status, the negative number of the signal that ended it, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._forker.ask({"ended": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it has written when it has ended: output and errors."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"runs for more than {timeout} s")
            time.sleep(0.05)
        stdout, stderr = (path.read_text(encoding="utf-8", errors="replace") for path in self._outputs)
        return stdout, stderr


class Forker:
    """Starts commands as forks of a process; see :func:`forker`."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self._process, self._folder, self._numbers = process, folder, count()

    def ask(self, request: object) -> int | None:
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has ended"
        return json.loads(answer)

    def start(
        self, module: str, *arguments: object, cwd: Path, env: Mapping[str, str], together: bool = False
    ) -> Forked:
        """``python -m module arguments``; with ``together``, errors go where the output goes."""
        number = next(self._numbers)
        stdout = self._folder / f"{number}.out"
        stderr = stdout if together else self._folder / f"{number}.err"
        for path in (stdout, stderr):
            path.touch()
        request = {"argv": [module, *map(str, arguments)], "cwd": str(cwd), "env": dict(env)}
        return Forked(self, self.ask(request | {"outputs": [str(stdout), str(stderr)]}), stdout, stderr)

    def run(
        self, module: str, *arguments: object, cwd: Path, env: Mapping[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess:
        process = self.start(module, *arguments, cwd=cwd, env=env)
        stdout, stderr = process.communicate(timeout)
        return subprocess.CompletedProcess([module, *arguments], process.returncode, stdout, stderr)


@contextmanager
def forker(folder: Path) -> Iterator[Forker]:
    """Args: folder: for the outputs of the commands."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.forking"]
    with subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Forker(process, folder)
        process.stdin.close()


def _import_all() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _serve() -> dict | None:
    """Answer requests until there are none; returns in each fork too, what it has to do."""
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                return request
        print(json.dumps(answer), flush=True)
    return None


def _become(request: dict) -> str:
    """The module to run in this process, which is now as if it had been started for it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in enumerate([os.devnull, *request["outputs"]]):
        os.dup2(os.open(path, flags if number else os.O_RDONLY), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = request["argv"]
    return sys.argv[0]


if __name__ == "__main__":
    _import_all()
    if (_request := _serve()) is not None:
        runpy.run_module(_become(_request), run_name="__main__", alter_sys=True)
