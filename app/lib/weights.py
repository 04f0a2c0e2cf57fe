"""The network that serves: what was trained here last, else what it was started with."""

from __future__ import annotations

import threading
from pathlib import Path

from dirnet.registrar import SHIPPED_WEIGHTS, Registrar

__all__ = ["Weights"]


class Weights:
    """Weights that a training may replace while the server runs.

    Args:
        folder: of what is trained here.
        start: weights to begin with; the shipped ones by default.

    Raises:
        FileNotFoundError, ValueError: when the weights cannot be loaded.
    """

    def __init__(self, folder: str | Path, start: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.trained = self.folder / "dirnet.pt"
        self.start = Path(start or SHIPPED_WEIGHTS)
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[Path, int], Registrar] | None = None
        self.registrar()

    @property
    def path(self) -> Path:
        return self.trained if self.trained.is_file() else self.start

    @property
    def version(self) -> tuple[Path, int]:
        """Changes with the weights."""
        path = self.path
        return path, path.stat().st_mtime_ns if path.exists() else 0

    def registrar(self) -> Registrar:
        """With the weights of this moment."""
        with self._lock:
            version = self.version
            if self._loaded is None or self._loaded[0] != version:
                self._loaded = version, Registrar.load(version[0])
            return self._loaded[1]
