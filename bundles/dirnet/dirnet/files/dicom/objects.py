"""What every DICOM object that we write has in common: its patient and study, its maker, its references."""

from __future__ import annotations

import importlib.metadata
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import config
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from transforms.dicom import frame_headers, is_dicom, named_errors, read_dicom
from transforms.grids import slice_grid
from transforms.paths import check_file

from ...errors import InputError
from ..aside import buffered, write_set_aside

__all__ = [
    "GEOMETRY",
    "LOSSY",
    "check_images",
    "code",
    "copy_elements",
    "fill_empty",
    "frame_of",
    "maker",
    "marked_images",
    "new_object",
    "read_header",
    "read_headers",
    "read_object",
    "refer",
    "reference",
    "warn_of_malformed",
    "write_objects",
]

# fmt: off
PATIENT_AND_STUDY = [
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
    "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
    "FrameOfReferenceUID", "PositionReferenceIndicator",
]
# fmt: on
PATIENT_GROUPS = (0x0010, 0x0012)  # patient; clinical trial and de-identification
# Type 2 in the modules Patient, General Study, General Series and Frame of Reference: empty where unknown
# fmt: off
TYPE_2 = [
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "Manufacturer", "PositionReferenceIndicator",
]
# fmt: on
# By these an archive finds the patient, the study and the images: they are kept whatever they look like.
# fmt: off
IDENTIFYING = [
    "PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
    "FrameOfReferenceUID", "SeriesInstanceUID", "SOPInstanceUID",
]
# fmt: on
REFERENCE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
GEOMETRY = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}


def read_object(path: str | Path, pixels: bool = True) -> FileDataset:
    """A DICOM file's elements, with those of its pixels or without.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not DICOM, or cannot be read.
    """
    check_file(path)
    if not is_dicom(path):
        raise InputError(f"{path}: expected a DICOM file")
    return read_dicom(path, pixels)


def read_header(path: str | Path, needs: Collection[str] = (), number: int | None = None) -> FileDataset:
    """The elements of a DICOM file of one frame, or of one frame of several by its number from 1, without its pixels;
    see :func:`read_headers`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not DICOM, lacks one of them, has no such frame, or has several and none is named.
    """
    return frame_of(read_headers(path, needs), path, number)


def frame_of(headers: Sequence[FileDataset], path: str | Path, number: int | None) -> FileDataset:
    """One of the frames of a file by its number, from 1; None of a file of one frame.

    Raises:
        InputError: when there is no such frame, or there are several and none is named.
    """
    if number is None and len(headers) > 1:
        raise InputError(f"{path}: expected an image of one frame, found {len(headers)} frames")
    if number is not None and not 1 <= number <= len(headers):
        raise InputError(f"{path}: has frames 1 to {len(headers)}, not {number}")
    return headers[(number or 1) - 1]


def read_headers(path: str | Path, needs: Collection[str] = ()) -> list[FileDataset]:
    """Of each frame of a DICOM file the elements, without pixels; those of functional groups among them.

    Args:
        path: what it is called; the headers' ``filename`` in errors.
        needs: keywords that must have a value, beside those by which it is referred to.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not DICOM, or lacks one of them.
    """
    dataset = read_object(path, pixels=False)
    with named_errors(path):
        headers = frame_headers(dataset, path)
    for header in headers:
        for keyword in (*REFERENCE, *needs):
            found, expected = header[keyword].VM if keyword in header else 0, GEOMETRY.get(keyword, 1)
            if found != expected:
                raise InputError(
                    f"{path}: expected {keyword} to have {expected} values, found {found}"
                    if found
                    else f"{path}: lacks {keyword}, which a DICOM image in the patient has"
                )
    return [header if isinstance(header, FileDataset) else FileDataset(str(path), header) for header in headers]


def check_images(headers: Sequence[FileDataset], size: tuple[int, ...], what: str, same: Collection[str]) -> None:
    """
    Raises:
        ValueError: when an image has another size (H, W) than ``what`` is made of it, lacks its place in space, or
            differs from the first in one of the elements ``same``.
    """
    for header in headers:
        if (header.Rows, header.Columns) != tuple(size):
            raise InputError(
                f"{header.filename!s}: has {header.Rows}x{header.Columns} pixels (rows x columns), "
                f"its {what} {size[0]}x{size[1]}"
            )
        slice_grid(header, str(header.filename))  # raises when it has no place in space
        for keyword in same:
            if header.get(keyword) != headers[0].get(keyword):
                raise InputError(f"{header.filename!s}: another {keyword} than {headers[0].filename!s}, in one series")


def marked_images(
    masks: np.ndarray | Mapping[str, np.ndarray],
    files: Sequence[Sequence[str | Path]],
    frame_numbers: Sequence[Sequence[int]] = (),
) -> tuple[dict[str, np.ndarray], np.ndarray, list[int | None], list[FileDataset]]:
    """The images of a cine on which something is marked, by slice, then time.

    Args:
        masks: (S, T, H, W) bool, of the lumen or by structure.
        files: the DICOM file of each slice and frame, S lists of T. Each is read once, those without mark are not.
        frame_numbers: of each slice and frame in its file, from 1, where files hold several, likewise.

    Returns:
        the masks by structure, those alone that mark something; slice and time of each image, (N, 2); its number in its
        file, or None; its header.

    Raises:
        FileNotFoundError: when a file does not exist.
        ValueError: when numbers or sizes of masks and files differ; nothing is marked; a file is not DICOM, has other
            frames, or lacks its place in space; or they belong to several patients or studies.
    """
    given = masks if isinstance(masks, Mapping) else {"lumen": masks}
    structures = {name: np.asarray(part, bool) for name, part in given.items()}
    for part in structures.values():
        if part.ndim != 4 or [len(frames) for frames in files] != [part.shape[1]] * part.shape[0]:
            raise InputError(
                f"expected masks (S, T, H, W) and S lists of T files, got {part.shape} and {len(files)} lists of "
                f"{', '.join(str(n) for n in sorted({len(frames) for frames in files}))} files"
            )
    structures = {name: part for name, part in structures.items() if part.any()}
    if not structures:
        raise InputError("expected something drawn on one frame at least, found nothing")
    marked = np.argwhere(np.any([part.any((2, 3)) for part in structures.values()], 0))
    paths = [files[number][time] for number, time in marked]
    numbers = [frame_numbers[number][time] if len(frame_numbers) else None for number, time in marked]
    headers = {path: read_headers(path, GEOMETRY) for path in dict.fromkeys(paths)}
    chosen = [frame_of(headers[path], path, frame) for path, frame in zip(paths, numbers, strict=True)]
    size = next(iter(structures.values())).shape[2:]
    check_images(chosen, size, "mask", same=("PatientID", "StudyInstanceUID"))
    return structures, marked, numbers, chosen


def new_object(sop_class: str, source: FileDataset, now: datetime) -> FileDataset:
    """A new SOP instance of the patient and study of ``source``, in its frame of reference."""
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # put right as it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    # With preamble and complete file meta, pydicom 2 and 3 both write the standard's file format.
    new = FileDataset("", {}, preamble=bytes(128), file_meta=meta, is_implicit_VR=False)
    copy_elements(source, new, PATIENT_AND_STUDY, PATIENT_GROUPS)
    new.SOPClassUID = sop_class
    new.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for of in ("InstanceCreation", "Content", "Series"):
        setattr(new, f"{of}Date", now.strftime("%Y%m%d"))
        setattr(new, f"{of}Time", now.strftime("%H%M%S.%f"))
    return new


def copy_elements(source: Dataset, target: Dataset, keywords: Collection[str], groups: Collection[int] = ()) -> None:
    """Copy elements by keyword or whole groups. Of those that their type (VR) forbids, decimals are written anew, which
    anonymisers like to leave too long; what is identifying is kept; all others are left out."""
    for tag in source.keys():  # noqa: SIM118 (a Dataset iterates over its elements)
        keyword = keyword_for_tag(tag)
        if keyword in keywords or (tag.group in groups and keyword):  # private elements and group lengths have none
            with suppress(ValueError, TypeError, OverflowError):
                target[tag] = deepcopy(source[tag] if keyword in IDENTIFYING else _well_formed(source[tag]))


def fill_empty(new: Dataset, keywords: Iterable[str] = ()) -> None:
    """Add the elements of type 2 that an object still lacks, without value."""
    for keyword in (*TYPE_2, *keywords):
        if keyword not in new:
            setattr(new, keyword, "")
    if "BodyPartExamined" not in new and "Laterality" not in new:
        new.Laterality = ""  # type 2C: of an unpaired part it is not asked for


def maker() -> Dataset:
    """This software, in the attributes of the (Enhanced) General Equipment module."""
    metadata = Path(__file__).parents[3] / "configs" / "metadata.json"  # of the bundle, unless installed elsewhere
    version = json.loads(metadata.read_text())["version"] if metadata.is_file() else None
    equipment = Dataset()
    equipment.Manufacturer = "monai-dirnet"
    equipment.ManufacturerModelName = "DIRNet"
    equipment.SoftwareVersions = version or importlib.metadata.version("monai-dirnet")
    return equipment


def code(value: str, meaning: str, scheme: str = "DCM") -> list[Dataset]:
    """One code of the DICOM controlled terminology (PS3.16 annex D) or, as ``SCT``, of SNOMED CT, as the value of a
    code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def reference(header: Dataset, number: int | None = None) -> Dataset:
    """Refers to an image, or to one frame of several by its number, in the Image SOP Instance Reference macro."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if number is not None:
        item.ReferencedFrameNumber = number
    return item


def refer(new: Dataset, headers: Sequence[FileDataset]) -> None:
    """Where the referenced images are (Common Instance Reference, PS3.3 C.12.2): in this study or in others."""
    studies: dict[str, dict[str, dict[str, Dataset]]] = {}
    for header in headers:
        study = studies.setdefault(header.StudyInstanceUID, {})
        study.setdefault(header.SeriesInstanceUID, {})[header.SOPInstanceUID] = reference(header)
    for uid, series in studies.items():
        items = []
        for series_uid, instances in series.items():
            item = Dataset()
            item.SeriesInstanceUID = series_uid
            item.ReferencedInstanceSequence = list(instances.values())
            items.append(item)
        if uid == new.StudyInstanceUID:
            new.ReferencedSeriesSequence = items
        else:
            other = Dataset()
            other.StudyInstanceUID = uid
            other.ReferencedSeriesSequence = items
            new.StudiesContainingOtherReferencedInstancesSequence = [other]


def warn_of_malformed(headers: Sequence[FileDataset]) -> None:
    """Say once which identifying elements break the standard's form and were kept; never their values."""
    names = []
    for header in headers:
        for name in IDENTIFYING:
            try:
                if name in header:
                    _well_formed(header[name])
            except (ValueError, TypeError, OverflowError):
                names.append(name)
    if names:
        warnings.warn(
            f"{headers[0].filename!s}: not of the standard's form, and kept, so that what is written stays with its "
            f"study and images: {', '.join(dict.fromkeys(names))}",
            stacklevel=4,  # who called write_...: this, the function, pydicom's decorator
        )


def write_objects(objects: Sequence[FileDataset], paths: Sequence[Path]) -> None:
    """Write all of them, or, when one fails, none: what was there before stays."""
    folders = {path.parent: [other.name for other in paths if other.parent == path.parent] for path in paths}
    with ExitStack() as stack:
        asides = {
            folder: stack.enter_context(write_set_aside(folder, names, overwrite=True))
            for folder, names in folders.items()
        }
        for new, path in zip(objects, paths, strict=True):
            new.remove_private_tags()
            with buffered(asides[path.parent] / path.name) as stream:
                new.save_as(stream)


def _well_formed(element: DataElement) -> DataElement:
    """The element itself, or a decimal string in the 16 characters allowed; raises what pydicom raises otherwise."""
    value = element.value
    try:
        DataElement(element.tag, element.VR, value, validation_mode=config.RAISE)
    except OverflowError:
        if element.VR != "DS":
            raise
        values = value if element.VM > 1 else [value]
        return DataElement(element.tag, "DS", [format_number_as_ds(float(v)) for v in values])
    return element
