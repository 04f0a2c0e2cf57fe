"""What DICOM files there are in a folder, at any depth: their series, and which of them are a cine, in what order."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from .dicom import SEGMENTATIONS, dicom_pixels, frame_headers, is_dicom, named_errors, numbers, read_dicom, stored_text
from .errors import InputError

__all__ = [
    "Frame",
    "Series",
    "arrange",
    "as_series",
    "choose_series",
    "dicom_frames",
    "find_series",
    "one_phase",
    "read_pixels",
    "slice_gaps",
    "trigger_times",
    "unequal",
    "usual_gap",
]

logger = logging.getLogger(__name__)

SAME_PLACE = 0.1  # mm; places of the frames of one slice may differ by rounding
LONGEST_BEAT = 3000  # ms, of a heart of 20 beats a minute
KEPT_BYTES = 2**29  # of a folder whose files are read once, pixels too; of a larger one the headers are read first
MOST_LISTED = 8  # cines in an error
SHORT_AXIS = re.compile(r"(?<![a-z])(sax|sa|short[ _-]?axis|ksa|kurzachse|cinesax)(?![a-z])", re.IGNORECASE)
LONG_AXIS = re.compile(r"(?<![a-z])(lax|[234] ?-?ch(amber)?|vla|hla|lvot|rvot|long[ _-]?axis)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a DICOM file.

    Attributes:
        path: of the file.
        header: its elements in one level, see :func:`transforms.dicom.frame_headers`.
        index: in the file, from 0.
        headers: of all frames of the file.
        dataset: the file's.
    """

    path: Path
    header: Dataset
    index: int
    headers: list[Dataset]
    dataset: Dataset
    _known: dict[str, tuple[float, ...] | None] = field(default_factory=dict)

    def numbers(self, keyword: str) -> tuple[float, ...] | None:
        """As :func:`transforms.dicom.numbers`."""
        if keyword not in self._known:
            self._known[keyword] = numbers(self.header, keyword, self.path)
        return self._known[keyword]

    def sure(self, keyword: str) -> tuple[float, ...]:
        """The numbers of an attribute that a frame of a cine has."""
        found = self.numbers(keyword)
        if found is None:
            raise InputError(f"{self.name}: a frame of a cine needs {keyword}")
        return found

    def text(self, keyword: str) -> str:
        """The text of an attribute; of several values, with backslashes between; empty where absent."""
        with named_errors(self.path):
            stored = stored_text(self.header, keyword)
            if stored is not None:
                return stored.strip()
            value = self.header.get(keyword)
            several = hasattr(value, "__iter__") and not isinstance(value, str)
            return "" if value is None else "\\".join(map(str, value)) if several else str(value).strip()

    @property
    def name(self) -> str:
        return f"{self.path} (frame {self.index + 1})" if len(self.headers) > 1 else str(self.path)


@dataclass(frozen=True, eq=False)
class Series:
    """Frames that may be a cine: a DICOM series, or several of one slice each.

    Attributes:
        number: Series Number; of several "10, 11, 12".
        uids: Series Instance UIDs.
        description: Series Description, of the first.
        frames: all of them, as found.
        slices: arranged by place and time; empty when it is no cine.
        reason: why it is no cine; empty when it is one.
        notes: what was left out and why, and what contradicts itself.
    """

    number: str
    uids: tuple[str, ...]
    description: str
    frames: list[Frame]
    slices: list[list[Frame]]
    reason: str
    notes: list[str]

    @property
    def view(self) -> str:
        """ "short axis" or "long axis" by its description; else "" ."""
        if SHORT_AXIS.search(self.description):
            return "short axis"
        return "long axis" if LONG_AXIS.search(self.description) else ""

    @property
    def size(self) -> str:
        """Slices × frames; of what is no cine, the number of its images."""
        return f"{len(self.slices)} × {len(self.slices[0])}" if self.slices else f"{len(self.frames)} images"

    @property
    def folder(self) -> Path:
        """The folder that holds all of its files."""
        return Path(os.path.commonpath({frame.path.parent for frame in self.frames}))

    def __str__(self) -> str:
        return f"{self.number or self.uids[0]} ({self.description or 'no description'}, {self.size})"


def dicom_frames(path: Path, dataset: Dataset) -> list[Frame]:
    """The frames of a DICOM file.

    Raises:
        InputError: as :func:`transforms.dicom.frame_headers`.
    """
    with named_errors(path):
        headers = frame_headers(dataset, path)
    return [Frame(path, header, index, headers, dataset) for index, header in enumerate(headers)]


def read_pixels(frames: Sequence[Frame]) -> dict[Frame, np.ndarray]:
    """The grey values (H, W) of frames; each file is decoded once.

    Raises:
        InputError: as :func:`transforms.dicom.dicom_pixels`.
    """
    files: dict[Path, list[Frame]] = defaultdict(list)
    for frame in frames:
        files[frame.path].append(frame)
    pixels = {}
    for path, wanted in files.items():
        first = wanted[0]
        dataset = first.dataset if "PixelData" in first.dataset else read_dicom(path)
        array = dicom_pixels(dataset, first.headers, path)
        for frame in wanted:
            pixels[frame] = array if len(first.headers) == 1 else array[frame.index]
    return pixels


# --- a folder ---


def find_series(folder: Path, progress: Callable[[int, int], None] | None = None) -> list[Series]:
    """The series of all DICOM files under a folder, by number; those of one slice each that make a stack, as one.

    Args:
        folder: searched with its sub-folders, except hidden ones.
        progress: called with the number of files read and of all.

    A series is no cine where its folder holds a file that is named as DICOM and is none, or is damaged: it may be one
    of its images.

    Raises:
        FileNotFoundError: when there is no DICOM file of an image.
        InputError: when all are damaged.
    """
    files = sorted(_files(folder))
    size = sum(path.stat().st_size for path in files if path.exists())
    series: dict[tuple[str, str], list[Frame]] = defaultdict(list)
    other: list[Path] = []
    kinds: set[tuple[Path, str]] = set()
    without_image: list[Path] = []
    trouble: dict[Path, str] = {}  # by folder: an image of its series may be missing
    for number, path in enumerate(files):
        if progress is not None:
            progress(number, len(files))
        if not path.exists() or not is_dicom(path):
            other.append(path)
            continue
        try:
            dataset = read_dicom(path, pixels=size <= KEPT_BYTES)
            if path.name == "DICOMDIR" or _sop_class(path, dataset) == MediaStorageDirectoryStorage:
                continue
            kinds.add((path.parent, _suffix(path)))
            if numbers(dataset, "Rows", path) is None or dataset.get("SOPClassUID") in SEGMENTATIONS:
                without_image.append(path)
                continue
            for frame in dicom_frames(path, dataset):
                series[frame.text("StudyInstanceUID"), frame.text("SeriesInstanceUID")].append(frame)
        except InputError as error:
            trouble.setdefault(path.parent, str(error))
    beside = [path for path in other if (path.parent, _suffix(path)) in kinds]
    for path in beside:
        if _suffix(path):
            trouble.setdefault(path.parent, f"{path}: not DICOM, though named as the DICOM files beside it")
    if plain := [path for path in beside if not _suffix(path)]:
        logger.warning("%s: not DICOM, passed over", _names(plain))
    if without_image:
        logger.warning("%s: without an image, passed over", _names(without_image))
    if not series:
        if trouble:
            raise InputError(next(iter(trouble.values())))
        raise FileNotFoundError(f"'{folder}' holds no DICOM file of an image")
    found = _stacks([as_series(frames, trouble) for frames in series.values()])
    return sorted(found, key=lambda one: (_first_number(one.number), one.number, one.uids))


def choose_series(folder: Path, found: Sequence[Series], wanted: str | None = None) -> Series:
    """The one cine of a folder: the only one; of several the only one of several slices, or the short axis.

    Args:
        folder: what it is called in errors.
        found: by :func:`find_series`.
        wanted: a Series Number or Series Instance UID; one of those that make a stack stands for it.

    Raises:
        InputError: when there is none, or it is left open which; says what there is.
    """
    if wanted is not None:
        candidates = [one for one in found if wanted in (one.number, *one.uids, *one.number.split(", "))]
        if not candidates:
            raise InputError(f"{folder}: has no series {wanted!r}; found {'; '.join(map(str, found))}")
        if len(candidates) > 1:
            uids = ", ".join(one.uids[0] for one in candidates)
            raise InputError(f"{folder}: {len(candidates)} series are called {wanted!r}; name one by its UID: {uids}")
        if candidates[0].reason:
            raise InputError(candidates[0].reason)
        return candidates[0]
    cines = [one for one in found if not one.reason]
    if not cines:
        if len(found) == 1:
            raise InputError(found[0].reason)
        reasons = "; ".join(f"{one}: {one.reason}" for one in found[:3])
        raise InputError(f"{folder}: none of its {len(found)} series is a cine: {reasons}{' ...' * (len(found) > 3)}")
    tests = (
        lambda one: True,
        lambda one: len(one.slices) > 1 and one.view != "long axis",
        lambda one: one.view == "short axis",
        lambda one: len(one.slices) > 1 and one.view == "short axis",
    )
    for fits in tests:
        chosen = [one for one in cines if fits(one)]
        if len(chosen) == 1:
            others = [one for one in found if one is not chosen[0]]
            if others:
                logger.warning("series %s is read, passed over: %s", chosen[0], "; ".join(map(str, others)))
            return chosen[0]
    listed = "; ".join(f"{one} in {one.folder}" for one in cines[:MOST_LISTED])
    more = f"; {len(cines) - MOST_LISTED} more" if len(cines) > MOST_LISTED else ""
    raise InputError(f"{folder}: has several cines; name one by --series, or its folder: {listed}{more}")


def _files(folder: Path) -> Iterable[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(here) / name for name in names if not name.startswith("."))


def _suffix(path: Path) -> str:
    """The ending that says what a file is; the last number of a UID does not."""
    return "" if path.suffix[1:].isdigit() else path.suffix.lower()


def _sop_class(path: Path, dataset: Dataset) -> str:
    with named_errors(path):
        return str(dataset.file_meta.get("MediaStorageSOPClassUID"))


def _names(paths: Sequence[Path]) -> str:
    return str(paths[0]) + (f" and {len(paths) - 1} others" if len(paths) > 1 else "")


def _first_number(text: str) -> float:
    found = re.match(r"-?\d+", text)
    return float(found[0]) if found else np.inf


def as_series(frames: list[Frame], trouble: Mapping[Path, str] | None = None) -> Series:
    """Frames that were found together, arranged as a cine where they are one.

    Args:
        frames: of one series.
        trouble: by folder, why its series cannot be read.
    """
    first = frames[0]
    notes: list[str] = []
    damaged = next((trouble[frame.path.parent] for frame in frames if trouble and frame.path.parent in trouble), None)
    try:
        if damaged:
            raise InputError(damaged)
        slices, reason = arrange(frames, notes), ""
    except InputError as error:
        slices, reason = [], str(error)
    uid = first.text("SeriesInstanceUID")
    return Series(first.text("SeriesNumber"), (uid,), first.text("SeriesDescription"), frames, slices, reason, notes)


def _stacks(found: list[Series]) -> list[Series]:
    """Series of one slice each that lie above each other, as one."""
    groups: dict[tuple, list[Series]] = defaultdict(list)
    for one in found:
        if len(one.slices) == 1:
            frame = one.slices[0][0]
            direction = np.round(frame.sure("ImageOrientationPatient"), 2) + 0.0
            size = (len(one.slices[0]), *frame.sure("Rows"), *frame.sure("Columns"))
            place = [frame.text(name) for name in ("StudyInstanceUID", "FrameOfReferenceUID")]
            groups[(*place, *direction, *np.round(frame.sure("PixelSpacing"), 3), *size)].append(one)
    stacks: list[Series] = []
    used: set[int] = set()
    for group in groups.values():
        if len(group) < 2:
            continue
        group = sorted(group, key=lambda one: (_first_number(one.number), one.uids))
        notes = [note for one in group for note in one.notes]
        frames = [frame for one in group for frame in one.frames]
        try:
            slices = arrange([frame for one in group for frame in one.slices[0]], notes)
        except InputError as error:
            logger.info("series of one slice each do not make a stack: %s", error)
            continue
        if len(slices) != len(group):
            continue  # two at one place
        number = ", ".join(one.number for one in group)
        uids = tuple(uid for one in group for uid in one.uids)
        stacks.append(Series(number, uids, group[0].description, frames, slices, "", notes))
        used.update(map(id, group))
    return [one for one in found if id(one) not in used] + stacks


# --- the slices and times of a cine ---


def arrange(frames: Sequence[Frame], notes: list[str] | None = None) -> list[list[Frame]]:
    """Frames by slice and time: the slices by their place along their normal, each with equally many frames, in the
    order that the headers say.

    The order is that of the first of these which all have and which differs between the frames of each slice: trigger
    time (or delay), temporal position, percentage of the cardiac phase, time of acquisition, of content, instance
    number with the number in the file. Copies are passed over, and of magnitude and phase the magnitude is taken.

    Args:
        frames: of one or several files.
        notes: gets a line for all that was left out or contradicts itself.

    Raises:
        InputError: when they are no cine; names the files.
    """
    notes = [] if notes is None else notes
    slices = _slices(frames, notes)
    frames = [frame for part in slices for frame in part]
    counts = Counter(map(len, slices))
    if set(counts) == {1}:
        raise InputError(f"{_folder(frames)}: one image at each place, {len(slices)} in all; a cine has several")
    if len(counts) > 1:
        common = counts.most_common(1)[0][0]
        odd = next((part for part in slices if len(part) != common), slices[0])
        raise InputError(
            f"{_folder(frames)}: expected slices of equally many frames, two or more; found "
            + ", ".join(f"{number} of {size}" for size, number in sorted(counts.items()))
            + f" (that of {odd[0].name} has {len(odd)})"
        )
    slices = _in_time(slices, notes)
    firsts = [part[0] for part in slices]
    _note_gaps(firsts, slice_gaps(firsts), notes)
    return slices


def one_phase(frames: Sequence[Frame]) -> list[Frame]:
    """The slices of a stack at one time, by their place along their normal; copies and phase images are left out.

    Raises:
        InputError: when they are none; names the files.
    """
    slices = _slices(frames, [])
    if len(slices) < 2:
        raise InputError(f"{_folder(frames)}: expected slices at several places, found one place")
    several = next((part for part in slices if len(part) > 1), None)
    if several is not None:
        raise InputError(
            f"{_folder(frames)}: expected one image at each place, found {len(several)} at that of {several[0].name}"
        )
    return [part[0] for part in slices]


def _slices(frames: Sequence[Frame], notes: list[str]) -> list[list[Frame]]:
    """Frames by slice, without copies and phase images."""
    for frame in frames:
        needed = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
        lacks = [name for name in needed if not frame.numbers(name)]
        if lacks:
            raise InputError(f"{frame.name}: a frame of a cine needs {', '.join(lacks)}")
    frames = _without_phase(_without_copies(frames, notes), notes)
    _check_alike(frames)
    return _by_place(frames)


def slice_gaps(slices: Sequence[Frame]) -> np.ndarray:
    """Distances in mm between neighbouring slices along their normal, given one frame of each.

    Raises:
        InputError: when the slices are not above each other, or unequally far apart and overlap.
    """
    if len(slices) == 1:
        return np.zeros(0)
    normal = _normal(slices[0])
    corners = np.array([frame.sure("ImagePositionPatient") for frame in slices])
    steps = np.diff(corners, axis=0)
    gaps = steps @ normal
    aside = np.linalg.norm(steps - gaps[:, None] * normal, axis=1)
    worst = int(np.argmax(aside))
    if aside[worst] > 0.5 * min(slices[0].sure("PixelSpacing")):
        raise InputError(
            f"{_folder(slices)}: expected slices above each other; {slices[worst + 1].name} lies {gaps[worst]:.2f} mm "
            f"from {slices[worst].name} and {aside[worst]:.2f} mm aside"
        )
    thickness = slices[0].numbers("SliceThickness")
    nearest = int(np.argmin(gaps))
    if thickness and gaps[nearest] < 0.5 * thickness[0] and unequal(gaps):
        raise InputError(
            f"{_folder(slices)}: slices of {thickness[0]:g} mm that overlap: {slices[nearest].name} and "
            f"{slices[nearest + 1].name} lie {gaps[nearest]:.2f} mm apart, others up to {gaps.max():.2f} mm; "
            "are they of two acquisitions?"
        )
    return gaps


def usual_gap(gaps: np.ndarray) -> float:
    """The median of the gaps in mm; of two in the middle the smaller: a larger one may lack a slice."""
    return float(np.quantile(gaps, 0.5, method="lower"))


def unequal(gaps: np.ndarray) -> bool:
    """Whether gaps between slices differ by more than their places are rounded."""
    return bool(np.ptp(gaps) > 0.05 * gaps.mean())


def _note_gaps(slices: Sequence[Frame], gaps: np.ndarray, notes: list[str]) -> None:
    """Say where slices lie unequally far apart, and where one is missing."""
    if not len(gaps) or not unequal(gaps):
        return
    usual = usual_gap(gaps)
    odd = []
    for number in np.flatnonzero(np.abs(gaps - usual) > 0.025 * usual).tolist():
        times = round(gaps[number] / usual)
        cause = f" ({times - 1} missing, most probably)" if abs(gaps[number] / usual - max(times, 2)) < 0.1 else ""
        odd.append(f"{gaps[number]:.2f} mm from slice {number} ({slices[number].name}) to slice {number + 1}{cause}")
    notes.append(
        f"{_folder(slices)}: its slices lie unequally far apart, usually {usual:.2f} mm: {'; '.join(odd[:3])}"
        f"{_others(odd) if len(odd) > 3 else ''}. Each counts by its own height: volumes bridge what is missing"
    )


def _folder(frames: Sequence[Frame]) -> str:
    """What several frames are called: their file, or the folder of their files."""
    paths = sorted({frame.path for frame in frames})
    return str(paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths])))


def _normal(frame: Frame) -> np.ndarray:
    return np.cross(*np.reshape(frame.sure("ImageOrientationPatient"), (2, 3)))


def _without_copies(frames: Sequence[Frame], notes: list[str]) -> list[Frame]:
    seen: dict[tuple, Frame] = {}
    copies = []
    for frame in frames:
        pixels = frame.dataset.get_item("PixelData")  # absent where the headers alone were read
        same = frame.text("SOPInstanceUID") if pixels is None else pixels.value
        said = (value_of(frame) for value_of, _ in ORDERS.values())
        original = seen.setdefault((same, frame.index, frame.sure("ImagePositionPatient"), *said), frame)
        if original is not frame:
            copies.append((frame, original))
    if copies:
        copy, original = copies[0]
        notes.append(f"{copy.name} is a copy of {original.name}{_others(copies)}, passed over")
    return list(seen.values())


def _others(items: Sequence) -> str:
    return f", and so on, {len(items)} in all" if len(items) > 1 else ""


def _component(frame: Frame) -> str:
    """ "M", "P", "R" or "I" for magnitude, phase, real or imaginary; empty where not said."""
    said = frame.text("ComplexImageComponent")
    values = [said] if said else frame.text("ImageType").split("\\")[2:]
    names = {"M": "M", "MAGNITUDE": "M", "P": "P", "PHASE": "P", "PHASE MAP": "P", "VELOCITY": "P", "R": "R", "I": "I"}
    return next((names[value] for value in values if value in names), "")


def _without_phase(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Magnitude alone, where there is also another component of the signal; one echo."""
    components = [_component(frame) for frame in frames]
    if "M" in components and set(components) & {"P", "R", "I"}:
        left_out = [frame for frame, kind in zip(frames, components, strict=True) if kind != "M"]
        notes.append(f"{left_out[0].name} is no magnitude image{_others(left_out)}, passed over")
        frames = [frame for frame, kind in zip(frames, components, strict=True) if kind == "M"]
    elif set(components) & {"P", "R", "I"}:
        odd = frames[next(n for n, kind in enumerate(components) if kind in ("P", "R", "I"))]
        raise InputError(f"{odd.name}: Image Type is {odd.text('ImageType')}: expected magnitude images")
    for keyword in ("EchoNumbers", "EffectiveEchoTime"):
        echoes = {frame.text(keyword): frame for frame in reversed(frames)}  # the first of each
        if len(echoes) > 1:
            (one, first), (other, second) = sorted(echoes.items())[:2]
            raise InputError(f"{first.name} and {second.name}: {keyword} {one} and {other} in one series: no cine")
    return frames


def _check_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    for frame in frames:
        for name in ("ImageOrientationPatient", "PixelSpacing"):
            there, here = frame.sure(name), first.sure(name)
            if there != here and not np.allclose(there, here, atol=1e-3):  # that takes its time, of thousands of frames
                raise InputError(
                    f"{frame.name}: {name} differs from that of {first.name}; expected parallel slices of one "
                    "pixel size"
                )
        size, other = (_size(one) for one in (first, frame))
        if size != other:
            raise InputError(
                f"{frame.name}: Rows x Columns = {other}, {size} of {first.name}: its images differ in size"
            )
        for name in ("RescaleSlope", "RescaleIntercept"):
            if (frame.numbers(name) is None) != (first.numbers(name) is None):
                without, with_one = (frame, first) if frame.numbers(name) is None else (first, frame)
                raise InputError(f"{without.name}: lacks {name}, which {with_one.name} has: grey values of two scales")


def _size(frame: Frame) -> str:
    return " x ".join(f"{frame.sure(name)[0]:g}" for name in ("Rows", "Columns"))


def _by_place(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by slice, the slices by their place along the normal."""
    normal = _normal(frames[0])
    places = np.array([normal @ frame.sure("ImagePositionPatient") for frame in frames])
    order = np.argsort(places, kind="stable")
    cuts = np.flatnonzero(np.diff(places[order]) > SAME_PLACE) + 1
    slices = [[frames[index] for index in part] for part in np.split(order, cuts)]
    for part in slices:
        for frame in part:
            shift = np.subtract(frame.sure("ImagePositionPatient"), part[0].sure("ImagePositionPatient"))
            if np.linalg.norm(shift) > 0.5 * min(frame.sure("PixelSpacing")):
                raise InputError(
                    f"{frame.name}: lies {np.linalg.norm(shift):.2f} mm aside from {part[0].name}, in the same plane: "
                    "no frames of one cine"
                )
    return slices


# --- order in time ---


def _trigger(frame: Frame) -> float | None:
    for keyword in ("TriggerTime", "NominalCardiacTriggerDelayTime"):
        if found := frame.numbers(keyword):
            return found[0]
    return None


def _position(frame: Frame) -> float | None:
    for keyword in ("TemporalPositionIdentifier", "TemporalPositionIndex"):
        if found := frame.numbers(keyword):
            return found[0]
    return None


def _percentage(frame: Frame) -> float | None:
    found = frame.numbers("NominalPercentageOfCardiacPhase")
    return None if found is None else found[0]


def _clock(*keywords: str) -> Callable[[Frame], float | None]:
    """Seconds of a DICOM time, or of the time in a date and time."""

    def seconds(frame: Frame) -> float | None:
        for keyword in keywords:
            text = frame.text(keyword)
            clock = re.fullmatch(r"(?:\d{8})?(\d\d)(\d\d)(\d\d(?:\.\d*)?)(?:[+-]\d{4})?", text)
            if clock:
                return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
        return None

    return seconds


def _instance(frame: Frame) -> float | None:
    found = frame.numbers("InstanceNumber")
    if len(frame.headers) > 1:  # of all frames of the file one; they are stored in some order
        return (found[0] if found else 0) * 1e6 + frame.index
    return None if found is None else found[0]


def trigger_times(frames: Sequence[Frame]) -> np.ndarray | None:
    """Of the frames of a slice in ms after the trigger; None where one has none, or they don't grow.

    Times that run on over the slices of a series are taken from the slice's first frame.
    """
    known = [_trigger(frame) for frame in frames]
    times = [time for time in known if time is not None]
    if len(times) < len(known) or (np.diff(times) <= 0).any():
        return None
    return np.array(times) - (times[0] if times[0] > times[-1] - times[0] else 0)


# What says the order of frames, the surest first; and whether it is meant to: two frames of a slice that share it are
# then an error, and another order a contradiction. Clocks may tell when an image was made, rather than acquired.
ORDERS: dict[str, tuple[Callable[[Frame], float | None], bool]] = {
    "TriggerTime": (_trigger, True),
    "TemporalPositionIdentifier": (_position, True),
    "NominalPercentageOfCardiacPhase": (_percentage, True),
    "AcquisitionTime": (_clock("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"), False),
    "ContentTime": (_clock("ContentTime"), False),
    "InstanceNumber": (_instance, True),
}


def _in_time(slices: list[list[Frame]], notes: list[str]) -> list[list[Frame]]:
    """Frames of each slice in the order of time, by the first of ``ORDERS`` that says one."""
    chosen, ordered = "", slices
    for keyword, (value_of, strict) in ORDERS.items():
        values = [[value_of(frame) for frame in part] for part in slices]
        known = [value is not None for part in values for value in part]
        if not any(known):
            continue
        if not all(known):
            missing = next(f for part in slices for f in part if value_of(f) is None)
            notes.append(f"{missing.name}: lacks {keyword}, which other frames have; it is not used")
            continue
        if any(len(set(part)) == 1 for part in values):
            continue  # says nothing of time
        twice = next(((s, part) for s, part in zip(slices, values, strict=True) if len(set(part)) < len(part)), None)
        if twice and (strict and not chosen):
            frames, part = twice
            value = Counter(part).most_common(1)[0][0]
            two = [frame.name for frame, other in zip(frames, part, strict=True) if other == value][:2]
            time = "trigger time" if keyword == "TriggerTime" else keyword
            raise InputError(
                f"{two[0]} and {two[1]}: a slice has two frames at one {time}, {value:g}; is it one series, "
                "acquired once?"
            )
        if twice:
            continue
        pairs = [sorted(zip(part, range(len(part)), strict=True)) for part in values]
        by_this = [[frames[n] for _, n in part] for frames, part in zip(slices, pairs, strict=True)]
        if not chosen:
            chosen, ordered = keyword, by_this
        elif strict and any(
            a is not b for one, two in zip(ordered, by_this, strict=True) for a, b in zip(one, two, strict=True)
        ):
            notes.append(f"{_folder(slices[0])}: {keyword} says another order of frames than {chosen}, which is taken")
    if not chosen:
        raise InputError(
            f"{slices[0][0].name} and {slices[0][1].name}: nothing says the order of the frames of a slice; "
            f"expected one of {', '.join(ORDERS)} to differ between them"
        )
    if chosen == "TriggerTime":
        span = max((_trigger(part[-1]) or 0) - (_trigger(part[0]) or 0) for part in ordered)
        if span > LONGEST_BEAT:
            notes.append(f"{_folder(slices[0])}: TriggerTime runs over {span:g} ms, longer than a beat of the heart")
    return ordered
