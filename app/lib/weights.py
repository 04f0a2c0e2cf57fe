"""The network that serves: what was trained here last, from the weights it is started with, else those."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from dirnet.models import weights_file
from dirnet.registrar import Registrar

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
        self.start = weights_file(start)
        mark = hashlib.sha256(self.start.read_bytes()).hexdigest()[:8]
        self.trained = self.folder / f"dirnet_from_{mark}.pt"  # started with others, those serve
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
