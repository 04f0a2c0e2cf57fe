"""The MONAI Label app: ``monailabel start_server --app app --studies FOLDER``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from app.lib import server
from app.lib.archive import ArchiveCines
from app.lib.checks import WrongRequest, as_request, check_name
from app.lib.infers import Propagate, Register
from app.lib.studies import FolderCines
from app.lib.trainer import Finetune
from app.lib.weights import Weights
from app.lib.worst import WorstRegistered

__all__ = ["DIRNetApp"]


class DIRNetApp(MONAILabelApp):
    """Follow a contour through a cine, register two images, train on the cines of the datastore.

    ``--conf weights FILE`` starts from other weights than those shipped; ``--conf model_dir FOLDER`` keeps what is
    trained elsewhere than in ``model`` beside this file; ``--conf hosts NAMES`` are further names of this machine.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str] | None) -> None:
        conf = conf or {}
        self.weights = Weights(conf.get("model_dir") or Path(app_dir) / "model", conf.get("weights"))
        super().__init__(
            app_dir,
            studies,
            conf,
            name="DIRNet",
            description="Carries what is drawn on one frame of a cine to all. For research; not a medical device.",
        )
        server.prepare(self)

    def init_infers(self) -> dict[str, Any]:
        return {"propagate": Propagate(self.weights), "register": Register(self.weights, self.image_path)}

    def init_trainers(self) -> dict[str, Any]:
        return {"dirnet": Finetune(self.weights)}

    def init_strategies(self) -> dict[str, Any]:
        return {"worst_registered": WorstRegistered(self.weights), "first": First(), "random": Random()}

    def init_datastore(self) -> Datastore:
        if self.studies.startswith(("http://", "https://")):
            return ArchiveCines(self.studies.rstrip("/"))
        return FolderCines(self.studies)

    @property
    def links(self) -> list[str]:
        """In the studies folder, those that lead out of it."""
        return getattr(self.datastore(), "links", [])

    def info(self) -> dict[str, Any]:
        """MONAI Label's, and what of the studies folder is not read, which its user would look for."""
        info = super().info()
        if self.links:
            names = ", ".join(self.links)
            info["description"] += f" Not read, for they are links out of the studies folder: {names}."
        return info

    def image_path(self, image: Any) -> str:
        """The file or folder of an image in the datastore.

        Raises:
            WrongRequest: when there is no such image.
        """
        check_name("image", image)
        if not self.datastore().has_image(image):
            links = f"; links out of it are not read: {', '.join(self.links)}" if self.links else ""
            raise WrongRequest(f"there is no image {image!r} in the datastore{links}", status=404)
        return self.datastore().get_image_uri(image)

    def infer(
        self,
        request: dict[str, Any],
        datastore: Datastore | None = None,
        image_file: str | None = None,
        label_file: str | None = None,
        folder: str | None = None,
    ) -> dict[str, Any]:
        """As MONAI Label's, but that no key of a request is taken for a path on the server.

        Args:
            request: ``model``, ``image`` (an id), the model's own parameters; ``save_label`` and ``label_tag``.
            datastore: unused; there is one.
            image_file: that was uploaded, instead of an image in the datastore.
            label_file: that was uploaded.
            folder: for the result, which the caller removes; without it only the saved label is left.

        Raises:
            WrongRequest: when there is no such model or image.
        """
        task = self._infers.get(request.get("model"))
        if task is None:
            raise WrongRequest(f"there is no model {request.get('model')!r}; there are {', '.join(self._infers)}", 404)
        image = request.get("image")
        if folder is None:  # a batch's: what it leaves is the saved label
            with tempfile.TemporaryDirectory() as folder:
                return {**self.infer(request, None, image_file, label_file, folder), "file": None}
        saved, source, names = (None, None, {}) if image_file else self._saved_label(str(image))
        path = image_file or self.image_path(image)
        tag = request.get("label_tag") or DefaultLabelTag.ORIGINAL
        saves = bool(request.get("save_label")) and image_file is None
        if saves and label_file is None and tag == source:
            raise WrongRequest(f"label_tag {tag!r} is the drawing's own, which the result would replace; name another")
        files = {"image": path, "label": label_file, "saved_label": saved, "folder": folder}
        with as_request(folder, self.datastore().folder):
            file, params = task({**request, **files, "label_info": {} if label_file else names})
        label = file
        if file and saves:
            label = self.datastore().save_label(image, file, tag, {"model": request["model"], "params": params})
        return {"label": label, "tag": tag, "file": file, "params": params}

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """MONAI Label's, of all images or those that ``images`` lists; its default asks for several GPUs."""
        return super().batch_infer({"multi_gpu": False, **request}, datastore)

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        raise WrongRequest("this app has no whole-slide images", status=404)

    def _saved_label(self, image: str) -> tuple[str | None, str | None, dict[str, Any]]:
        """The label saved for an image, its tag, and what was said of it."""
        check_name("image", image)
        for tag in (DefaultLabelTag.FINAL, DefaultLabelTag.ORIGINAL):
            if path := self.datastore().local_label(image, tag):
                return path, tag, self.datastore().get_label_info(image, tag)
        return None, None, {}
