"""A DICOM archive as MONAI Label's datastore, by DICOMweb: cines out, DICOM Segmentations in."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.datastore import DefaultLabelTag

from dirnet.files.dicom import write_segmentation
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_structures

from .checks import NamesOnly, WrongRequest, as_request, check_image_file, check_info, check_name, text
from .labels import labels_of

__all__ = ["ArchiveCines"]


class ArchiveCines(NamesOnly, DICOMWebDatastore):
    """MONAI Label's DICOMweb datastore, with series left as DICOM (its NIfTI has no time), each whole or not there, and
    a final label of a whole cycle stored as one DICOM Segmentation of all its frames.

    User, password, prefixes, filter and folder are MONAI Label's own settings (``MONAI_LABEL_DICOMWEB_…``); without a
    filter all MR series are offered.

    Args:
        url: of the DICOMweb service.
    """

    def __init__(self, url: str) -> None:
        user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        client = DICOMwebClientX(
            url=url,
            session=create_session_from_user_pass(user, password) if user and password else None,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )
        chosen = "MONAI_LABEL_DICOMWEB_SEARCH_FILTER" in settings.model_fields_set
        self._download = threading.Lock()
        super().__init__(
            client,
            search_filter=settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER if chosen else {"Modality": "MR"},
            cache_path=settings.MONAI_LABEL_DICOMWEB_CACHE_PATH.strip() or None,
            fetch_by_frame=settings.MONAI_LABEL_DICOMWEB_FETCH_BY_FRAME,
            convert_to_nifti=False,
        )

    def has_image(self, image_id: str) -> bool:
        """Whether the archive has such a series."""
        if not re.fullmatch(r"[0-9.]{1,64}", image_id):
            return False
        return image_id in self.list_images() or bool(
            self._client.search_for_series(search_filters={"SeriesInstanceUID": image_id})
        )

    def get_image_uri(self, image_id: str) -> str:
        """The folder of a series' files, downloaded at the first call."""
        if not self.has_image(image_id):
            raise WrongRequest(f"there is no series {image_id!r} in the archive", status=404)
        folder = Path(self._datastore.image_path()).resolve() / image_id
        with self._download:
            if not folder.is_dir():
                aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".download-"))
                try:
                    dicom_web_download_series(None, image_id, str(aside), self._client, self._fetch_by_frame)
                    aside.rename(folder)
                finally:
                    shutil.rmtree(aside, ignore_errors=True)
            if image_id not in self._datastore.objects:
                info = {"ts": int(time.time()), "name": image_id}
                self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=""))
                self._update_datastore_file()
        return str(folder)

    def local_label(self, image_id: str, tag: str) -> str | None:
        """A label that was saved through this server."""
        return LocalDatastore.get_label_uri(self, image_id, tag) or None

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Keep a label; a final one of the whole cycle goes to the archive too, with a segment a structure: a drawing
        on some frames does not.

        Raises:
            WrongRequest: when it cannot be read, or does not fit the series; when it holds several values, of which
                neither ``label_info`` nor the server, see :func:`app.lib.labels.labels_of`, says which is the lumen.
        """
        check_name("tag", label_tag)
        check_image_file(label_filename)
        folder = self.get_image_uri(image_id)
        check_info(label_info)
        info = dict(label_info)
        if label_tag == DefaultLabelTag.FINAL:
            cine = read_cine_stack(folder)
            with as_request(label=label_filename):
                labels = text(info, "labels") or labels_of(label_filename, info)
                masks = read_structures(label_filename, cine, labels, lumen_needed=False)
                drawn = read_structures(label_filename, cine, labels, lumen_needed=False, drawn_only=True)
            times = [part.any((0, 2, 3)) for part in masks.values()]
            if all(len(time) == cine.images.shape[1] for time in times) and np.any(times, 0).all():
                info["SeriesInstanceUID"] = self._store(masks, drawn, cine)
        return LocalDatastore.save_label(self, image_id, label_filename, label_tag, info)

    def _store(self, masks: dict[str, np.ndarray], drawn: dict[str, np.ndarray], cine: CineStack) -> str:
        """
        Args:
            masks: (S, T, H, W) by structure.
            drawn: likewise, of the frames that were drawn by hand; the same where the label does not say it.
            cine: to which they belong.
        """
        frames = {name: part.any((2, 3)) for name, part in drawn.items()}
        known = any((frames[name] != part.any((2, 3))).any() for name, part in masks.items() if name in frames)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "segmentation.dcm"
            write_segmentation(path, masks, cine.files, cine.frame_numbers, frames if known else None)
            segmentation = pydicom.dcmread(path)
            self._client.store_instances([segmentation])
        DICOMWebDatastore.get_labeled_images.cache.clear()
        return str(segmentation.SeriesInstanceUID)
