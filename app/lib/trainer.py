"""Training on the cines of the datastore, without labels, from the weights in use."""

from __future__ import annotations

import json
import logging
import shutil
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from monai.bundle import ConfigWorkflow
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from dirnet.errors import InputError
from dirnet.files.aside import write_aside
from dirnet.files.nifti import write_image
from dirnet.models import SHIPPED_WEIGHTS
from dirnet.nets.losses import ncc
from transforms.cine import scale_intensity
from transforms.cine_files import CineStack, read_cine_stack

from .checks import WrongRequest, whole_number
from .weights import Weights

__all__ = ["Finetune"]

logger = logging.getLogger(__name__)

CONFIGS = SHIPPED_WEIGHTS.parents[1] / "configs"
WINDOW = 128  # pixels a side that a training sees at most, as in train.json
EVERY = 5  # of the cines are for validation


class Finetune(TrainTask):
    """Goes on training the network in use on all cines of the datastore; the best weights by validation serve next.

    Request: ``iterations`` (500), ``learning_rate`` (0.001), ``batch_size`` (32), ``seed`` (0). Every fifth cine is
    kept for validation, one at least; where there is one cine in all, it serves for both.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__("Trains the registration network on the cines of the datastore; labels are not needed")
        self.weights = weights

    def config(self) -> dict[str, Any]:
        return {"iterations": 500, "learning_rate": 0.001, "batch_size": 32, "seed": 0}

    def stats(self) -> dict[str, Any]:
        trained = self.weights.trained
        return {"trained": time.ctime(trained.stat().st_mtime)} if trained.is_file() else {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        settings = {**self.config(), **{key: request[key] for key in self.config() if key in request}}
        for name in ("iterations", "batch_size", "seed"):
            settings[name] = whole_number(settings, name)
        settings["learning_rate"] = float(settings["learning_rate"])
        if settings["iterations"] < 10 or settings["batch_size"] < 1 or not settings["learning_rate"] > 0:
            raise WrongRequest("iterations must be 10 or more, batch_size and learning_rate above 0")
        folder = self.weights.folder / f"training_{time.strftime('%Y%m%d_%H%M%S')}"
        datalist, size = _datalist(datastore, folder)
        workflow = ConfigWorkflow(
            config_file=str(CONFIGS / "train.json"),
            workflow_type="train",
            logging_file=False,
            dataset_dir=str(datalist),
            output_dir=str(folder),
            spatial_size=size,
            crop_size=[min(WINDOW, side) for side in size],
            network_def=f"$weights.load_network({str(self.weights.path)!r}).train()",
            **settings,
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        with write_aside(self.weights.trained) as path:
            shutil.copy(folder / "model.pt", path)
        logger.info("training done: its weights serve from the next inference on")
        return {"weights": str(self.weights.trained), "training": str(folder), **settings}


def _datalist(datastore: Datastore, folder: Path) -> tuple[Path, list[int]]:
    """A datalist of the slices of all cines, and the size [H, W] that holds each.

    Raises:
        WrongRequest: when there is no cine.
    """
    cines: list[list[dict[str, Any]]] = []
    size = np.zeros(2, int)
    seen: set[Path] = set()  # a study's folder may be an image, and the folders in it too
    for image in sorted(datastore.list_images()):
        try:
            cine = read_cine_stack(datastore.get_image_uri(image))
        except (InputError, FileNotFoundError):
            logger.warning("an image of the datastore is no cine and is passed over")
            continue
        files = {path for frames in cine.files for path in frames}
        if files & seen:
            continue
        seen |= files
        cines.append([_record(image, cine, index, folder / "cines" / image) for index in range(len(cine.images))])
        size = np.maximum(size, cine.images.shape[2:])
    if not cines:
        raise WrongRequest("the datastore holds no cine to train on")
    held_out = cines[EVERY - 1 :: EVERY] or cines[-1:]
    trained_on = [records for records in cines if records not in held_out] or cines
    lists = {"training": [*chain(*trained_on)], "validation": [*chain(*held_out)]}
    logger.info(f"training on {len(trained_on)} cines, validation on {len(held_out)}")
    logger.warning(
        "training on images alone: weights that learned from drawn contours, as the default ones, lose some of that; "
        "weak_labels.json trains with contours (see train.md)"
    )
    path = folder / "cines.json"
    with write_aside(path) as aside:
        aside.write_text(json.dumps(lists, indent=1))
    return path, size.tolist()


def _record(image: str, cine: CineStack, index: int, folder: Path) -> dict[str, Any]:
    ed, es = _most_different(cine.images[index])
    frames = _frames(cine, index, folder)
    return {"patient": image, "slice": index, "frames": frames, "ed": ed, "es": es, "spacing": list(cine.spacing)}


def _frames(cine: CineStack, index: int, folder: Path) -> list[str]:
    """The files of one slice's frames; of a file with all frames, one made of that slice."""
    if cine.files and not cine.frame_numbers:
        return [str(path) for path in cine.files[index]]
    path = folder / f"{index}.nii.gz"
    write_image(path, sitk.GetImageFromArray(cine.images[index]))
    return [str(path)]


def _most_different(frames: np.ndarray) -> tuple[int, int]:
    """The two frames that are least alike, in place of end-diastole and end-systole, which nobody has marked: the
    validation registers them with each other."""
    images = torch.from_numpy(scale_intensity(frames))[:, None]
    first, second = np.triu_indices(len(images), 1)
    likeness = ncc(images[first], images[second])
    worst = int(likeness.argmin())
    return int(first[worst]), int(second[worst])
