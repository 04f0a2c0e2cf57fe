"""The cines under a folder: found at once, read when asked for."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from transforms.cine_files import CineStack, dicom_study, read_cine_stack, read_stack, study_folders
from transforms.dicom_series import Series, choose_series, find_series
from transforms.paths import stem

__all__ = ["Cines", "UnknownCineError"]

MAX_CINES = 3  # cines in memory, of about 100 MB each
GONE = "no such cine; load the page again if it is new"

Stamp = tuple[tuple[str, int, int], ...]


class UnknownCineError(LookupError):
    """No cine has this id."""


@dataclass(frozen=True)
class _Entry:
    """What an id stands for: a file, a folder, or one series of several in a folder, with its number and the id of
    that folder; and what the cines of its study share."""

    path: Path
    series: str = ""
    number: str = ""
    folder: str = ""
    study: str = ""


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Cines:
    """Cines under a folder: folders of DICOM files, or of a study's folders, and NIfTI files that can be cines.

    An id stands for a path that was found, or for a series in it; nothing else can be read. Links that lead out of the
    folder are not followed: such a file is no cine, and a folder of DICOM files with such a link is none. Several
    threads may share one.

    Args:
        folder: searched with its sub-folders, but hidden ones.
        leave_out: a folder under it that is passed over, such as that of results.
    """

    def __init__(self, folder: Path, leave_out: Path) -> None:
        self.folder, self.leave_out = folder.resolve(), leave_out.resolve()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"folder '{folder}' does not exist")
        self._entries: dict[str, _Entry] = {}
        self._read: OrderedDict[str, tuple[Stamp, CineStack]] = OrderedDict()
        self._found: tuple[Path, Stamp, list[Series]] = self.folder, (), []
        self._reading = threading.Lock()  # while one thread reads a cine another need not read it too
        self._lock = threading.Lock()  # of the two dictionaries, never for long

    def scan(self) -> dict[str, str]:
        """Names by id, in order, of what there is now."""
        studies = dict(self._find())
        found = sorted(studies, key=lambda path: path.as_posix().lower())
        entries = {_mark(self._relative(path)): _Entry(path, study=studies[path]) for path in found}
        with self._lock:
            still = {key: entry for key, entry in self._entries.items() if entry.series and entry.folder in entries}
            self._entries = entries | still
        return {key: self._relative(entry.path) for key, entry in entries.items()}

    def choices(self, key: str) -> dict[str, str]:
        """Of a folder with several cines their names by id; else empty.

        Raises:
            UnknownCineError: when no cine has this id.
            InputError, OSError: when the folder cannot be read.
        """
        entry = self._entry(key)
        if entry.series or not entry.path.is_dir():
            return {}
        stamp = self.stamp(key)
        if self._kept(key, stamp) is not None:  # a folder that was read as it is has one
            return {}
        with self._reading:
            cines = [one for one in self._series(entry.path, stamp) if not one.reason]
        if len(cines) < 2:
            return {}
        made = {f"{key}-{_mark(one.uids[0])[:8]}": one for one in cines}
        with self._lock:
            self._entries |= {mark: _Entry(entry.path, one.uids[0], one.number, key) for mark, one in made.items()}
        return {mark: str(one) for mark, one in made.items()}

    def read(self, key: str) -> CineStack:
        """A cine, anew where its files have changed.

        Raises:
            UnknownCineError: when no cine has this id.
            InputError, OSError: when it cannot be read, or is one of several in a folder: see :meth:`choices`.
        """
        entry, stamp = self._entry(key), self.stamp(key)
        if (cine := self._kept(key, stamp)) is not None:
            return cine
        with self._reading:
            if (cine := self._kept(key, stamp)) is None:
                if entry.path.is_dir():
                    cine = read_stack(choose_series(entry.path, self._series(entry.path, stamp), entry.series or None))
                    if not entry.series:  # of several another may be chosen next
                        self._found = self.folder, (), []
                else:
                    cine = read_cine_stack(entry.path)
                with self._lock:
                    self._read[key] = stamp, cine
                    while len(self._read) > MAX_CINES:
                        self._read.popitem(last=False)
            return cine

    def stamp(self, key: str) -> Stamp:
        """Names, sizes and times of a cine's files, which differ after a change.

        Raises:
            UnknownCineError: when no cine has this id, it is gone, or a link out of the folder has come in.
        """
        path = self._entry(key).path
        files = sorted(file for _, files in self._walk(path) for file in files) if path.is_dir() else [path]
        if not path.exists() or not all(map(self._is_within, (path, *files))):
            raise UnknownCineError(GONE)
        states = [file.stat() for file in files]
        return tuple((str(file), at.st_size, at.st_mtime_ns) for file, at in zip(files, states, strict=True))

    def mark(self, key: str) -> str:
        """:meth:`stamp` in 16 letters, the same where the folder of all cines has moved as a whole."""
        return _mark(self.without_folder(repr(self.stamp(key))))

    def _series(self, folder: Path, stamp: Stamp) -> list[Series]:
        """The series of a folder; the last one's are kept until its cine is read."""
        if self._found[:2] != (folder, stamp):
            self._found = folder, stamp, find_series(folder)
        return self._found[2]

    def _kept(self, key: str, stamp: Stamp) -> CineStack | None:
        with self._lock:
            if key not in self._read or self._read[key][0] != stamp:
                return None
            self._read.move_to_end(key)
            return self._read[key][1]

    def place(self, key: str) -> tuple[Path, str]:
        """Folder, relative to that of all cines, and name for what is made of one; no two cines share both.

        A file's name keeps its ending where it would meet another's: ``a.nii`` beside ``a.nii.gz`` or a folder ``a``.
        """
        entry = self._entry(key)
        within, names = self._names(entry)
        # to lower case: what is made of A and of a is one file on some disks
        others = [self._names(other) for other in list(self._entries.values()) if other != entry]
        taken = {name.lower() for beside, both in others if beside == within for name in both}
        return within, names[0] if names[0].lower() not in taken else names[1]

    def without_folder(self, message: str) -> str:
        """A message with the names of files relative to the folder."""
        return message.replace(f"{self.folder}{os.sep}", "")

    def _entry(self, key: str) -> _Entry:
        if key not in self._entries:
            raise UnknownCineError(GONE)
        return self._entries[key]

    def _names(self, entry: _Entry) -> tuple[Path, tuple[str, str]]:
        """Folder for what is made of a cine, and its name for it, short and whole."""
        path = entry.path
        within = Path() if path == self.folder else path.parent.relative_to(self.folder)  # the whole is named beside
        if entry.series:
            number = re.sub(r"\W+", "_", entry.number.split(",")[0])
            return within, (f"{path.name}_series_{number}", f"{path.name}_series_{entry.series}")
        if path == self.folder:  # what it holds is named beside it
            return within, (path.name, f"{path.name}.folder")
        return within, (path.name if path.is_dir() else stem(path), path.name)

    def _relative(self, path: Path) -> str:
        return path.name if path == self.folder else path.relative_to(self.folder).as_posix()

    def study(self, key: str) -> str:
        """What all cines of one study share, and no others: made of the Study Instance UID, of NIfTI
        of the sub-folder.

        Raises:
            UnknownCineError: when no cine has this id.
        """
        return self._entry(key).study

    def _find(self) -> Iterator[tuple[Path, str]]:
        """Cines, and marks of their studies."""
        studies: dict[Path, str] = {}
        leading_out: list[Path] = []
        for here, files in self._walk(self.folder):
            inside = [file for file in files if self._is_within(file)]
            if len(inside) < len(files):
                leading_out.append(here)
            elif (study := dicom_study(inside)) is not None:
                studies[here] = study
            niftis = [path for path in inside if _is_nifti_cine(path)]
            # those of a sub-folder are taken for one patient's
            yield from ((path, _mark(self._relative(path if here == self.folder else here))) for path in niftis)
        # without a UID each folder is its own study
        marks = {here: _mark(f"study {uid}" if uid else self._relative(here)) for here, uid in studies.items()}
        yield from marks.items()
        for parent in study_folders(studies):
            if not any(here.is_relative_to(parent) for here in leading_out):
                yield parent, next(mark for here, mark in marks.items() if here.is_relative_to(parent))

    def _walk(self, folder: Path) -> Iterator[tuple[Path, list[Path]]]:
        """Folders and their files, without hidden folders and the one to leave out."""
        for name, folders, files in os.walk(folder):
            here = Path(name)
            folders[:] = [name for name in folders if name[0] != "." and here / name != self.leave_out]
            yield here, [here / name for name in files]

    def _is_within(self, path: Path) -> bool:
        """Whether a path stays in the folder when links are followed."""
        return not path.is_symlink() or path.resolve().is_relative_to(self.folder)


def _is_nifti_cine(path: Path) -> bool:
    if path.name[0] == "." or not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return True  # listed, so that the reader is told why it cannot be opened
    return reader.GetDimension() in (3, 4) and reader.GetSize()[-1] > 1
