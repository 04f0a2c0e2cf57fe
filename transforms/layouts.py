"""Folders of cines to records (transforms.records): public data sets in the layouts in which they are distributed, and
folders of studies without drawings.

Every cine and label image is read once, so that what cannot be read is named before a training starts, and each slice
lists the structures that are drawn on it.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from . import scd
from .cine_files import CineStack, read_cine_stack
from .datalists import fold_of
from .dicom import is_dicom
from .drawings import NothingDrawnError, read_structures
from .errors import InputError
from .nifti_files import is_nifti, read_nifti
from .paths import stem
from .records import STRUCTURES, UNKNOWN, Record
from .structures import Labels

__all__ = ["read_folder"]

logger = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii")
SPLIT_FOLDERS = {
    **dict.fromkeys(("training", "train"), "training"),
    **dict.fromkeys(("validation", "val"), "validation"),
    **dict.fromkeys(("testing", "test"), "test"),
}
EXPECTED = (
    "expected the layout of the Sunnybrook data (SCD_IMAGES_*), ACDC (patient*/Info.cfg), M&Ms (a CSV with 'External "
    "code'), UK Biobank's tools (*/sa.nii.gz), or a folder of studies, each a folder of DICOM files or a NIfTI file"
)
MNMS_COLUMNS = {"External code", "ED", "ES"}
UKB_LABELS = {"lumen": 1, "myocardium": 2, "rv": 3}
FOLDS = 5  # a fifth of the patients is the validation, where a layout has none
COPY = 0.01  # of the mean intensity, that a copy of a frame may differ by


@dataclass(frozen=True)
class Study:
    """A patient's cine, and where a layout says what of it.

    Attributes:
        patient, split, pathology: as in a record.
        cine: what :func:`transforms.cine_files.read_cine_stack` reads.
        phases: frames of "ed" and "es"; None where they are known and not said.
        drawings: label image of "ed" and of "es", which may be one file with time.
        labels: their values.
        copies: images of "ed" and "es", for layouts that don't number their frames.
    """

    patient: str
    split: str
    cine: Path
    pathology: str = UNKNOWN
    phases: Mapping[str, int] | None = None
    drawings: Mapping[str, Path] = field(default_factory=dict)
    labels: Labels = None
    copies: Mapping[str, Path] = field(default_factory=dict)


def read_folder(folder: str | Path, validation: bool = True) -> list[Record]:
    """Records of a folder in the layout of SCD, ACDC, M&Ms or UK Biobank's tools, or else of a folder of studies.

    Splits are the layout's. Where it has no validation, every fifth patient of its training is that, dealt by group.
    Studies without drawings get their first frame as ``ed`` and the one that differs most from it as ``es``.

    Args:
        folder: of the layout.
        validation: whether to make one where the layout has none; for folds that are dealt anew it is not needed.

    Raises:
        FileNotFoundError: when there is no such folder, or no cine in it.
        InputError: when something in it has not the form expected; names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder '{folder}' does not exist; {EXPECTED}")
    if scd.has_layout(folder):
        return scd.scan(folder)
    for layout in (_acdc, _mnms, _ukb, _studies):
        if studies := layout(folder):
            break
    else:
        raise FileNotFoundError(f"'{folder}' holds no cine; {EXPECTED}")
    records: list[Record] = []
    cines: dict[str, Path] = {}
    for study in tqdm(studies, "cines", leave=False, disable=None, delay=2):
        try:
            found = _records(study)
        except (InputError, FileNotFoundError) as error:
            if layout is not _studies:
                raise
            logger.warning("left out, no cine: %s", error)
            continue
        if study.patient in cines:
            raise InputError(f"{study.cine}: expected one cine a patient, found {cines[study.patient]} too")
        cines[study.patient] = study.cine
        records += found
    if not records:
        raise FileNotFoundError(f"'{folder}' holds no cine; {EXPECTED}")
    return _with_validation(records) if validation else records


def _with_validation(records: list[Record]) -> list[Record]:
    patients = {record["patient"] for record in records if record["split"] == "training"}
    if any(record["split"] == "validation" for record in records) or len(patients) < 2:
        return records
    folds = min(FOLDS, len(patients))
    records = fold_of(records, folds - 1, folds)
    held_out = sorted({record["patient"] for record in records if record["split"] == "validation"})
    logger.warning(
        "no split is the validation: %d of the %d patients of the training become it, one of %d by group: %s%s",
        len(held_out),
        len(patients),
        folds,
        ", ".join(held_out[:10]),
        ", ..." if len(held_out) > 10 else "",
    )
    return records


# --- layouts: the studies of a folder, empty when it has another one ---


def _acdc(root: Path) -> list[Study]:
    """``[database/][training|testing/]patient001/``: Info.cfg, patient001_4d, patient001_frame01_gt, frames from 1."""
    studies = []
    for info in sorted(path for depth in ("", "*/", "*/*/", "*/*/*/") for path in root.glob(f"{depth}Info.cfg")):
        folder = info.parent
        said = _read_info(info)
        numbers = {phase: _whole(said.get(phase.upper(), ""), 1, info, phase.upper()) for phase in ("ed", "es")}
        drawings = {
            phase: drawn
            for phase, number in numbers.items()
            if (drawn := _image(folder / f"{folder.name}_frame{number:02d}_gt")) is not None
        }
        phases = {phase: number - 1 for phase, number in numbers.items()}
        cine, group = _sure(folder / f"{folder.name}_4d"), said.get("Group", UNKNOWN)
        studies.append(Study(folder.name, _split(folder, root), cine, group, phases, drawings, "acdc"))
    if lacking := [study.patient for study in studies if len(study.drawings) < 2]:
        shown = ", ".join(lacking[:10])
        logger.warning("%d of %d patients lack a drawing at ED or ES: %s", len(lacking), len(studies), shown)
    return studies


def _read_info(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon and value.strip()}


def _mnms(root: Path) -> list[Study]:
    """A CSV, frames from 0, over ``Training/[Un]labeled/CODE/``, Validation and Testing: CODE_sa, CODE_sa_gt."""
    tables = [path for path in sorted((*root.glob("*.csv"), *root.glob("*/*.csv"))) if _columns(path) >= MNMS_COLUMNS]
    if not tables:
        return []
    if len(tables) > 1:
        raise InputError(f"{tables[1]}: expected one table of M&Ms, found {tables[0]} too")
    table = tables[0]
    cines = {}
    for ending in ENDINGS:
        for path in sorted(table.parent.rglob(f"*_sa{ending}")):
            cines[path.name.removesuffix(f"_sa{ending}")] = path
    studies = []
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for row in csv.DictReader(file, restval=""):
            code = row["External code"].strip()
            cine = cines.pop(code, None)
            if cine is None:
                continue
            phases = {
                phase: _whole(row[phase.upper()], 0, table, f"{phase.upper()} of {code}")
                for phase in ("ed", "es")
                if row[phase.upper()].strip()
            }
            drawn = _image(cine.parent / f"{code}_sa_gt")
            unlabeled = cine.parent.parent.name.lower() == "unlabeled"  # its label images are empty
            drawings = {} if drawn is None or unlabeled else dict.fromkeys(phases, drawn)
            group = (row.get("Pathology") or "").strip() or UNKNOWN
            studies.append(Study(code, _split(cine.parent, root), cine, group, phases, drawings, "mnms"))
    if cines:
        logger.warning("left out: %d cines that %s does not list: %s", len(cines), table, ", ".join(sorted(cines)[:10]))
    return studies


def _columns(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        try:
            return set(next(csv.reader(file), []))
        except csv.Error:  # no table
            return set()


def _ukb(root: Path) -> list[Study]:
    """``[train|validation|test/]ID/``: sa, label_sa_ED, label_sa_ES; sa_ED and sa_ES, copies of its frames."""
    studies = []
    for folder, split in _patients(root):
        cine = _image(folder / "sa")
        if cine is None:
            continue
        drawings, copies = (
            {phase: path for phase in ("ed", "es") if (path := _image(folder / f"{prefix}sa_{phase.upper()}"))}
            for prefix in ("label_", "")
        )
        studies.append(Study(folder.name, split, cine, drawings=drawings, labels=UKB_LABELS, copies=copies))
    return studies


def _studies(root: Path) -> list[Study]:
    """Each sub-folder with DICOM files, and each NIfTI file in the folder or in a sub-folder, is a cine."""
    studies = []
    for place, split in _patients(root):
        if place.is_file():
            studies += [Study(stem(place), split, place)] if is_nifti(place) else []
        elif any(is_dicom(path) for path in place.rglob("*") if path.is_file() and path.name != "DICOMDIR"):
            studies.append(Study(place.name, split, place))
        else:
            files = [path for path in sorted(place.iterdir()) if path.is_file() and is_nifti(path)]
            studies += [Study(place.name, split, path) for path in files]
    return studies


def _patients(root: Path) -> Iterator[tuple[Path, str]]:
    """What lies in a folder, or in those of its folders that are called as splits are, and its split."""
    for place in sorted(path for path in root.iterdir() if not path.name.startswith(".")):
        if place.is_dir() and place.name.lower() in SPLIT_FOLDERS:
            yield from ((inner, SPLIT_FOLDERS[place.name.lower()]) for inner in sorted(place.iterdir()))
        else:
            yield place, _split(place, root)


def _split(place: Path, root: Path) -> str:
    """By the nearest folder above that is called as a split is, the root at the most."""
    for name in reversed((root.resolve().name, *place.relative_to(root).parts[:-1])):
        if name.lower() in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[name.lower()]
    return "training"


def _image(path: Path) -> Path | None:
    """A NIfTI file, gzipped or not; some copies of ACDC have it in a folder of its own name."""
    for ending in ENDINGS:
        found = path.with_name(path.name + ending)
        if found.is_file():
            return found
        inside = sorted(found.glob("*.nii")) if found.is_dir() else []
        if len(inside) == 1:
            return inside[0]
    return None


def _sure(path: Path) -> Path:
    if (found := _image(path)) is None:
        raise FileNotFoundError(f"'{path}.nii.gz' does not exist; expected the cine beside Info.cfg")
    return found


def _whole(text: str, least: int, path: Path, name: str) -> int:
    number = text.strip().removesuffix(".0")
    if not number.isdecimal() or len(number) > 6 or int(number) < least:
        raise InputError(f"{path}: expected the number of a frame, from {least}, as {name}, found {text!r}")
    return int(number)


# --- a study's records ---


def _records(study: Study) -> list[Record]:
    cine = read_cine_stack(study.cine)
    read = {path: _read_drawn(path, cine, study.labels) for path in set(study.drawings.values())}
    drawn = {phase: read[path] for phase, path in study.drawings.items()}
    if len(read) < len(drawn) and any(masks.shape[1] == 1 for masks in drawn["ed"].values()):
        raise InputError(f"{study.drawings['ed']}: expected a label image with time, (x, y, slice, time)")
    phases = _phases(study, cine, drawn) if study.phases is None else study.phases
    frames = cine.images.shape[1]
    for phase, frame in phases.items():
        if frame >= frames:
            raise InputError(f"{study.cine}: has {frames} frames; frame {frame}, from 0, is said to be {phase.upper()}")
    if len(set(phases.values())) < len(phases):
        raise InputError(f"{study.cine}: expected two phases, found frame {phases['ed']}, from 0, as ED and as ES")
    records = []
    for number, (files, file_slice) in enumerate(_files(study.cine, cine)):
        record: Record = {"patient": study.patient, "slice": number, "split": study.split, "pathology": study.pathology}
        record.update(frames=files, ed=phases.get("ed"), es=phases.get("es"), spacing=None)
        record.update({structure: {} for structure in STRUCTURES})
        if file_slice is not None:
            record["file_slice"] = file_slice
        for phase, structures in drawn.items():
            for structure, masks in structures.items():
                time = phases[phase] if masks.shape[1] > 1 else 0
                if masks[number, time].any():
                    record[structure][phases[phase]] = str(study.drawings[phase])
        if study.labels is not None:
            record["labels"] = study.labels
        records.append(record)
    return records


def _read_drawn(path: Path, cine: CineStack, labels: Labels) -> dict[str, np.ndarray]:
    try:
        return read_structures(path, cine, labels)
    except NothingDrawnError:
        return {}


def _files(path: Path, cine: CineStack) -> list[tuple[list[str], int | None]]:
    """Of each slice its files by time, and which slice of the file it is, where that holds several."""
    if not path.is_dir():
        return [([str(path)], number) for number in range(len(cine.images))]
    if not cine.frame_numbers:
        return [([str(file) for file in files], None) for files in cine.files]
    files = [sorted(set(map(str, frames))) for frames in cine.files]
    if any(len(each) > 1 for each in files):
        raise InputError(f"{path}: expected all frames of a slice in one DICOM file, or a file each")
    names = [name for (name,) in files]
    return [
        ([name], names[:number].count(name) if names.count(name) > 1 else None) for number, name in enumerate(names)
    ]


def _phases(study: Study, cine: CineStack, drawn: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, int]:
    """End-diastole and end-systole of a cine whose layout does not number its frames."""
    if not (study.drawings or study.copies):
        differences = np.abs(cine.images - cine.images[:, :1]).mean((0, 2, 3))
        return {"ed": 0, "es": int(differences.argmax())}
    found = {phase: _frame_copied(path, cine) for phase, path in study.copies.items()}
    for phase, path in study.drawings.items():
        if phase not in found and drawn[phase]:
            found[phase] = _frame_drawn(path, cine.images, drawn[phase])
    return found


def _frame_copied(path: Path, cine: CineStack) -> int:
    """The frame of which a file is a copy."""
    image = sitk.GetArrayFromImage(read_nifti(path).image)
    slices, frames, height, width = cine.images.shape
    if image.size != slices * height * width:
        raise InputError(f"{path}: expected a frame of the cine, {width} x {height} x {slices} pixels")
    differences = np.abs(cine.images - image.reshape(slices, 1, height, width)).mean((0, 2, 3))
    if differences.min() > COPY * np.abs(cine.images).mean():
        raise InputError(f"{path}: expected a copy of one of the {frames} frames of sa.nii.gz, found another image")
    return int(differences.argmin())


def _frame_drawn(path: Path, images: np.ndarray, drawn: Mapping[str, np.ndarray]) -> int:
    """The frame on which lumen and wall were drawn: that whose intensities tell one from the other best."""
    inside = drawn.get("epicardium", drawn["lumen"])[:, 0]
    blood = drawn["lumen"][:, 0][inside]
    if blood.all():
        copy = stem(path).removeprefix("label_")
        raise InputError(f"{path}: does not say on which frame it was drawn; expected {copy}.nii.gz beside it")
    with np.errstate(invalid="ignore"):  # of a blank frame
        fits = [np.corrcoef(blood, images[:, frame][inside])[0, 1] for frame in range(images.shape[1])]
    frame = int(np.argmax(np.nan_to_num(fits, nan=-1)))
    logger.warning("%s: does not say its frame, nor is a copy of that beside it; it fits frame %d best", path, frame)
    return frame
