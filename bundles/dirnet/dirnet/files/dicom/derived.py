"""Warped images as derived DICOM images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid
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
    frame_of,
    maker,
    new_object,
    read_headers,
    reference,
    warn_of_malformed,
    write_objects,
)

__all__ = ["write_derived_series"]

Paths = str | Path | Sequence[str | Path]
Frames = int | Sequence[int] | None

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
# of an enhanced image's frame, called as those of an MR Image
OF_ENHANCED = ["SliceThickness", "SpacingBetweenSlices", "RepetitionTime", "FlipAngle", "MagneticFieldStrength"]
SMOOTH = 255  # whole numbers over a range of this or more: rounding to them is not seen


@config.disable_value_validation()  # its warnings quote the values, which may be a patient's
def write_derived_series(
    paths: Paths,
    warped: Tensor | np.ndarray,
    fixed_files: Paths,
    moving_files: Paths | None = None,
    description: str = "DIRNet: moving warped onto fixed image",
    fixed_frames: Frames = None,
    moving_frames: Frames = None,
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
        fixed_frames, moving_frames: numbers from 1 of the frames that the images are in files of several, one for each
            file, or one for all.

    Raises:
        FileNotFoundError: when a source does not exist.
        ValueError: when numbers or sizes of paths, images and sources differ; an intensity is not finite; a source is
            not DICOM, has no such frame, or has several and none is named; a fixed one is no MR Image or Enhanced MR
            Image, or lacks its place in space; or the fixed ones belong
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
    fixed = _headers(fixed_files, fixed_frames, len(paths), "fixed", GEOMETRY)
    moving: Sequence[Source | None] = [None] * len(paths)
    if moving_files is not None:
        moving = _headers(moving_files, moving_frames, len(paths), "moving")
    for header, _ in fixed:
        if header.SOPClassUID not in (MRImageStorage, EnhancedMRImageStorage):
            raise InputError(f"{header.filename!s}: expected an MR Image, found {header.SOPClassUID.name}")
    check_images(
        [header for header, _ in fixed], images.shape[1:], "warped image", same=("PatientID", "StudyInstanceUID")
    )

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
    warn_of_malformed([source[0] for source in (*fixed, *moving) if source is not None])
    write_objects(derived, [Path(path) for path in paths])


Source = tuple[FileDataset, int | None]  # an image's elements, and its number in a file of several


def _headers(files: Paths, frames: Frames, count: int, role: str, needs: Collection[str] = ()) -> list[Source]:
    paths = [files] * count if isinstance(files, str | Path) else files
    numbers = [frames] * count if frames is None or isinstance(frames, int) else frames
    if not len(paths) == len(numbers) == count:
        raise InputError(f"expected one {role} file or {count}, one for each image, got {len(paths)}")
    known = {path: read_headers(path, needs) for path in dict.fromkeys(paths)}
    return [(frame_of(known[path], path, number), number) for path, number in zip(paths, numbers, strict=True)]


def _derived(fixed_source: Source, moving_source: Source | None, now: datetime) -> FileDataset:
    """All of one derived image but its pixels and what it shares with its series."""
    fixed, moving = fixed_source[0], None if moving_source is None else moving_source[0]
    new = new_object(MRImageStorage, fixed, now)
    if fixed.SOPClassUID == MRImageStorage:
        copy_elements(fixed, new, IMAGE, [ACQUISITION_GROUP])
    else:
        copy_elements(fixed, new, [*IMAGE, *OF_ENHANCED])
        new.update(_acquisition(fixed))
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
    sources = [source for source in (moving_source, fixed_source) if source is not None]
    if len({(header.SOPInstanceUID, number) for header, number in sources}) == 1:
        sources = [fixed_source]
    for header, number in sources:
        item = reference(header, number)
        item.PurposeOfReferenceCodeSequence = code("121322", "Source image for image processing operation")  # CID 7202
        if len(sources) > 1 and header is moving:
            item.SpatialLocationsPreserved = "NO"  # its pixels are no more where they were
        new.SourceImageSequence.append(item)
    return new


def _acquisition(frame: Dataset) -> Dataset:
    """How a frame of an enhanced image was acquired, in the attributes of an MR Image (C.8.3.1) that lie elsewhere."""
    found = Dataset()
    echoes = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": ["SE", "GR"]}
    found.ScanningSequence = echoes.get(str(frame.get("EchoPulseSequence")), "RM")  # type 1; research mode: unknown
    found.SequenceVariant = "SS" if frame.get("SteadyStatePulseSequence") not in (None, "", "NONE") else "NONE"
    for keyword, elsewhere in (("EchoTime", "EffectiveEchoTime"), ("TriggerTime", "NominalCardiacTriggerDelayTime")):
        if frame.get(elsewhere) is not None:
            setattr(found, keyword, format_number_as_ds(float(frame[elsewhere].value)))
    if "TriggerTime" in found:
        found.ScanOptions = "CG"  # without gating an image has no trigger
    return found


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
