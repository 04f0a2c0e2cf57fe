"""Structures of a heart through a cine as contours of a DICOM RT Structure Set (PS3.3 A.19, C.8.8.5)."""

# On pydicom alone: highdicom has none.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import RTStructureSetStorage, generate_uid

from transforms.contours import keyholes, outline
from transforms.grids import slice_grid
from transforms.structures import TITLES

from .objects import fill_empty, maker, marked_images, new_object, reference, warn_of_malformed, write_objects

__all__ = ["write_structure_set"]

COLOURS = {"lumen": [255, 0, 0], "epicardium": [0, 160, 0], "rv": [0, 0, 255]}
STUDY = "1.2.840.10008.3.1.2.3.1"  # retired, but the SOP class by which RT objects refer to a study


@config.disable_value_validation()  # its warnings quote the values, which may be a patient's
def write_structure_set(
    path: str | Path,
    masks: np.ndarray | Mapping[str, np.ndarray],
    files: Sequence[Sequence[str | Path]],
    frame_numbers: Sequence[Sequence[int]] = (),
) -> None:
    """Write structures that were followed through a cine, each as a region of closed planar contours in mm.

    Each contour refers to the image that it lies on. It is smooth, and encloses the pixels of its mask: see
    :func:`transforms.contours.outline`. A hole is joined to the ring around it, which every reader fills alike: see
    :func:`transforms.contours.keyholes`. The object joins the cine's study in a new series of modality RTSTRUCT, in the
    frame of reference of the first image. The file appears whole or not at all; one that exists is replaced.

    Args:
        path: where to write.
        masks, files, frame_numbers: see :func:`dirnet.files.dicom.write_segmentation`.

    Raises:
        FileNotFoundError, ValueError: as there; slices need not be parallel.
    """
    structures, marked, numbers, headers = marked_images(masks, files, frame_numbers)
    now = datetime.now()
    new = new_object(RTStructureSetStorage, headers[0], now)
    new.Modality = "RTSTRUCT"
    new.SeriesInstanceUID = generate_uid(prefix=None)
    new.SeriesNumber = 1001  # the segmentation has 1000
    new.SeriesDescription = f"DIRNet: {', '.join(TITLES[name] for name in structures).lower()}"[:64]
    new.update(maker())
    new.InstanceNumber = 1
    if not new.get("FrameOfReferenceUID"):
        new.FrameOfReferenceUID = generate_uid(prefix=None)  # places need one; not known to be that of any other image
    new.StructureSetLabel = "LV_LUMEN" if list(structures) == ["lumen"] else "HEART"
    new.StructureSetName = "Structures of the heart through its cycle"
    new.StructureSetDate, new.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    new.ReferencedFrameOfReferenceSequence = [_frame_of_reference(new, headers, numbers)]
    images = list(zip(marked, headers, numbers, strict=True))
    new.StructureSetROISequence, new.ROIContourSequence, new.RTROIObservationsSequence = [], [], []
    for number, (structure, part) in enumerate(structures.items(), 1):
        new.StructureSetROISequence.append(_roi(number, TITLES[structure], new.FrameOfReferenceUID))
        contours = Dataset()
        contours.ReferencedROINumber, contours.ROIDisplayColor = number, COLOURS[structure]
        contours.ContourSequence = [
            _contour(ring, header, frame)
            for (slice_, time), header, frame in images
            for ring in keyholes(outline(part[slice_, time]))
        ]
        new.ROIContourSequence.append(contours)
        observation = Dataset()
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", ""
        new.RTROIObservationsSequence.append(observation)
    new.ApprovalStatus = "UNAPPROVED"
    fill_empty(new, ["OperatorsName"])
    for keyword in ("ContentDate", "ContentTime", "Laterality"):  # of images
        delattr(new, keyword)
    warn_of_malformed(headers)
    write_objects([new], [Path(path)])


def _frame_of_reference(new: Dataset, headers: Sequence[FileDataset], numbers: Sequence[int | None]) -> Dataset:
    """The images that contours lie on, by their series."""
    by_series: dict[str, list[Dataset]] = {}
    for header, number in zip(headers, numbers, strict=True):
        by_series.setdefault(header.SeriesInstanceUID, []).append(reference(header, number))
    study, frame = Dataset(), Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY, headers[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = []
    for uid, images in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ContourImageSequence = uid, images
        study.RTReferencedSeriesSequence.append(series)
    frame.FrameOfReferenceUID = new.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _roi(number: int, name: str, frame_of_reference: str) -> Dataset:
    region = Dataset()
    region.ROINumber = number
    region.ReferencedFrameOfReferenceUID = frame_of_reference
    region.ROIName = name
    region.ROIDescription = "Drawn on some frames, followed through the others by deformable registration"
    region.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
    return region


def _contour(ring: np.ndarray, header: FileDataset, number: int | None) -> Dataset:
    """A ring (N, 2) of (x, y) in pixels at its place in the patient, to a thousandth of a mm."""
    grid = slice_grid(header, str(header.filename))
    column, row, _ = np.reshape(grid.GetDirection(), (3, 3)).T
    x, y = (ring * grid.GetSpacing()[:2]).T
    points = grid.GetOrigin() + np.outer(x, column) + np.outer(y, row)
    item = Dataset()
    item.ContourImageSequence = [reference(header, number)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.3f}" for value in points.ravel()]
    return item
