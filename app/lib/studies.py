"""A folder of cines as MONAI Label's datastore: images in files, and DICOM series in folders below it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from transforms.cine_files import dicom_study, study_folders

from .checks import NamesOnly, WrongRequest

__all__ = ["FolderCines", "SeriesFinder"]

logger = logging.getLogger(__name__)

EXTENSIONS = ["*.nii.gz", "*.nii", "*.png", "*.dcm"]
LOOK_AGAIN = 3  # seconds, after which a request finds what has come into the folder
SETTLED = 3  # seconds without a change, after which a file or folder is taken to be complete


class FolderCines(NamesOnly, LocalDatastore):
    """MONAI Label's local datastore, in which each folder of DICOM files is an image too.

    Such a series' id is its path below the folder, joined by ``_``, and a mark of that path: it stays the same
    whatever else comes into the folder, and so do its labels.

    Requests find what has come since, folders too, once it is complete; MONAI Label's own watch sees files alone, when
    they begin. Links that lead out of the folder are not read.
    """

    def __init__(self, folder: str) -> None:
        self._finder = SeriesFinder(Path(folder))
        self._series = self._finder.find()
        self._stamps: object = None  # of what the datastore has been made of
        self._waiting = False  # for files that are not complete yet
        self._looking = threading.RLock()
        self._looked: float | None = None  # None while the server starts: what is there is complete
        super().__init__(folder, extensions=EXTENSIONS, auto_reload=False)
        self._looked = time.monotonic()

    @property
    def links(self) -> list[str]:
        """Links that lead out of the folder, and files and folders that are not read for them."""
        return sorted(
            {*self._finder.links, *(name for name, path in self._top() if _leads_out(path, Path(self.folder)))}
        )

    def local_label(self, image_id: str, tag: str) -> str | None:
        return self.get_label_uri(image_id, tag) or None

    def get_label_uri(self, label_id: str, label_tag: str, *args: str) -> str:
        self._look()
        return super().get_label_uri(label_id, label_tag, *args)

    def get_image_uri(self, image_id: str) -> str:
        path = super().get_image_uri(image_id)
        if path and not Path(path).is_relative_to(self.folder):
            raise WrongRequest(f"{image_id} is a link that leads out of the studies folder, and is not read", 403)
        return path

    def list_images(self) -> list[str]:
        self._look()
        return super().list_images()

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        self._look()
        return super().get_unlabeled_images(label_tag, labels)

    def status(self) -> dict[str, Any]:
        self._look()
        return {**super().status(), "not_read": self.links}

    def json(self) -> dict[str, Any]:
        self._look()
        return super().json()

    def refresh(self) -> None:
        with self._looking:
            self._series = self._finder.find()
            self._waiting = False
            super().refresh()
            self._stamps = None if self._waiting else self._now()
            self._looked = time.monotonic()

    def remove_image(self, image_id: str) -> None:
        if image_id in self._series:
            raise WrongRequest(f"{image_id} is a DICOM series, which this server does not remove", status=403)
        super().remove_image(image_id)

    def _look(self) -> None:
        """Find what has come or gone, unless that was done a moment ago."""
        if not settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD or self._looked is None:
            return
        self._init_from_datastore_file()  # where a batch or training, processes of their own, have written
        with self._looking:
            if time.monotonic() - self._looked < LOOK_AGAIN:
                return
            self._series = self._finder.find()
            self._looked = time.monotonic()
            if self._stamps is None or self._now() != self._stamps:
                self.refresh()

    def _now(self) -> object:
        """Changes as series, files in the folder and labels come or go."""
        labels = Path(self._datastore.label_path(None))
        folders = [Path(self.folder), labels, *(path for path in labels.iterdir() if path.is_dir())]
        return dict(self._series), [folder.stat().st_mtime_ns for folder in folders]

    def _top(self) -> list[tuple[str, Path]]:
        """Names and paths of the images in files."""
        images = Path(self._datastore.image_path())
        return [(name, images / name) for name in super()._list_files(images, self._extensions)]

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """MONAI Label's, of those that are complete and lie in the folder."""
        root, found = Path(self.folder), {}
        for name, file in super()._list_files(path, patterns).items():
            if self._looked is not None and not _settled([Path(path, name)]):
                self._waiting = True
            elif not _leads_out(Path(path, name), root):
                found[name] = file
        return found

    def _filename(self, id: str, ext: str) -> str:
        return id + ext if ext else self._series.get(id, id)

    # MONAI Label's empties the dictionary of images for a moment, in which other requests find none

    def _remove_non_existing(self) -> int:
        self._init_from_datastore_file()
        before, kept = self._datastore.objects, {}
        changes = 0
        for id, image in list(before.items()):
            path = Path(self._datastore.image_path(), self._filename(id, image.image.ext))
            if not path.exists() or _leads_out(path, Path(self.folder)):
                changes += 1
                continue
            labels = {
                tag: label
                for tag, label in image.labels.items()
                if Path(self._datastore.label_path(tag), self._filename(id, label.ext)).exists()
            }
            changes += len(image.labels) - len(labels)
            kept[id] = ImageLabelModel(image=image.image, labels=labels)
        if changes:
            self._datastore.objects = kept
        return changes

    def _add_non_existing_images(self) -> int:
        self._init_from_datastore_file()
        new: dict[str, tuple[str, str]] = {id: (self._series[id], "") for id in self._series}
        for name in self._list_files(self._datastore.image_path(), self._extensions):
            id, ext = self._to_id(name)
            new[id] = name, ext
        known = self._datastore.objects
        added = {
            id: ImageLabelModel(image=DataModel(info={"ts": int(time.time()), "name": name}, ext=ext))
            for id, (name, ext) in new.items()
            if id not in known
        }
        if added:
            self._datastore.objects = {**known, **added}
        return len(added)


@dataclass(frozen=True)
class _Folder:
    """What was found in a folder.

    Attributes:
        stamp: changes as files come or go.
        study: see :func:`transforms.cine_files.dicom_study`; None where it holds no cine, or a link out.
        link: a file in it that leads out of the studies folder; None without any.
    """

    stamp: int
    study: str | None
    link: str | None


class SeriesFinder:
    """Folders of DICOM files below a folder; asked again, it reads only those anew that have changed.

    Args:
        folder: is searched, except folders of labels and hidden ones.

    Attributes:
        links: that led out of the folder at the last search, by their paths from there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links: list[str] = []
        self._known: dict[Path, _Folder] | None = None

    def find(self) -> dict[str, str]:
        """Folders that hold a cine, or a study's folders: their paths from the folder, by an id without separators.

        Those that came, or got files, since the search before are left as they were until nothing changes in them any
        more: they may still be being copied. Folders that are links, or have a file that leads out of the folder, are
        not read.
        """
        known: dict[Path, _Folder] = {}
        links: list[str] = []
        root = self.folder.resolve()
        for parent, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if name != "labels" and not name.startswith("."))
            path = Path(parent)
            links += [self._from_here(path / name) for name in folders if _leads_out(path / name, root)]
            if path != self.folder and (found := self._read(path, files, root)) is not None:
                known[path] = found
                links += [self._from_here(path / found.link)] if found.link else []
        for link in set(links) - set(self.links):
            logger.warning("'%s' is a link out of the studies folder, and is not read; move or copy it there", link)
        self.links, self._known = links, known
        studies = {path: one.study for path, one in known.items() if one.study is not None}
        series: dict[str, str] = {}
        for path in (*studies, *study_folders(studies)):
            if path != self.folder:
                relative = self._from_here(path)
                mark = hashlib.sha256(relative.encode()).hexdigest()[:8]
                series[f"{re.sub(r'[^A-Za-z0-9.-]+', '_', relative)}_{mark}"] = relative
        return series

    def _read(self, path: Path, names: Sequence[str], root: Path) -> _Folder | None:
        """What is in a folder; as it was, None where it was not, while it changes."""
        before = None if self._known is None else self._known.get(path)
        try:
            stamp = path.stat().st_mtime_ns
            if before is not None and before.stamp == stamp:
                return before
            if self._known is not None and not _settled([path, *(path / name for name in names)]):
                return before
        except OSError:  # gone in between
            return before
        link = next((name for name in names if _leads_out(path / name, root)), None)
        return _Folder(stamp, None if link else dicom_study(path / name for name in names), link)

    def _from_here(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _leads_out(path: Path, folder: Path) -> bool:
    return path.is_symlink() and not path.resolve().is_relative_to(folder)


def _settled(paths: Iterable[Path]) -> bool:
    """Whether nothing has changed for a moment: neither content nor, for a copy may have its original's time, state."""
    try:
        newest = max(max(found.st_mtime, found.st_ctime) for found in (path.lstat() for path in paths))
    except OSError:  # gone in between
        return False
    return not 0 <= time.time() - newest < SETTLED
