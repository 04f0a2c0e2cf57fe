"""Where weights lie, those shipped and others; light, so that a wrong path is told without loading torch."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED", "SHIPPED_WEIGHTS", "weights_file"]

MODELS = Path(__file__).parents[1] / "models"
SHIPPED = {"unsupervised": MODELS / "model.pt", "contours": MODELS / "contours.pt"}  # by how they were trained
SHIPPED_WEIGHTS = SHIPPED["contours"]  # of the two the more accurate


def weights_file(path: str | Path | None = None) -> Path:
    """The file that :meth:`dirnet.registrar.Registrar.load` reads: of shipped weights by name, a checkpoint, or a
    folder.

    Raises:
        FileNotFoundError: when there is no such file, or no weights in the folder.
    """
    path = SHIPPED_WEIGHTS if path is None else SHIPPED.get(str(path), Path(path))
    if path.is_dir():
        found = [file for file in (path / "models" / "model.pt", path / "model.pt") if file.is_file()]
        if not found:
            raise FileNotFoundError(f"'{path}' holds no models/model.pt of a bundle and no model.pt of a training")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    return path
