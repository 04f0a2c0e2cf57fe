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
from transforms.pair_files import stem

__all__ = ["Cines", "UnknownCineError"]

KEPT = 3  # cines in memory, of about 100 MB each


class UnknownCineError(LookupError):
    """No cine has this id."""


class Cines:
    """Folders that hold DICOM files, and NIfTI files that can be cines, under a folder.

    An id stands for a path that was found; nothing else can be read. Several threads may share one.

    Args:
        folder: searched with its sub-folders, but hidden ones.
        leave_out: a folder under it that is passed over, such as that of results.
    """

    def __init__(self, folder: Path, leave_out: Path) -> None:
        self.folder, self.leave_out = folder.resolve(), leave_out.resolve()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"folder '{folder}' does not exist")
        self._paths: dict[str, Path] = {}
        self._read: OrderedDict[str, CineStack] = OrderedDict()
        self._lock = threading.Lock()

    def scan(self) -> dict[str, str]:
        """Names by id, in order, of what there is now."""
        found = sorted(self._find(), key=lambda path: path.as_posix().lower())
        paths = {hashlib.sha256(self._relative(path).encode()).hexdigest()[:16]: path for path in found}
        with self._lock:
            self._paths = paths
            self._read.clear()  # files may have changed
        return {key: self._relative(path) for key, path in paths.items()}

    def read(self, key: str) -> CineStack:
        """
        Raises:
            UnknownCineError: when no cine has this id.
            ValueError, OSError: when it cannot be read.
        """
        with self._lock:  # while one thread reads a cine another need not read it too
            path = self._path(key)
            if key not in self._read:
                self._read[key] = read_cine_stack(path)
                while len(self._read) > KEPT:
                    self._read.popitem(last=False)
            self._read.move_to_end(key)
            return self._read[key]

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
            raise UnknownCineError("no such cine; load the page again if it is new")
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
            if hold_dicom(here / name for name in files):
                yield here
            yield from (here / name for name in files if _is_nifti_cine(here / name))


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
