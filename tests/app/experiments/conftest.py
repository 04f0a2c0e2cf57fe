"""The experiments as a person runs them, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.Popen]:
    """``start("table1", "--rows", "before", ...)``: the command's process, away from the user's data and cache."""
    home = tmp_path_factory.mktemp("home")
    environment = {key: value for key, value in os.environ.items() if key not in ("SCD_DIR", "MNIST_DIR")}
    environment |= {"XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(*arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "app.experiments", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


@pytest.fixture(scope="session")
def run(start: Callable[..., subprocess.Popen]) -> Callable[..., str]:
    """``run("table1", ...)``: its output, after it has ended well; or badly, with ``fails=True``."""

    def run(*arguments: object, fails: bool = False) -> str:
        process = start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert (process.returncode != 0) == fails, output[-3000:]
        return output

    return run
