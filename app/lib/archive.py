"""A DICOM archive as MONAI Label's datastore, by DICOMweb: cines out, DICOM Segmentations in."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pydicom
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX, DICOMWebDatastore
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from monailabel.datastore.utils.dicom import dicom_web_download_series
from monailabel.interfaces.datastore import DefaultLabelTag

from dirnet.errors import InputError
from dirnet.files.dicom import write_segmentation
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_masks

from .checks import NamesOnly, WrongRequest, check_image_file, check_info, check_name

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
        """Keep a label; a final one goes to the archive too, when it is of several frames: a drawing on one does not.

        Raises:
            WrongRequest: when it cannot be read, or does not fit the series; when it holds several values, and
                ``label_info`` has no ``labels`` that say which is the lumen.
        """
        check_name("tag", label_tag)
        check_image_file(label_filename)
        folder = self.get_image_uri(image_id)
        check_info(label_info)
        info = dict(label_info)
        if label_tag == DefaultLabelTag.FINAL:
            cine = read_cine_stack(folder)
            try:
                masks = read_masks(label_filename, cine, info.get("labels"))
            except InputError as error:
                raise WrongRequest(
                    str(error).replace(str(label_filename), "label").replace("--labels", "params.labels")
                ) from error
            if masks.any((0, 2, 3)).sum() > 1:
                info["SeriesInstanceUID"] = self._store(masks, cine)
        return LocalDatastore.save_label(self, image_id, label_filename, label_tag, info)

    def _store(self, masks: Any, cine: CineStack) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "segmentation.dcm"
            write_segmentation(path, masks, cine.files, cine.frame_numbers)
            segmentation = pydicom.dcmread(path)
            self._client.store_instances([segmentation])
        DICOMWebDatastore.get_labeled_images.cache.clear()
        return str(segmentation.SeriesInstanceUID)
