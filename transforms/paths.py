"""Paths that a person gives: whether there is a file, and what it is called; light, for refusals that come at once."""

from __future__ import annotations

from pathlib import Path

__all__ = ["check_file", "stem"]

SUFFIXES = (".nii.gz", ".nii", ".dcm", ".ima", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".mha", ".nrrd")


def check_file(path: str | Path) -> None:
    """
    Raises:
        FileNotFoundError: when there is no such file.
    """
    try:
        if Path(path).is_file():
            return
        folder = Path(path).is_dir()
    except (OSError, ValueError):  # a name that no file can have
        folder = False
    if folder:
        raise FileNotFoundError(f"'{path}' is a folder; expected a file")
    raise FileNotFoundError(f"file '{path}' does not exist")


def stem(path: str | Path) -> str:
    """A file's name without what its format adds to it; other dots stay, such as those of a UID."""
    name = Path(path).name
    known = [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]
    return name[: -len(known[0])] if known and len(name) > len(known[0]) else name
