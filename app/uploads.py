"""Masks that are sent to a server: no larger, also when they are unpacked, than the cine that they belong to."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import pydicom
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dirnet.errors import InputError
from transforms.cine_files import CineStack

__all__ = ["check_size", "most_bytes"]

CHUNK = 2**20


def most_bytes(cine: CineStack) -> int:
    """How large a file of masks of a cine can be: 8 bytes a pixel, and a header of 1 MiB."""
    return 8 * cine.images.size + 2**20


def check_size(path: Path, cine: CineStack) -> None:
    """Refuse a file that a reader would unpack to more than masks of the cine need; reads no more than that itself.

    Raises:
        InputError: names how much it holds, and how much the cine.
    """
    most = most_bytes(cine)
    if path.stat().st_size > most:
        raise InputError(f"{path}: {path.stat().st_size} bytes, expected masks of the cine, at most {most}")
    if _unpacked(path, most) > most:
        raise InputError(f"{path}: unpacks to more than {most} bytes, expected masks of the cine")
    pixels = _pixels(path)
    if pixels > 4 * cine.images.size:  # a picture has up to four channels
        raise InputError(f"{path}: its header says {pixels} pixels, the cine has {cine.images.size}")


def _unpacked(path: Path, most: int) -> int:
    """How many bytes a gzipped file unpacks to; counted until they are more than ``most``. 0 of other files."""
    count = 0
    try:
        with gzip.open(path) as file:
            while count <= most and (part := file.read(CHUNK)):
                count += len(part)
    except (OSError, EOFError, zlib.error):  # not gzipped, or damaged: the reader says so
        pass
    return count


def _pixels(path: Path) -> int:
    """By the header; 0 where it cannot be read, which the reader says."""
    try:
        if pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise InputError(f"{path}: deflated DICOM is not taken here; send it uncompressed")
        header = pydicom.dcmread(path, stop_before_pixels=True)
        return math.prod(int(header.get(name) or 1) for name in ("Rows", "Columns", "NumberOfFrames"))
    except InvalidDicomError:
        pass
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 0
    return math.prod(reader.GetSize()) * reader.GetNumberOfComponents()
