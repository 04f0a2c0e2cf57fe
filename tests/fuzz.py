"""Readers on damaged inputs: ``python -m tests.fuzz --number 10000``.

Small valid inputs are made, each is damaged at random, and read. What may come of it is the contract: a result that is
finite, or :class:`InputError` or ``FileNotFoundError`` on one line that names the file; within 20 s of computing and
2 GB. Input n of a seed is always the same: ``--first n --number 1`` looks at it again.

To add a kind of input, write a function that makes a valid one, one that reads it and gives what was read as arrays,
and add a :class:`Kind` to ``KINDS``.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image
from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from tests.dicom import SYNTAXES, mr_image
from transforms.cine import read_image
from transforms.cine_files import read_cine_stack
from transforms.errors import InputError
from transforms.pair_files import read_slice

SECONDS = 20
MEMORY = 2 * 2**30
NOISE = np.random.default_rng(0).integers(256, size=(24, 32), dtype=np.uint8)

Mutation = Callable[[bytes, np.random.Generator], bytes]


# --- how a file is damaged ---


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes are others, often in the first kilobyte, where headers are."""
    damaged = bytearray(content)
    end = len(damaged) if rng.random() < 0.5 else min(len(damaged), 1024)
    for at in rng.integers(end, size=rng.integers(1, 9)):
        damaged[at] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.integers(256)])
    return bytes(damaged)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    """A block is cut out, doubled or blank."""
    start, stop = sorted(rng.integers(len(content) + 1, size=2))
    block = [b"", content[start:stop] * 2, bytes(stop - start)][rng.integers(3)]
    return content[:start] + block + content[stop:]


TEXTS = ["nan", "inf", "-inf", "1e300", "1e999", "-1e300", "0", "-1", "1e-300", "a", "12,5", "0\\0", "9" * 20, "", " "]
INTEGERS = {
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PlanarConfiguration",
}
NUMBERS = {  # and how many there are
    "PixelSpacing": 2,
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "SliceThickness": 1,
    "SpacingBetweenSlices": 1,
    "RescaleSlope": 1,
    "RescaleIntercept": 1,
    "TriggerTime": 1,
    "InstanceNumber": 1,
    "NumberOfFrames": 1,
    "TemporalPositionIdentifier": 1,
    "AcquisitionTime": 1,
    "ContentTime": 1,
    "SeriesNumber": 1,
}
OTHERS = {
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PhotometricInterpretation",
    "ImageType",
    "PixelData",
    "Modality",
}
KEYWORDS = (*NUMBERS, *NUMBERS, *sorted(INTEGERS), *sorted(OTHERS))


def change_dicom(content: bytes, rng: np.random.Generator) -> bytes:
    """An attribute is absent, or holds a value that no valid file has."""
    with config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(content))
        for _ in range(rng.integers(1, 3)):
            keyword = str(rng.choice(KEYWORDS))
            tag = Tag(keyword)
            if rng.random() < 0.15:
                dataset.pop(tag, None)
            elif keyword in INTEGERS:
                value = int(rng.choice([0, 1, 2, 3, 7, 8, 12, 16, 31, 32, 64, 1000, 60000, 65535]))
                order = "big" if dataset.file_meta.TransferSyntaxUID == SYNTAXES["big"] else "little"
                dataset[tag] = _raw(tag, "US", value.to_bytes(2, order))
            elif keyword in NUMBERS:
                parts = NUMBERS[keyword]
                text = str(rng.choice(TEXTS))
                texts = ["1"] * parts
                for at in range(parts) if rng.random() < 0.5 else [rng.integers(parts)]:
                    texts[at] = text
                dataset[tag] = _raw(tag, pydicom.datadict.dictionary_VR(tag), "\\".join(texts).encode())
            else:
                junk = [b"", b"MONOCHROME1", b"RGB", b"1.2.3", rng.bytes(8), rng.bytes(2 * rng.integers(1, 2000))]
                dataset[tag] = _raw(tag, pydicom.datadict.dictionary_VR(tag).split()[-1], junk[rng.integers(len(junk))])
        if rng.random() < 0.1:
            syntaxes = [*SYNTAXES.values(), "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.3", "a"]
            dataset.file_meta.TransferSyntaxUID = syntaxes[rng.integers(len(syntaxes))]
        out = io.BytesIO()
        try:
            dataset.save_as(out)
        except Exception:  # pydicom does not write everything
            return splice(content, rng)
    return out.getvalue()


def _raw(tag: Tag, vr: str, value: bytes) -> RawDataElement:
    value += b" " * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


# --- kinds of inputs ---


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        make: writes a valid one into a folder and gives its path; of a folder, one of its files is damaged.
        read: gives what was read of it, as arrays.
        mutations: of a file's content.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Iterable[np.ndarray]]
    mutations: Sequence[Mutation] = (flip, truncate, splice)


def _read_slice(path: Path) -> list[np.ndarray]:
    image, spacing = read_image(path)
    slice_ = read_slice(path)
    geometry = (slice_.GetOrigin(), slice_.GetSpacing(), slice_.GetDirection(), spacing or ())
    return [image, sitk.GetArrayFromImage(slice_), *map(np.array, geometry)]


def _read_cine(path: Path) -> list[np.ndarray]:
    cine = read_cine_stack(path)
    places = [place for grid in cine.grids for place in (grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection())]
    known = [value for value in (cine.distance, cine.times) if value is not None]
    return [cine.images, *map(np.array, (*places, cine.spacing, *known))]


def _make_dicom(syntax: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        mr_image(NOISE, syntax).save_as(folder / "a.dcm")
        return folder / "a.dcm"

    return make


def _make_series(folder: Path) -> Path:
    for number in range(6):
        place, time_ = divmod(number, 3)
        frame = np.roll(NOISE, number, 0)
        tags = {"ImagePositionPatient": [0, 0, 8 * place], "TriggerTime": 30 * time_, "InstanceNumber": number + 1}
        mr_image(frame, **tags).save_as(folder / f"{number}.dcm")
    return folder


def _make_picture(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(NOISE).save(folder / name)
        return folder / name

    return make


DICOM = (flip, truncate, splice, change_dicom, change_dicom, change_dicom)
KINDS = {
    "dicom series": Kind(_make_series, _read_cine, DICOM),
    **{f"dicom {syntax}": Kind(_make_dicom(syntax), _read_slice, DICOM) for syntax in SYNTAXES},
    **{name: Kind(_make_picture(name), _read_slice) for name in ("a.png", "a.jpg", "a.tif", "a.bmp")},
}


# --- the contract ---


def fault(kind: Kind, path: Path) -> str | None:
    """What is wrong about how an input is read; None where nothing is."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = list(kind.read(path))
    except (InputError, FileNotFoundError) as error:
        message = str(error)
        if "\n" in message or path.name not in message:
            return f"is not one line that names the file: {message!r}"
        if "MemoryError" in message:
            return f"took too much memory: {message}"
    except MemoryError:
        return "took too much memory"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        if not all(np.isfinite(array).all() for array in arrays):
            return "was read with values that are not finite"
    seconds = time.process_time() - start
    return f"took {seconds:.0f} s" if seconds > SECONDS else None


def damaged(number: int, seed: int, folder: Path, kinds: Sequence[str]) -> tuple[str, str, Path]:
    """Input ``number`` of a seed, in a folder of its own: its kind, how it was damaged, and its path."""
    rng = np.random.default_rng((seed, number))
    name = kinds[number % len(kinds)]
    kind = KINDS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = kind.make(folder)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    file = files[rng.integers(len(files))]
    mutation = kind.mutations[rng.integers(len(kind.mutations))]
    file.write_bytes(mutation(file.read_bytes(), rng))
    return name, mutation.__name__, path


def find_faults(numbers: Iterable[int], seed: int, kinds: Sequence[str] = tuple(KINDS)) -> list[str]:
    """Faults of some inputs, a line each."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            name, mutation, path = damaged(number, seed, Path(folder) / "input", kinds)
            if trouble := fault(KINDS[name], path):
                found.append(f"{number} ({name}, {mutation}): {trouble}")
    return found


def _work(pipe, numbers: Sequence[int], seed: int, kinds: Sequence[str]) -> None:
    """In a process of its own, whose memory and time are limited: a crash is then a finding, too."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in numbers:
        signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
        pipe.send((number, None))
        for line in find_faults([number], seed, kinds):
            pipe.send((number, line))
    pipe.close()


def run(first: int, number: int, seed: int, kinds: Sequence[str]) -> list[str]:
    """As :func:`find_faults`, with crashes and hangs among the faults."""
    found, at, end = [], first, first + number
    fork = multiprocessing.get_context("fork")
    while at < end:
        ours, theirs = fork.Pipe(duplex=False)
        worker = fork.Process(target=_work, args=(theirs, range(at, end), seed, kinds))
        worker.start()
        theirs.close()
        while True:
            try:
                at, line = ours.recv()
            except EOFError:
                break
            if line:
                found.append(line)
                print(line, flush=True)
        worker.join()
        if worker.exitcode:
            found.append(f"{at} ({kinds[at % len(kinds)]}): ended the process ({worker.exitcode})")
            print(found[-1], flush=True)
        at += 1
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="*", default=list(KINDS), choices=list(KINDS))
    options = parser.parse_args()
    faults = run(options.first, options.number, options.seed, options.kind)
    kinds_found = Counter(line.split("(", 1)[1].split(")")[0] for line in faults)
    print(f"{options.number} inputs, {len(faults)} faults: {dict(kinds_found)}")
    raise SystemExit(bool(faults))
