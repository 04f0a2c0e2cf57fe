"""NRRD and MetaImage files, read by SimpleITK once their header has been compared with their data."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO

import SimpleITK as sitk

from .errors import InputError
from .grids import check_place
from .nifti_files import AFTER_DATA, MOST_DATA, MOST_DATA_PER_BYTE

__all__ = ["is_itk", "read_itk"]

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
LONGEST_HEADER = 2**20  # bytes
LONGEST_LINE = 1000


def is_itk(path: str | Path) -> bool:
    """Whether a file is named as NRRD or MetaImage are."""
    return Path(path).name.lower().endswith(ENDINGS)


def read_itk(path: str | Path) -> sitk.Image:
    """Read NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd), in LPS.

    Raises:
        ValueError: names the file and what is wrong: fewer bytes than its header says, more than a file of its size
            can hold, a spacing or place that is not finite.
    """
    path = Path(path)
    kind = "MetaImage" if path.suffix.lower().startswith(".m") else "NRRD"
    with path.open("rb") as file:
        header = file.read(LONGEST_HEADER)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        _check_axes(header)
        _check_lines(header)
        reader.ReadImageInformation()
        _check_data(path, header, _claimed(reader))
        image = reader.Execute()
    except InputError as error:
        raise InputError(f"{path}: cannot be read as {kind}: {error}") from error
    except (RuntimeError, zlib.error) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read as {kind}: {reason}") from error
    check_place(image, path)
    return image


def _check_axes(header: bytes) -> None:
    """Before SimpleITK sees it: MetaIO ends the process on other numbers of axes."""
    found = re.search(rb"^\s*(?:ndims\s*=|dimension:)\s*(.*?)\s*$", header, re.IGNORECASE | re.MULTILINE)
    if found is None or found[1] not in (b"2", b"3", b"4"):
        said = "none" if found is None else repr(found[1][:20].decode(errors="replace"))
        raise InputError(f"damaged: expected a header that says 2, 3 or 4 axes, found {said}")


def _check_lines(header: bytes) -> None:
    """Before SimpleITK sees it: its NRRD reader ends the process on long lines that are neither text of a file's own,
    ``key:=value``, nor a comment."""
    if not header.startswith(b"NRRD"):
        return
    for line in header.partition(b"\n\n")[0].splitlines():
        if len(line) > LONGEST_LINE and b":=" not in line and not line.startswith(b"#"):
            raise InputError(
                f"damaged: its header has a line of {len(line)} bytes, {line[:20].decode(errors='replace')!r}"
            )


def _claimed(reader: sitk.ImageFileReader) -> int:
    """Bytes of data that a header says."""
    value = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    bytes_each = next((n for n in (64, 32, 16, 8) if str(n) in value), 0) // 8
    if not bytes_each or "complex" in value:
        raise InputError(f"unusable: expected integers or real numbers of 8 to 64 bits, found {value}")
    return math.prod(reader.GetSize()) * reader.GetNumberOfComponents() * bytes_each


def _check_data(path: Path, header: bytes, claimed: int) -> None:
    size = path.stat().st_size
    detached = path.suffix.lower() in (".nhdr", ".mhd")
    if claimed > max(MOST_DATA, 0 if detached else MOST_DATA_PER_BYTE * size):
        raise InputError(f"damaged: its header says {claimed} bytes of data, too many for a file of {size} bytes")
    text = header.lower()
    if b"encoding: gz" not in text and b"compresseddata = true" not in text:
        return  # SimpleITK refuses what is too short
    mark = b"\n\n" if text.startswith(b"nrrd") else b"elementdatafile = local\n"
    if detached or mark not in text:
        raise InputError("unusable: compressed data in another file; save it as one file, .nrrd or .mha")
    with path.open("rb") as file:
        file.seek(text.index(mark) + len(mark))
        found = _decompressed(file, claimed)
    if found != claimed:
        more = "more" if found > claimed else found
        raise InputError(f"truncated: its header says {claimed} bytes of data, the file holds {more}")


def _decompressed(file: BinaryIO, most: int) -> int:
    """Length of deflated data, with or without gzip's header; no more is counted than one above ``most``."""
    inflate, found = zlib.decompressobj(47), 0
    while not inflate.eof and found <= most:
        part = inflate.unconsumed_tail or file.read(2**16)
        if not part:
            break
        found += len(inflate.decompress(part, AFTER_DATA))
    return found
