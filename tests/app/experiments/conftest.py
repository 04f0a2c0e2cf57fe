"""The experiments as a person runs them, in a process of their own; see tests/forking.py."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.forking import Forked, Forker


@pytest.fixture(scope="session")
def start(forks: Forker, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Forked]:
    """``start("table1", "--rows", "before", ...)``: the command's process, away from the user's data and cache."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        key: value for key, value in os.environ.items() if key not in ("SCD_DIR", "MNIST_DIR", "HIPPOCAMPUS_DIR")
    }
    environment |= {"XDG_CACHE_HOME": str(home / "cache")}

    def start(*arguments: object) -> Forked:
        return forks.start("app.experiments", *arguments, cwd=home, env=environment, together=True)

    return start


@pytest.fixture(scope="session")
def run(start: Callable[..., Forked]) -> Callable[..., str]:
    """``run("table1", ...)``: its output, after it has ended well; or badly, with ``fails=True``."""

    def run(*arguments: object, fails: bool = False) -> str:
        process = start(*arguments)
        output, _ = process.communicate()
        assert (process.returncode != 0) == fails, output[-3000:]
        return output

    return run
