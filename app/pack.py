"""Pack the bundle into one zip file that runs elsewhere: ``python -m app.pack dirnet_bundle.zip``."""

from __future__ import annotations

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import dirnet
import transforms.records
from dirnet.files.aside import write_aside

__all__ = ["pack"]


def pack(path: str | Path) -> Path:
    """Write a zip of the bundle: configs, models, docs and ``dirnet``, with a copy of ``transforms`` beside it.

    Unpacked, it is a folder ``dirnet`` that runs with its own root as working directory.

    Raises:
        FileExistsError: when ``path`` exists.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"'{path}' exists; choose another name, or delete it")
    bundle = Path(dirnet.__file__).resolve().parents[1]
    # by name: a run made inside the bundle leaves pictures of patients there
    sources = [bundle / name for name in ("LICENSE", "configs", "docs", "models", "dirnet")]
    with write_aside(path) as aside, ZipFile(aside, "w", ZIP_DEFLATED) as archive:
        for source in sources:
            _add(archive, source, Path("dirnet") / source.relative_to(bundle))
        _add(archive, Path(transforms.records.__file__).resolve().parent, Path("dirnet/transforms"))
    return path


def _add(archive: ZipFile, source: Path, target: Path) -> None:
    for file in [source] if source.is_file() else sorted(source.rglob("*")):
        inside = file.relative_to(source)
        if file.is_file() and "__pycache__" not in inside.parts and file.suffix != ".ts":
            archive.write(file, target / inside)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(f"{__doc__}")
    try:
        print(pack(sys.argv[1]))
    except OSError as error:
        sys.exit(f"error: {error}")
