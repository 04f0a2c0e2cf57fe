"""Where weights lie, those shipped and others; light, so that a wrong path is told without loading torch."""

from __future__ import annotations

from pathlib import Path

__all__ = ["OF_SLICES", "SHIPPED", "SHIPPED_WEIGHTS", "drawing_weights_file", "weights_file"]

MODELS = Path(__file__).parents[1] / "models"
SHIPPED = {  # by what they were trained on
    "unsupervised": MODELS / "model.pt",
    "contours": MODELS / "contours.pt",
    "hippocampus": MODELS / "hippocampus.pt",
}
OF_SLICES = ("unsupervised", "contours")
SHIPPED_WEIGHTS = SHIPPED["contours"]  # for slices the more accurate
DRAWING_WEIGHTS = Path(__file__).parents[2] / "lv_contour" / "models" / "model.pt"  # of the bundle beside this one


def weights_file(path: str | Path | None = None) -> Path:
    """The file that :meth:`dirnet.registrar.Registrar.load` reads: of shipped weights by name, a checkpoint, or a
    folder.

    Raises:
        FileNotFoundError: when there is no such file, or no weights in the folder.
    """
    file = SHIPPED_WEIGHTS if path is None else SHIPPED.get(str(path), Path(path))
    if not file.exists():
        raise FileNotFoundError(f"weights '{file}' do not exist; expected {', '.join(SHIPPED)}, a file or a folder")
    return _file(file)


def drawing_weights_file(path: str | Path | None = None) -> Path:
    """The file that :meth:`dirnet.first_contours.FirstContours.load` reads: a checkpoint, or a folder's; by default
    that of the bundle ``lv_contour``.

    Raises:
        FileNotFoundError: when there is no such file, or no weights in the folder.
    """
    if path is None and not DRAWING_WEIGHTS.is_file():
        raise FileNotFoundError(f"'{DRAWING_WEIGHTS}' does not exist: first contours need the bundle lv_contour there")
    return _file(DRAWING_WEIGHTS if path is None else Path(path))


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [file for file in (path / "models" / "model.pt", path / "model.pt") if file.is_file()]
        if not found:
            raise FileNotFoundError(f"'{path}' holds no models/model.pt of a bundle and no model.pt of a training")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    return path
