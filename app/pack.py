"""Pack a bundle into one zip file that runs elsewhere: ``python -m app.pack dirnet_bundle.zip``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zipfile import ZIP_DEFLATED, ZipFile

import typer

import dirnet
import transforms
from dirnet.errors import InputError
from dirnet.files.aside import write_aside

from . import terminal

__all__ = ["pack"]


def pack(path: str | Path, bundle: str = "dirnet") -> Path:
    """Write a zip of a bundle: configs, models, docs and ``dirnet``, with a copy of ``transforms`` beside it.

    Unpacked, it is a folder of the bundle's name that runs with its own root as working directory.

    Args:
        path: of the new file.
        bundle: "dirnet", or "lv_contour" beside it, which draws first contours.

    Raises:
        FileExistsError: when ``path`` exists.
        InputError: when there is no such bundle, or a file of it is a link out of it, which could be to anything.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"'{path}' exists; choose another name, or delete it")
    package = Path(dirnet.__file__).resolve().parent
    root = package.parent if bundle == "dirnet" else package.parents[1] / bundle
    if not (root / "configs" / "metadata.json").is_file():
        raise InputError(f"there is no bundle {bundle!r} in {root.parent}")
    # by name: a run made inside the bundle leaves pictures of patients there
    sources = [*(root / name for name in ("LICENSE", "configs", "docs", "models")), package]
    with write_aside(path) as aside, ZipFile(aside, "w", ZIP_DEFLATED) as archive:
        for source in sources:
            _add(archive, source, Path(bundle) / source.name)
        _add(archive, Path(transforms.__file__).resolve().parent, Path(bundle) / "transforms")
    return path


def _add(archive: ZipFile, source: Path, target: Path) -> None:
    root = source if source.is_dir() else source.parent
    for file in [source] if source.is_file() else sorted(source.rglob("*")):
        inside = file.relative_to(source)
        if not file.is_file() or "__pycache__" in inside.parts or file.suffix == ".ts":
            continue
        if not file.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{file}: a link to {file.resolve()}, expected a file of the bundle; put a copy there")
        archive.write(file, target / inside)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Pack a bundle into one zip file that runs elsewhere.")
def main(
    path: Annotated[Path, typer.Argument(help="New zip file, such as dirnet_bundle.zip.")],
    bundle: Annotated[
        str, typer.Option("--bundle", help="dirnet, or lv_contour, which draws first contours.")
    ] = "dirnet",
) -> None:
    typer.echo(pack(path, bundle))


if __name__ == "__main__":
    terminal.run(app)
