"""A folder of cines as MONAI Label's datastore: images in files, and DICOM series in folders below it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from transforms.cine_files import dicom_study, study_folders

from .checks import NamesOnly, WrongRequest

__all__ = ["FolderCines"]

logger = logging.getLogger(__name__)

EXTENSIONS = ["*.nii.gz", "*.nii", "*.png", "*.dcm"]


class FolderCines(NamesOnly, LocalDatastore):
    """MONAI Label's local datastore, in which each folder of DICOM files is an image too.

    Such a series' id is its path below the folder, joined by ``_``, and a mark of that path: it stays the same
    whatever else comes into the folder, and so do its labels.
    """

    def __init__(self, folder: str) -> None:
        self._series = find_series(Path(folder))
        super().__init__(folder, extensions=EXTENSIONS, auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)

    def local_label(self, image_id: str, tag: str) -> str | None:
        return self.get_label_uri(image_id, tag) or None

    def refresh(self) -> None:
        self._series = find_series(Path(self._datastore_path))
        super().refresh()

    def remove_image(self, image_id: str) -> None:
        if image_id in self._series:
            raise WrongRequest(f"{image_id} is a DICOM series, which this server does not remove", status=403)
        super().remove_image(image_id)

    def _filename(self, id: str, ext: str) -> str:
        return id + ext if ext else self._series.get(id, id)

    def _add_non_existing_images(self) -> int:
        added = super()._add_non_existing_images()
        for id in self._series.keys() - self._datastore.objects.keys():
            info: dict[str, Any] = {"ts": int(time.time()), "name": self._series[id]}
            self._datastore.objects[id] = ImageLabelModel(image=DataModel(info=info, ext=""))
            added += 1
        return added


def find_series(folder: Path) -> dict[str, str]:
    """Folders below ``folder`` that hold DICOM files, or a study's folders of them: their paths from there, by an id
    without separators.

    Links to folders are not followed; a warning names each.
    """
    studies: dict[Path, str] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "labels" and not name.startswith("."))
        path = Path(parent)
        for name in folders:
            if (path / name).is_symlink():
                logger.warning("'%s' is a link to a folder, which is not read; move or copy it there", path / name)
        if path != folder and (study := dicom_study(path / name for name in files)) is not None:
            studies[path] = study
    found: dict[str, str] = {}
    for path in (*studies, *study_folders(studies)):
        if path != folder:
            relative = path.relative_to(folder).as_posix()
            mark = hashlib.sha256(relative.encode()).hexdigest()[:8]
            found[f"{re.sub(r'[^A-Za-z0-9.-]+', '_', relative)}_{mark}"] = relative
    return found
