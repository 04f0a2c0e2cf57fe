"""What the server infers: a contour on all frames of a cine, and one image registered with another."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from app.uploads import check_size
from dirnet.cine.follow import Followed, follow
from dirnet.cine.saving import drawn_on, write_masks
from dirnet.files.dicom import write_segmentation
from dirnet.files.nifti import write_displacement, write_image
from dirnet.registration import Registration
from transforms.cine_files import CineStack, read_cine_stack
from transforms.drawings import read_keyframes
from transforms.pair_files import read_slice

from .checks import WrongRequest, text, whole_number, whole_numbers
from .labels import NAMES, labels_of
from .weights import Weights

__all__ = ["Propagate", "Register"]


class Propagate(InferTask):
    """What is drawn on some frames of a cine to all frames, and what follows from it.

    Request: ``image``, a cine (x, y[, slice], time) as NIfTI or a DICOM series; ``label``, drawn on some frames of it,
    sent along or saved before; ``frame``, which of them count, from 0, one or several such as ``0,9``: by default all
    that something is drawn on, and to be given where the label has no time; ``series``, of a folder with several cines
    the number or UID of one; ``labels``, which of the label's values is which, such as ``acdc`` or ``lumen=3,rv=1``,
    see :func:`app.lib.labels.labels_of`. Result: the label on all frames, as NIfTI with the server's own values, or as
    DICOM Segmentation for ``output=dicom_seg``; and ``numbers``, ``frames`` and ``drawn`` (by structure and slice) that
    it started from, ``areas_mm2`` by structure and slice, ``volume_ml`` by structure.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(
            InferType.SEGMENTATION,  # by which 3D Slicer and OHIF offer it
            NAMES,
            dimension=3,
            description="Carries what is drawn and saved on one frame, or on several, to all frames of the cine",
            config={"frame": "", "series": "", "labels": ""},
        )
        self.weights = weights

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        label = request.get("label") or request.get("saved_label")
        if not label:
            raise WrongRequest("there is no label to propagate: draw on a frame and save it, or send it along")
        cine = read_cine_stack(request["image"], text(request, "series"))
        check_size(Path(label), cine)
        labels = text(request, "labels") or labels_of(label, request.get("label_info") or {})
        drawn = read_keyframes([label], cine, whole_numbers(request, "frame"), labels)
        if all(masks.any((0, 2, 3)).all() for masks in drawn.values()):
            raise WrongRequest("the label is drawn on all frames already: say in params.frame which to start from")
        followed = follow(self.weights.registrar(), cine, drawn)
        file = Path(request["folder"]) / "label.nii.gz"
        if request.get("output") == "dicom_seg":
            if not cine.files:
                raise WrongRequest("DICOM Segmentation is of DICOM images; this cine is none")
            file = file.with_name("label.dcm")
            drawn_frames = drawn_on(followed.drawn, cine)
            write_segmentation(file, followed.structures, cine.files, cine.frame_numbers, drawn_frames)
        else:
            write_masks(file, followed.structures, cine)
        return str(file), _measured(followed)


def _measured(followed: Followed) -> dict[str, Any]:
    return {
        "label_names": NAMES,
        "frames": followed.numbers["drawn_on_frames"],
        "drawn": followed.drawn,
        "numbers": followed.numbers,
        "areas_mm2": {
            structure: {str(number): _plain(curves[number]) for number in followed.slices}
            for structure, curves in followed.areas.items()
        },
        "volume_ml": {structure: _plain(curve.ml) for structure, curve in followed.volumes.items()},
        "times_ms": None if followed.cine.times is None else _plain(followed.cine.times),
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 3) if math.isfinite(value) else None for value in values]


class Register(InferTask):
    """One slice to another: ``image`` is moving, ``fixed`` the other's id.

    Either may be a cine: then ``moving_frame``, ``fixed_frame`` and ``slice`` (0 by default) say what of it, and of a
    folder with several cines ``moving_series`` and ``fixed_series`` which. Result:
    the moving image warped, or where a label was sent, that label warped; the displacement field as NIfTI (mm, LPS) in
    base64; folds and similarity.
    """

    def __init__(self, weights: Weights, image_path: Callable[[Any], str]) -> None:
        super().__init__(
            InferType.OTHERS,
            [],
            dimension=2,
            description="Registers the image with the one that params.fixed names",
            config={
                **dict.fromkeys(("fixed", "moving_frame", "fixed_frame", "moving_series", "fixed_series"), ""),
                "slice": 0,
            },
        )
        self.weights = weights
        self.image_path = image_path

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if not request.get("fixed"):
            raise WrongRequest("register needs params.fixed, the id of the image to register with")
        moving = _slice(request["image"], request, "moving")
        fixed = _slice(self.image_path(request["fixed"]), request, "fixed")
        registration = self.weights.registrar().register(moving, fixed)
        folder = Path(request["folder"])
        if request.get("label"):
            warped = registration.warp_mask(request["label"]).astype(np.uint8)
            file, result = folder / "label.nii.gz", registration.on_fixed(warped)
        else:
            file, result = folder / "warped.nii.gz", registration.warped_image
        write_image(file, result)
        return str(file), {
            "ncc_before": registration.ncc_before,
            "ncc_after": registration.ncc_after,
            "folded_percent": registration.folded_percent,
            "field": _field(registration, folder / "ddf.nii.gz"),
        }


def _slice(path: str, request: dict[str, Any], role: str) -> sitk.Image:
    """One slice: the file itself, or what the role's frame and series and ``slice`` take out of a cine."""
    name = f"{role}_frame"
    frame = whole_number(request, name)
    if frame is None and Path(path).is_file():
        return read_slice(path)
    cine = read_cine_stack(path, text(request, f"{role}_series"))
    number = whole_number(request, "slice", 0)
    for what, value, count in ((name, frame, cine.images.shape[1]), ("slice", number, len(cine.images))):
        if value is None or not 0 <= value < count:
            raise WrongRequest(f"the image is a cine: {what} must be 0 to {count - 1}, got {value}")
    return _placed(cine, number, frame)


def _placed(cine: CineStack, number: int, frame: int) -> sitk.Image:
    image = sitk.GetImageFromArray(cine.images[number, frame][None])
    image.CopyInformation(cine.grids[number])
    return image


def _field(registration: Registration, path: Path) -> dict[str, str]:
    write_displacement(path, registration.ddf, registration.fixed, registration.moving)
    content = base64.b64encode(path.read_bytes()).decode()
    return {"format": "NIfTI, gzipped, base64: displacement in mm, LPS", "data": content}
