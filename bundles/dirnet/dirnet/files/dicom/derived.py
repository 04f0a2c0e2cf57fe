"""Warped images as derived DICOM images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds
from torch import Tensor

from ...errors import InputError
from .objects import (
    GEOMETRY,
    LOSSY,
    check_images,
    code,
    copy_elements,
    fill_empty,
    maker,
    new_object,
    read_header,
    reference,
    warn_of_malformed,
    write_objects,
)

__all__ = ["write_derived_series"]

Paths = str | Path | Sequence[str | Path]

ACQUISITION_GROUP = 0x0018
# fmt: off
IMAGE = [
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber", "Modality", "Manufacturer",
    "ManufacturerModelName", "InstitutionName", "StationName", "AnatomicRegionSequence", "Laterality",
    "PatientOrientation", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "PixelSpacing",
    "Rows", "Columns", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "TemporalResolution",
    "BurnedInAnnotation",
]
# fmt: on
# Type 2 or 2C in the modules General Series, Image Plane and MR Image
# fmt: off
MR_TYPE_2 = [
    "PatientPosition", "SliceThickness", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime",
    "EchoTrainLength",
]
# fmt: on
SMOOTH = 255  # whole numbers over a range of this or more: rounding to them is not seen


@config.disable_value_validation()  # its warnings quote the values, which may be a patient's
def write_derived_series(
    paths: Paths,
    warped: Tensor | np.ndarray,
    fixed_files: Paths,
    moving_files: Paths | None = None,
    description: str = "DIRNet: moving warped onto fixed image",
) -> None:
    """Write warped images as one new series of derived MR images, a file each.

    Patient, study, frame of reference, geometry and acquisition attributes, times in the heart cycle among them, are
    those of the fixed image; the pixels come from the moving one. UIDs of instance and series are new. What was done,
    with what and by what, is in Image Type (DERIVED, SECONDARY), Derivation Code and Description, Contributing
    Equipment and Source Image Sequence (PS3.3 C.7.6.1, C.12.1, C.12.4). Private elements, and public ones that a
    derived image has no claim to, are left out, as are values that their type forbids, but for those that identify
    patient, study and frame of reference: they are kept, with a warning that does not quote them.

    Intensities are rounded to whole numbers, as a scanner stores them; where they span less than 255 and are not whole,
    or don't fit in 16 bits, Rescale Slope and Intercept spread them over 65,536 steps, alike for the whole series.

    The files appear whole, and all or none; those that exist are replaced: see
    :func:`dirnet.files.aside.refuse_overwriting`.

    Args:
        paths: where to write, a path a frame, or one path for one image. Instance Numbers follow the order.
        warped: (T, H, W), or (H, W) for one image: intensities, any floating or integer type.
        fixed_files: DICOM files of the fixed images, one for each frame or one for all.
        moving_files: likewise of the moving images, to be referred to; None where they are not DICOM.
        description: of the series, at most 64 characters.

    Raises:
        FileNotFoundError: when a source does not exist.
        ValueError: when numbers or sizes of paths, images and sources differ; an intensity is not finite; a source is
            not DICOM of one frame; a fixed one is no MR Image or lacks its place in space; or the fixed ones belong
            to several patients or studies.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    images = np.asarray(warped.detach().cpu().double() if isinstance(warped, Tensor) else warped, np.float64)
    images = images[None] if images.ndim == 2 else images
    if images.ndim != 3 or len(images) != len(paths) or len({str(path) for path in paths}) < len(paths):
        raise InputError(f"expected images (T, H, W) and T different paths, got {images.shape} and {len(paths)} paths")
    if not np.isfinite(images).all():
        raise InputError("the images hold values that are not finite")
    if not 0 < len(description) <= 64 or not description.isascii() or "\\" in description:
        raise InputError(f"expected 1 to 64 ASCII characters without backslash to describe a series: {description!r}")
    fixed = [read_header(path, GEOMETRY) for path in _one_each(fixed_files, len(paths), "fixed")]
    moving: list[FileDataset | None] = [None] * len(paths)
    if moving_files is not None:
        moving = [read_header(path) for path in _one_each(moving_files, len(paths), "moving")]
    for header in fixed:
        if header.SOPClassUID != MRImageStorage:
            raise InputError(f"{header.filename!s}: expected an MR Image of one frame, found {header.SOPClassUID.name}")
    check_images(fixed, images.shape[1:], "warped image", same=("PatientID", "StudyInstanceUID"))

    now = datetime.now()
    series = Dataset()
    series.SeriesInstanceUID = generate_uid(prefix=None)
    series.SeriesDescription = description
    own_frame = generate_uid(prefix=None)
    stored, intensity = _stored(images)
    derived = []
    for number, (pixels, onto, source) in enumerate(zip(stored, fixed, moving, strict=True), 1):
        new = _derived(onto, source, now)
        new.update(series)
        new.update(intensity)
        new.InstanceNumber = number
        if not new.get("FrameOfReferenceUID"):
            new.FrameOfReferenceUID = own_frame  # type 1; not known to be that of any other image
        new.PixelData = pixels.tobytes()
        fill_empty(new, MR_TYPE_2)
        derived.append(new)
    warn_of_malformed([header for header in (*fixed, *moving) if header is not None])
    write_objects(derived, [Path(path) for path in paths])


def _one_each(files: Paths, count: int, role: str) -> Sequence[str | Path]:
    if isinstance(files, str | Path):
        return [files] * count
    if len(files) != count:
        raise InputError(f"expected one {role} file or {count}, one for each image, got {len(files)}")
    return files


def _derived(fixed: FileDataset, moving: FileDataset | None, now: datetime) -> FileDataset:
    """All of one derived image but its pixels and what it shares with its series."""
    new = new_object(MRImageStorage, fixed, now)
    copy_elements(fixed, new, IMAGE, [ACQUISITION_GROUP])
    copy_elements(fixed if moving is None else moving, new, LOSSY)  # once lossy, always so
    new.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    equipment = maker()
    new.DerivationDescription = (
        f"Moving image deformed onto the fixed image by {equipment.ManufacturerModelName} "
        f"({equipment.Manufacturer} {equipment.SoftwareVersions}); geometry and acquisition attributes are the fixed "
        "image's"
    )
    new.DerivationCodeSequence = code("125027", "Deformed for Registration")  # CID 7203
    equipment.PurposeOfReferenceCodeSequence = code("109102", "Processing Equipment")  # CID 7005
    new.ContributingEquipmentSequence = [*new.get("ContributingEquipmentSequence", []), equipment]
    new.SourceImageSequence = []
    for header in [fixed] if moving is None or moving.SOPInstanceUID == fixed.SOPInstanceUID else [moving, fixed]:
        item = reference(header)
        item.PurposeOfReferenceCodeSequence = code("121322", "Source image for image processing operation")  # CID 7202
        if header is moving:
            item.SpatialLocationsPreserved = "NO"  # its pixels are no more where they were
        new.SourceImageSequence.append(item)
    return new


def _stored(images: np.ndarray) -> tuple[np.ndarray, Dataset]:
    """Intensities (T, H, W) as 16-bit integers, little-endian, and the elements that say what they mean."""
    low, high = float(images.min()), float(images.max())
    fits = low >= -32768 and high <= (32767 if low < 0 else 65535)
    meaning = Dataset()
    if fits and (high - low >= SMOOTH or np.array_equal(images, np.rint(images))):
        stored = np.rint(images)
    else:
        slope, intercept = format_number_as_ds((high - low) / 65535 or 1.0), format_number_as_ds(low)
        meaning.RescaleSlope, meaning.RescaleIntercept, meaning.RescaleType = slope, intercept, "US"
        stored = np.rint((images - float(intercept)) / float(slope)).clip(0, 65535)
    signed = bool(stored.min() < 0)
    meaning.SamplesPerPixel, meaning.PhotometricInterpretation = 1, "MONOCHROME2"
    meaning.BitsAllocated, meaning.BitsStored, meaning.HighBit = 16, 16, 15
    meaning.PixelRepresentation = int(signed)
    darkest, brightest = np.percentile(images, (0.5, 99.5))
    if brightest - darkest >= 1:  # a window may be no narrower; one for all frames, lest a cine flicker
        meaning.WindowCenter = format_number_as_ds(float(darkest + brightest) / 2)
        meaning.WindowWidth = format_number_as_ds(float(brightest - darkest))
    return stored.astype("<i2" if signed else "<u2"), meaning
