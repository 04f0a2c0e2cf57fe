"""Structures of a heart through a cine as DICOM Segmentation (PS3.3 A.51, C.8.20)."""

# On pydicom alone: highdicom refuses images at one place, as a cine's frames are (its issue 369), and malformed dates.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import SegmentationStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from transforms.grids import slice_grid
from transforms.segmentation_files import DRAWN, FOLLOWED
from transforms.structures import TITLES

from ...errors import InputError
from .objects import (
    LOSSY,
    code,
    copy_elements,
    fill_empty,
    maker,
    marked_images,
    new_object,
    refer,
    reference,
    warn_of_malformed,
    write_objects,
)

__all__ = ["write_segmentation"]

CATEGORY = ("91723000", "Anatomical Structure")  # SNOMED CT, CID 7150
# SNOMED CT; DICOM's lists have no code of a lumen alone
CODES = {
    "lumen": ("87878005", "Left ventricle"),
    "myocardium": ("49848007", "Left Ventricle Myocardium"),
    "epicardium": ("87878005", "Left ventricle"),
    "rv": ("53085002", "Right ventricle"),
}
# Attributes by which frames are told apart, each in its functional group
DIMENSIONS = {
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}


@config.disable_value_validation()  # its warnings quote the values, which may be a patient's
def write_segmentation(
    path: str | Path,
    masks: np.ndarray | Mapping[str, np.ndarray],
    files: Sequence[Sequence[str | Path]],
    frame_numbers: Sequence[Sequence[int]] = (),
    drawn: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write structures that were drawn on some frames of a cine and followed through it, as a segment each: the lumen,
    the myocardium (the epicardium without the lumen) and the right ventricle.

    Each frame of the object refers to the image that it was made of. Frames are told apart by segment, place and time
    (C.7.6.17): a cine's have one place. Empty ones are left out, as highdicom does. The object joins the cine's study
    in a new series of modality SEG, in the frame of reference of the first image, which is the cine's unless an
    anonymiser gave each image its own. The file appears whole or not at all; one that exists is replaced.

    Args:
        path: where to write.
        masks: (S, T, H, W) bool, by slice and frame: of the lumen, or by structure.
        files: the DICOM file of each slice and frame, S lists of T, as :class:`transforms.cine_files.CineStack` has
            them. Those of frames on which nothing is marked are not read.
        frame_numbers: of each slice and frame in its file, from 1, where files hold several, likewise.
        drawn: which frames were drawn by hand, (S, T) bool by structure; it is written as their Frame Comments.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when numbers or sizes of masks and files differ; nothing is marked; a file is not DICOM, has
            other frames, or lacks its place in space; or they belong to several patients or studies, or are not
            parallel and of one pixel size.
    """
    structures, marked, numbers, headers = marked_images(masks, files, frame_numbers)
    _check_parallel(headers)
    segments = _segments(structures)
    frames = [
        (number, image, _comment(drawn, structure, *marked[image]))
        for number, (structure, part) in enumerate(segments.values(), 1)
        for image in np.flatnonzero(part[tuple(marked.T)].any((1, 2))).tolist()
    ]

    new = new_object(SegmentationStorage, headers[0], datetime.now())
    new.Modality = "SEG"
    new.SeriesInstanceUID = generate_uid(prefix=None)
    new.SeriesNumber = 1000  # type 1; above those of most scanners
    new.SeriesDescription = f"DIRNet: {', '.join(TITLES[name] for name in segments).lower()}"[:64]
    new.update(maker())
    new.DeviceSerialNumber = "none"  # type 1, though software has none
    new.BodyPartExamined = "HEART"
    new.InstanceNumber = 1
    new.ContentLabel = "LV_LUMEN" if list(segments) == ["lumen"] else "HEART"
    new.ContentDescription = "Structures of the heart through its cycle"
    new.ContentCreatorName = ""
    if not new.get("FrameOfReferenceUID"):
        new.FrameOfReferenceUID = generate_uid(prefix=None)  # places need one; not known to be that of any other image
    new.SegmentSequence = [_segment(number, name) for number, name in enumerate(segments, 1)]
    parts = [part for _, part in segments.values()]
    new.SegmentsOverlap = "YES" if (np.sum(parts, 0) > 1).any() else "NO"
    _fill_pixels(new, np.stack([parts[number - 1][tuple(marked[image])] for number, image, _ in frames]))
    _keep_loss(new, headers)
    _fill_groups(new, headers, numbers, marked, frames)
    refer(new, headers)
    fill_empty(new)
    warn_of_malformed(headers)
    write_objects([new], [Path(path)])


def _check_parallel(headers: Sequence[FileDataset]) -> None:
    first = headers[0]
    for header in headers:
        for keyword in ("ImageOrientationPatient", "PixelSpacing"):
            if not np.allclose(
                np.array(header[keyword].value, float), np.array(first[keyword].value, float), atol=1e-3
            ):
                raise InputError(
                    f"{header.filename!s}: {keyword} differs from that of {first.filename!s}; expected parallel "
                    "slices of one pixel size"
                )


def _segments(structures: Mapping[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    """What the segments are, each with the structure that was drawn for it and its masks."""
    found = {}
    for structure, part in structures.items():
        if structure == "epicardium" and "lumen" in structures:
            found["myocardium"] = (structure, part & ~structures["lumen"])
        else:
            found[structure] = (structure, part)
    return {name: (structure, part) for name, (structure, part) in found.items() if part.any()}


def _comment(drawn: Mapping[str, np.ndarray] | None, structure: str, number: int, time: int) -> str | None:
    if drawn is None:
        return None
    return DRAWN if structure in drawn and drawn[structure][number, time] else FOLLOWED


def _segment(number: int, name: str) -> Dataset:
    equipment = maker()
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = code("123110", "Artificial Intelligence")  # CID 7162
    algorithm.AlgorithmName = equipment.ManufacturerModelName
    algorithm.AlgorithmVersion = equipment.SoftwareVersions
    segment = Dataset()
    segment.SegmentNumber = number
    segment.SegmentLabel = TITLES[name]
    segment.SegmentDescription = "Drawn on some frames, followed through the others by deformable registration"
    segment.SegmentAlgorithmType = "SEMIAUTOMATIC"
    segment.SegmentAlgorithmName = equipment.ManufacturerModelName
    segment.SegmentationAlgorithmIdentificationSequence = [algorithm]
    segment.SegmentedPropertyCategoryCodeSequence = code(*CATEGORY, "SCT")
    segment.SegmentedPropertyTypeCodeSequence = code(*CODES[name], "SCT")
    return segment


def _fill_pixels(new: Dataset, frames: np.ndarray) -> None:
    """Frames (N, H, W) at one bit a pixel, without gap between them (PS3.5 8.1.1)."""
    new.ImageType = ["DERIVED", "PRIMARY"]
    new.SegmentationType = "BINARY"
    new.NumberOfFrames, new.Rows, new.Columns = frames.shape
    new.SamplesPerPixel, new.PhotometricInterpretation, new.PixelRepresentation = 1, "MONOCHROME2", 0
    new.BitsAllocated, new.BitsStored, new.HighBit = 1, 1, 0
    packed = np.packbits(frames, bitorder="little").tobytes()
    new.PixelData = packed + bytes(len(packed) % 2)


def _keep_loss(new: Dataset, headers: Sequence[FileDataset]) -> None:
    """Made of an image once lossy, it is so too (C.8.20.2.2)."""
    new.LossyImageCompression = "00"
    for header in headers:
        if header.get("LossyImageCompression") == "01":
            copy_elements(header, new, LOSSY)
            break


def _fill_groups(
    new: Dataset,
    headers: Sequence[FileDataset],
    numbers: Sequence[int | None],
    marked: np.ndarray,
    frames: Sequence[tuple[int, int, str | None]],
) -> None:
    """Functional groups (A.51.5) and dimensions of frames, each a segment, an image and a comment; of the images the
    numbers in their files, and slices and times (N, 2)."""
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid(prefix=None)
    new.DimensionOrganizationSequence = [organization]
    new.DimensionIndexSequence = []
    for keyword, group in DIMENSIONS.items():
        dimension = Dataset()
        dimension.DimensionOrganizationUID = organization.DimensionOrganizationUID
        dimension.DimensionIndexPointer = tag_for_keyword(keyword)
        dimension.FunctionalGroupPointer = tag_for_keyword(group)
        dimension.DimensionDescriptionLabel = keyword
        new.DimensionIndexSequence.append(dimension)
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    copy_elements(headers[0], orientation, ["ImageOrientationPatient"])
    copy_elements(headers[0], measures, ["PixelSpacing", "SliceThickness", "SpacingBetweenSlices"])
    if not measures.get("SliceThickness"):  # type 1C: as it is taken to be where it is unknown
        measures.SliceThickness = format_number_as_ds(slice_grid(headers[0], str(headers[0].filename)).GetSpacing()[2])
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    new.SharedFunctionalGroupsSequence = [shared]
    # counted from 1 without gaps, though a slice or a time may have nothing marked
    places, times = (np.unique(column, return_inverse=True)[1] + 1 for column in marked.T)
    new.PerFrameFunctionalGroupsSequence = [
        _frame(headers[image], numbers[image], segment, int(places[image]), int(times[image]), comment)
        for segment, image, comment in frames
    ]


def _frame(
    header: FileDataset, number: int | None, segment_number: int, place: int, time: int, comment: str | None
) -> Dataset:
    segment, position, content, derivation, frame = (Dataset() for _ in range(5))
    segment.ReferencedSegmentNumber = segment_number
    copy_elements(header, position, ["ImagePositionPatient"])
    content.DimensionIndexValues = [segment.ReferencedSegmentNumber, place, time]
    content.TemporalPositionIndex = time
    if comment is not None:
        content.FrameComments = comment
    source = reference(header, number)
    source.PurposeOfReferenceCodeSequence = code("121322", "Source image for image processing operation")  # CID 7202
    source.SpatialLocationsPreserved = "YES"
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = code("113076", "Segmentation")  # CID 7203
    frame.SegmentIdentificationSequence = [segment]
    frame.PlanePositionSequence = [position]
    frame.FrameContentSequence = [content]
    frame.DerivationImageSequence = [derivation]
    return frame
