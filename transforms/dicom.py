"""DICOM images: headers whose numbers are checked, and the pixels that they describe."""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset, encaps
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)

from .errors import InputError
from .values import check_finite

# What breaks the standard's form, as SCD's identifiers do, gives a warning that quotes it; numbers are judged here
warnings.filterwarnings("ignore", message="Invalid value for VR", category=UserWarning)

__all__ = [
    "MAX_PIXELS",
    "SEGMENTATIONS",
    "BoundedFile",
    "dicom_pixels",
    "frame_headers",
    "is_compressed",
    "is_dicom",
    "named_errors",
    "numbers",
    "pixel_spacing",
    "read_dicom",
    "sop_class",
    "stored_text",
]

MAX_PIXELS = 2**24  # of one slice, or of all frames that few bytes are to be decompressed to: 4096 x 4096
MAX_RATIO = 16  # values a compressed byte, above MAX_PIXELS

# Attributes whose numbers are used: how many there are, and from what to what they make sense, in mm, ms and degrees
# of their own. Beyond stands a damaged file, or one that another program wrote wrongly.
RANGES = {
    "PixelSpacing": (2, 1e-3, 1e3),
    "SliceThickness": (1, 1e-3, 1e3),
    "SpacingBetweenSlices": (1, -1e3, 1e3),  # its sign is a direction
    "ImagePositionPatient": (3, -1e5, 1e5),
    "ImageOrientationPatient": (6, -1.01, 1.01),
    "RescaleSlope": (1, 1e-12, 1e12),
    "RescaleIntercept": (1, -1e12, 1e12),
    "TriggerTime": (1, 0, 1e6),
    "NominalCardiacTriggerDelayTime": (1, 0, 1e6),
    "NominalPercentageOfCardiacPhase": (1, 0, 100),
    "TemporalPositionIdentifier": (1, -1e9, 1e9),
    "TemporalPositionIndex": (1, 0, 1e9),
    "InstanceNumber": (1, -1e12, 1e12),
    "Rows": (1, 1, 65535),
    "Columns": (1, 1, 65535),
    "NumberOfFrames": (1, 1, 20000),
    "SamplesPerPixel": (1, 1, 4),
    "BitsAllocated": (1, 1, 64),
    "BitsStored": (1, 1, 64),
    "HighBit": (1, 0, 63),
}
# what is drawn on images, as pixels: binary or fractional, and label maps, which pydicom 2.4 has no name for
SEGMENTATIONS = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")
# what decodes which compression, where pydicom says that nothing does
DECODERS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)), "monai-dirnet[jpeg]"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "pyjpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203)), "pylibjpeg-openjpeg"),
}
PLAIN = ("CS", "DS", "DT", "IS", "TM", "UI")  # value representations of the default characters alone
FLOAT_PIXELS = ("FloatPixelData", "DoubleFloatPixelData")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@contextmanager
def named_errors(path: str | Path, kind: str = "DICOM") -> Iterator[None]:
    """Whatever a reader raises on a damaged file, from EOFError to zlib.error, as an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except InvalidDicomError as error:
        raise InputError(f"{path}: cannot be read as {kind}: it does not begin as a DICOM file does") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: cannot be read as {kind}: {reason}") from error


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins as DICOM does: the preamble and its mark, or without them a first element."""
    with Path(path).open("rb") as file:
        return _has_mark(file.read(132))


def read_dicom(path: str | Path, pixels: bool = True) -> pydicom.FileDataset:
    """A DICOM file's elements.

    Args:
        path: of the file.
        pixels: whether to read those of the pixels and what follows them too.

    Raises:
        InputError: when it is no DICOM, or more than a compressed file of its size may hold.
    """
    with named_errors(path), BoundedFile(path) as file:
        head = file.read(1024)
        if DeflatedExplicitVRLittleEndian.encode() in head:
            _check_inflated(path)
        # what was written before the standard's file format has no mark, and no word on how it is encoded
        bare = _has_mark(head) and head[128:132] != b"DICM"
        file.seek(0)
        dataset = pydicom.dcmread(file, stop_before_pixels=not pixels, force=bare)
        if bare and "TransferSyntaxUID" not in dataset.file_meta:
            implicit, _ = dataset.original_encoding if hasattr(dataset, "original_encoding") else (True, True)
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return dataset


def sop_class(path: str | Path) -> str | None:
    """What kind of object a file is, by its SOP Class UID; None where it is no DICOM, or does not say.

    Raises:
        InputError: when it is damaged.
    """
    if not is_dicom(path):
        return None
    with named_errors(path):
        uid = read_dicom(path, pixels=False).get("SOPClassUID")
    return None if uid is None else str(uid)


def is_compressed(dataset: Dataset, path: str | Path) -> bool:
    """Whether a file's pixels are compressed.

    Raises:
        InputError: when they are encoded in a way that pydicom does not know.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        return False
    try:
        return bool(syntax.is_compressed)
    except ValueError as error:
        raise InputError(
            f"{path}: encoded in the transfer syntax {syntax}, which pydicom {pydicom.__version__} does not know; "
            "pip install -U pydicom, or have it converted to Explicit VR Little Endian"
        ) from error


def numbers(header: Dataset, keyword: str, path: str | Path) -> tuple[float, ...] | None:
    """The numbers of one of the attributes in ``RANGES``; None where it is absent or empty.

    Raises:
        InputError: when there are not as many as the standard has, or one is no number, not finite, or out of range;
            names file and attribute.
    """
    count, low, high = RANGES[keyword]
    value: Any = None
    try:
        value = stored_text(header, keyword)
        value = header.get(keyword) if value is None else value.split("\\") if value else None
        if value is None or value == "" or (isinstance(value, list | pydicom.multival.MultiValue) and not value):
            return None
        found = tuple(float(v) for v in (value if isinstance(value, list | pydicom.multival.MultiValue) else [value]))
    except Exception as error:  # pydicom converts what the file holds only now
        raise InputError(f"{path}: {keyword} is no number: {' '.join(str(error).split()) or value!r}") from error
    if len(found) != count or not all(low <= number <= high for number in found):
        expected = "a number" if count == 1 else f"{count} numbers"
        shown = "\\".join(f"{number:g}" for number in found)
        raise InputError(f"{path}: {keyword} is {shown}; expected {expected} from {low:g} to {high:g}")
    if keyword == "SpacingBetweenSlices" and found[0] == 0:
        raise InputError(f"{path}: {keyword} is 0; expected the distance between slices in mm")
    return found


def stored_text(header: Dataset, keyword: str) -> str | None:
    """The text of an attribute as the file holds it, with backslashes between its values; empty where it is absent.

    None of an attribute whose text depends on more than its bytes: pydicom then says what it is. Its objects of a
    header's values take as long to make as the file to read, which is felt in a study of thousands of files.
    """
    tag = tag_for_keyword(keyword)
    element = None if tag is None else header.get_item(tag)
    if element is None:
        return ""
    if not isinstance(element, RawDataElement) or element.value is None:
        return None
    kind = element.VR or dictionary_VR(element.tag)  # implicit VR: the file does not say
    if kind == "US" and len(element.value) == 2:
        return str(int.from_bytes(element.value, "little" if element.is_little_endian else "big"))
    text = element.value.decode("latin-1").rstrip("\0 ") if kind in PLAIN else None
    return None if kind == "IS" and text and not re.fullmatch(r"[-+]?\d+", text, re.ASCII) else text


def pixel_spacing(headers: list[Dataset], path: str | Path) -> tuple[float, float] | None:
    """[row mm, column mm] of all frames of a file; None where it is not known."""
    found = {numbers(header, "PixelSpacing", path) for header in headers}
    if len(found) > 1:
        raise InputError(f"{path}: PixelSpacing differs between its frames")
    spacing = found.pop()
    return None if spacing is None else (spacing[0], spacing[1])


def frame_headers(dataset: Dataset, path: str | Path) -> list[Dataset]:
    """Of each frame its elements in one level: the file's own, those of the shared functional groups, and those of the
    frame's own (PS3.3 C.7.6.16), later ones before earlier.

    Raises:
        InputError: when there are not as many groups as frames.
    """
    frames = _count(dataset, "NumberOfFrames", path, 1)
    shared, own = (list(dataset.get(name) or []) for name in GROUPS)
    if own and len(own) != frames:
        raise InputError(f"{path}: expected the groups of {frames} frames (NumberOfFrames), found {len(own)}")
    if not own and not shared:
        return [dataset] * frames
    left_out = {pydicom.tag.Tag(name) for name in (*GROUPS, "PixelData", *FLOAT_PIXELS)}
    common = Dataset({tag: dataset.get_item(tag) for tag in dataset.keys() if tag not in left_out})  # noqa: SIM118
    for item in shared[:1]:
        _flatten(item, common)
    if not own:
        return [common] * frames
    return [_flatten(item, Dataset(dict(common.items()))) for item in own]


def dicom_pixels(dataset: Dataset, headers: list[Dataset], path: str | Path) -> np.ndarray:
    """The grey values of a DICOM file, rescaled, float32: (H, W), or (T, H, W) of several frames as they are stored.

    What :func:`frame_headers` gives says each frame's own scale. MONOCHROME1 is inverted: large values are bright.

    Raises:
        InputError: when the header and the pixels disagree, before anything is decoded; for colour; for values that
            are not finite.
    """
    with named_errors(path):
        _check_counts(dataset, path)
        try:
            stored = dataset.pixel_array
        except (RuntimeError, NotImplementedError) as error:
            syntax = dataset.file_meta.TransferSyntaxUID
            if syntax in DECODERS and any(words in str(error) for words in ("missing", "not installed", "not support")):
                install = f"pip install '{DECODERS[syntax]}'"
                raise InputError(f"{path}: no decoder for its compression, {syntax.name}: {install}") from error
            raise
        values = _grey(dataset, stored, path)
        values = values.reshape(-1, *values.shape[-2:])
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            values = _inverted(values, dataset)
        array = values.astype(np.float32)
    for frame, header in zip(array, headers, strict=True):
        slope, intercept = (numbers(header, name, path) for name in ("RescaleSlope", "RescaleIntercept"))
        if slope not in (None, (1.0,)):
            frame *= slope[0]
        if intercept not in (None, (0.0,)):
            frame += intercept[0]
    check_finite(array, path)
    return array if len(array) > 1 else array[0]


class BoundedFile(io.BufferedReader):
    """A file that asks for no more memory than it has content: a part of it may claim to be 4 GB long."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = Path(path).stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > 2**16:
            size = max(0, min(size, self.size - self.tell()))
        return super().read(size)


def _has_mark(head: bytes) -> bool:
    return head[128:132] == b"DICM" or head[:2] in (b"\x08\0", b"\x02\0")


def _check_inflated(path: str | Path) -> None:
    """Inflate a deflated file piece by piece: 1 kB may stand for 1 MB, and pydicom takes it at one go."""
    with Path(path).open("rb") as file:
        file.seek(132)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
        content = file.read()
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    limit = max(2 * MAX_PIXELS, MAX_RATIO * len(content))
    while content and size <= limit and not inflater.eof:
        size += len(inflater.decompress(content, 2**20))
        content = inflater.unconsumed_tail
    if size > limit:
        raise InputError(f"{path}: inflates to more than {limit} bytes, which no image of its size does")


def _count(header: Dataset, keyword: str, path: str | Path, default: int | None = None) -> int:
    found = numbers(header, keyword, path)
    if found is not None:
        return int(found[0])
    if default is None:
        raise InputError(f"{path}: lacks {keyword}, which an image has")
    return default


def _flatten(item: Dataset, into: Dataset) -> Dataset:
    """Add the elements of a frame's functional groups to its header."""
    for element in item:
        if element.VR == "SQ" and element.value:
            into.update(element.value[0])
    return into


def _check_counts(dataset: Dataset, path: str | Path) -> None:
    """Whether the pixels are as many as the header says, and not more than a machine can take."""
    names = [name for name in ("PixelData", *FLOAT_PIXELS) if name in dataset]
    if not names:
        raise InputError(f"{path}: has no pixels (PixelData)")
    rows, columns, bits = (_count(dataset, name, path) for name in ("Rows", "Columns", "BitsAllocated"))
    frames, samples = (_count(dataset, name, path, 1) for name in ("NumberOfFrames", "SamplesPerPixel"))
    said = f"Rows x Columns = {rows} x {columns}" + (f", NumberOfFrames {frames}" if frames > 1 else "")
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{path}: {said}: more than {MAX_PIXELS} pixels, the most that a slice may have")
    data = dataset[names[0]].value
    if is_compressed(dataset, path):
        syntax = dataset.file_meta.TransferSyntaxUID
        _check_encoded(data, (rows, columns), frames, samples, syntax, f"{path}: {said}")
        return
    expected = frames * -(-rows * columns * samples * bits // 8)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        expected = expected * 2 // 3
    row = columns * samples * bits // 8  # a few bytes more are padding
    if not expected <= len(data) < expected + max(2, row):
        raise InputError(f"{path}: {said}: expected {expected} bytes of pixels, found {len(data)}")


def _check_encoded(data: bytes, size: tuple[int, int], frames: int, samples: int, syntax: str, said: str) -> None:
    """Whether compressed frames are as many, as large and as long as they say themselves."""
    values = size[0] * size[1] * frames * samples
    if values > max(MAX_PIXELS, MAX_RATIO * len(data)):
        raise InputError(f"{said}: expected {values} values, which {len(data)} compressed bytes do not hold")
    split = getattr(encaps, "generate_frames", None)  # pydicom 3
    parts = split(data, number_of_frames=frames) if split else encaps.generate_pixel_data_frame(data, frames)
    found = 0
    for found, part in enumerate(parts, 1):
        if syntax == RLELossless:
            continue  # pydicom compares the lengths of its segments
        if b"\xff\xd9" not in part[-16:]:
            raise InputError(f"{said}: frame {found} of the compressed pixels ends before its end")
        if _encoded_size(part) != size:
            own = _encoded_size(part)
            raise InputError(f"{said}: the compressed frame {found} says {own and ' x '.join(map(str, own))}")
    if found != frames:
        raise InputError(f"{said}: expected {frames} compressed frames, found {found}")


def _encoded_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream says itself; None where it does not."""
    at = stream.find(b"\xff\x4f\xff\x51")
    if at >= 0 and len(stream) >= at + 24:  # JPEG 2000: the size of the reference grid, less its offset
        right, bottom, left, top = struct.unpack(">4I", stream[at + 8 : at + 24])
        return bottom - top, right - left
    at = 2
    while len(stream) >= at + 9 and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return struct.unpack(">HH", stream[at + 5 : at + 9])
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _grey(dataset: Dataset, array: np.ndarray, path: str | Path) -> np.ndarray:
    """One channel of pixels that are grey, without the bits that are not theirs."""
    kind = str(dataset.get("PhotometricInterpretation"))
    if kind == "PALETTE COLOR":
        raise InputError(f"{path}: expected a grey image, found a palette of colours")
    if _count(dataset, "SamplesPerPixel", path, 1) > 1:
        neutral = 1 << (_count(dataset, "BitsAllocated", path) - 1)
        if (array == array[..., :1]).all() or (kind.startswith("YBR") and (array[..., 1:] == neutral).all()):
            array = array[..., 0]
        else:
            raise InputError(f"{path}: expected a grey image, found colour")
    allocated = _count(dataset, "BitsAllocated", path)
    stored = _count(dataset, "BitsStored", path, allocated)
    if array.dtype.kind in "iu" and 8 * array.dtype.itemsize == allocated > 1:
        if not stored <= allocated or _count(dataset, "HighBit", path, stored - 1) != stored - 1:
            raise InputError(
                f"{path}: BitsStored is {stored} of {allocated}, HighBit {dataset.get('HighBit')}; "
                "expected HighBit to be BitsStored - 1"
            )
        if stored < allocated:  # overlays of old may fill the rest; a shift to the right keeps the sign
            array = (array << (allocated - stored)) >> (allocated - stored)
    return array


def _inverted(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Values whose smallest is white, as values whose largest is."""
    if values.dtype.kind == "f":
        return -values
    if values.dtype.kind == "i":
        return ~values
    stored = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    return ((1 << stored) - 1) - values.astype(np.int64)
