"""The cines under a folder: found at once, read when asked for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk

from transforms.cine_files import CineStack, hold_dicom, read_cine_stack
from transforms.paths import stem

__all__ = ["Cines", "UnknownCineError"]

MAX_CINES = 3  # cines in memory, of about 100 MB each
GONE = "no such cine; load the page again if it is new"

Stamp = tuple[tuple[str, int, int], ...]


class UnknownCineError(LookupError):
    """No cine has this id."""


class Cines:
    """Folders that hold DICOM files, and NIfTI files that can be cines, under a folder.

    An id stands for a path that was found; nothing else can be read. Links that lead out of the folder are not
    followed: such a file is no cine, and a folder of DICOM files with such a link is none. Several threads may share
    one.

    Args:
        folder: searched with its sub-folders, but hidden ones.
        leave_out: a folder under it that is passed over, such as that of results.
    """

    def __init__(self, folder: Path, leave_out: Path) -> None:
        self.folder, self.leave_out = folder.resolve(), leave_out.resolve()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"folder '{folder}' does not exist")
        self._paths: dict[str, Path] = {}
        self._read: OrderedDict[str, tuple[Stamp, CineStack]] = OrderedDict()
        self._reading = threading.Lock()  # while one thread reads a cine another need not read it too
        self._lock = threading.Lock()  # of the two dictionaries, never for long

    def scan(self) -> dict[str, str]:
        """Names by id, in order, of what there is now."""
        found = sorted(self._find(), key=lambda path: path.as_posix().lower())
        paths = {hashlib.sha256(self._relative(path).encode()).hexdigest()[:16]: path for path in found}
        with self._lock:
            self._paths = paths
        return {key: self._relative(path) for key, path in paths.items()}

    def read(self, key: str) -> CineStack:
        """A cine, anew where its files have changed.

        Raises:
            UnknownCineError: when no cine has this id.
            InputError, OSError: when it cannot be read.
        """
        path, stamp = self._path(key), self.stamp(key)
        if (cine := self._kept(key, stamp)) is not None:
            return cine
        with self._reading:
            if (cine := self._kept(key, stamp)) is None:
                cine = read_cine_stack(path)
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
        path = self._path(key)
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        if not path.exists() or not all(map(self._is_within, (path, *files))):
            raise UnknownCineError(GONE)
        states = [file.stat() for file in files]
        return tuple((file.name, at.st_size, at.st_mtime_ns) for file, at in zip(files, states, strict=True))

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
        path = self._path(key)
        within, names = self._names(path)
        # to lower case: what is made of A and of a is one file on some disks
        others = [self._names(other) for other in self._paths.values() if other != path]
        taken = {name.lower() for beside, both in others if beside == within for name in both}
        return within, names[0] if names[0].lower() not in taken else names[1]

    def without_folder(self, message: str) -> str:
        """A message with the names of files relative to the folder."""
        return message.replace(f"{self.folder}{os.sep}", "")

    def _path(self, key: str) -> Path:
        if key not in self._paths:
            raise UnknownCineError(GONE)
        return self._paths[key]

    def _names(self, path: Path) -> tuple[Path, tuple[str, str]]:
        """Folder for what is made of a cine, and its name for it, short and whole."""
        if path == self.folder:  # what it holds is named beside it
            return Path(), (path.name, f"{path.name}.folder")
        return path.parent.relative_to(self.folder), (path.name if path.is_dir() else stem(path), path.name)

    def _relative(self, path: Path) -> str:
        return path.name if path == self.folder else path.relative_to(self.folder).as_posix()

    def _find(self) -> Iterator[Path]:
        for folder, folders, files in os.walk(self.folder):
            here = Path(folder)
            folders[:] = [name for name in folders if name[0] != "." and here / name != self.leave_out]
            inside = [here / name for name in files if self._is_within(here / name)]
            if len(inside) == len(files) and hold_dicom(inside):
                yield here
            yield from filter(_is_nifti_cine, inside)

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
