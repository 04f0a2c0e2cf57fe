"""Where the Sunnybrook Cardiac Data (SCD) keeps things: a folder in its layout to records (transforms.records)."""

from __future__ import annotations

import csv
import logging
import re
from collections import defaultdict
from pathlib import Path

from .cine import contour_area
from .errors import InputError
from .records import UNKNOWN, Record, split_name

__all__ = ["has_layout", "scan"]

# what is where; a place takes a name, or "*" to search
IMAGE_FOLDER = "SCD_IMAGES_{part}/{image_id}"
CINE_FOLDER = "CINESAX_{series}"
FRAME_FILE = "IM-{series}-{instance}.dcm"
CONTOUR_FOLDER = "SCD_ManualContours/{patient}/contours-manual/{reader}"
CONTOUR_FILE = "IM-{series}-{instance}-{kind}-manual.txt"
PATIENTS_FILE = "scd_patientdata.csv"
SPLITS_FILE = "splits.csv"
PNG_FOLDER = "SCD_EDES_PNG"

PHASES = 20  # of every SCD cine
CONTOURS = {"icontour": "lumen", "ocontour": "epicardium"}  # p1contour, p2contour: papillary muscles, unused

# Radau et al., The MIDAS Journal, 2009: 15 patients each
_CHALLENGE = {
    "training": """HF-I-01 HF-I-02 HF-I-04 HF-I-40 HF-NI-03 HF-NI-04 HF-NI-34 HF-NI-36
                   HYP-01 HYP-03 HYP-38 HYP-40 N-02 N-03 N-40""",
    "validation": """HF-I-05 HF-I-06 HF-I-07 HF-I-08 HF-NI-07 HF-NI-11 HF-NI-31 HF-NI-33
                     HYP-06 HYP-07 HYP-08 HYP-37 N-05 N-06 N-07""",
    "test": """HF-I-09 HF-I-10 HF-I-11 HF-I-12 HF-NI-12 HF-NI-13 HF-NI-14 HF-NI-15
               HYP-09 HYP-10 HYP-11 HYP-12 N-09 N-10 N-11""",
}
CHALLENGE_SPLITS = {f"SC-{name}": split for split, names in _CHALLENGE.items() for name in names.split()}

# faults of the distributed contours
UNFIT_PATIENTS = {"SC-N-06": "its contours lie 10 px off its series"}
UNFIT_EPICARDIUM = {"SC-HF-I-06": "its epicardial contour files are another patient's"}

logger = logging.getLogger(__name__)


def has_layout(root: Path) -> bool:
    """Whether a folder holds what SCD's does, at least its images."""
    return any(root.glob(IMAGE_FOLDER.format(part="*", image_id="*"))) or (root / PNG_FOLDER).is_dir()


def scan(root: str | Path) -> list[Record]:
    """Records of a folder in SCD's layout, by patient and slice.

    Cines are under ``SCD_IMAGES_*/<image id>/CINESAX_*``, contours under ``SCD_ManualContours``;
    ``scd_patientdata.csv`` matches the two. Patients without cine are taken from ``SCD_EDES_PNG``, where that is there.
    A file ``splits.csv`` (columns patient, split) overrides the 2009 challenge's splits.

    Raises:
        FileNotFoundError: when the folder holds no cine.
        ValueError: when a table does not have its columns, or a patient is in no split.
    """
    root = Path(root)
    splits = _read_splits(root / SPLITS_FILE)
    records = _dicom_records(root, splits)
    records += _png_records(root, splits, skip={record["patient"] for record in records})
    for patient, fault in UNFIT_PATIENTS.items():
        if any(record["patient"] == patient for record in records):
            logger.info(f"{patient} is left out: {fault}")
    records = [record for record in records if record["patient"] not in UNFIT_PATIENTS]
    if not records:
        raise FileNotFoundError(
            f"dataset_dir '{root}' holds no cine; expected DICOM under SCD_IMAGES_*/SCD*/CINESAX_* (with "
            f"{PATIENTS_FILE}) or PNG frames listed in {PNG_FOLDER}/index.csv; found {_found(root)}; of other layouts "
            "dirnet datalist makes a datalist"
        )
    return sorted(records, key=lambda record: (record["patient"], record["slice"]))


def _dicom_records(root: Path, splits: dict[str, str]) -> list[Record]:
    folders = sorted(root.glob(IMAGE_FOLDER.format(part="*", image_id="*")))
    series = {folder.name: folder for folder in folders if folder.is_dir()}
    if not series:
        return []
    patients = _read_patients(root / PATIENTS_FILE)
    strangers = set(series) - {image_id for image_id, _, _ in patients}
    if strangers:
        logger.warning(f"image folders that {root / PATIENTS_FILE} does not list are left out: {sorted(strangers)}")
    records = []
    for image_id, patient, pathology in patients:
        if image_id not in series:
            continue
        contours = _contours(root, patient)
        cine = _cine_with(series[image_id], set(contours))
        if not cine:
            continue
        ed, es = _ed_and_es(contours)
        for slice_ in sorted({(instance - 1) // PHASES for instance in cine}):
            first = slice_ * PHASES + 1
            instances = range(first, first + PHASES)
            missing = [instance for instance in instances if instance not in cine]
            if missing:
                logger.warning(
                    f"{next(iter(cine.values())).parent}: slice {slice_} is left out: it has "
                    f"{PHASES - len(missing)} of {PHASES} phases, no file of instance {missing[0]}"
                )
                continue
            structures = {
                name: {i - first: contours[i][name] for i in instances if name in contours.get(i, {})}
                for name in CONTOURS.values()
            }
            frames = [str(cine[instance]) for instance in instances]
            records.append(_record(patient, slice_, splits, pathology, frames, ed, es, **structures, folder=root))
    return records


def _png_records(root: Path, splits: dict[str, str], skip: set[str]) -> list[Record]:
    folder = root / PNG_FOLDER
    if not (folder / "index.csv").is_file():
        return []
    table = root / PATIENTS_FILE
    pathologies = {patient: pathology for _, patient, pathology in _read_patients(table)} if table.is_file() else {}
    rows = defaultdict(list)
    for row in _read_csv(folder / "index.csv", {"patient", "slice", "phase", "role", "file"}):
        if not row["slice"].isdecimal() or not row["phase"].isdecimal():
            raise InputError(f"{folder / 'index.csv'}: expected numbers for slice and phase, found {row}")
        if row["patient"] not in skip:
            rows[row["patient"], int(row["slice"])].append(row)
    records = []
    alone = [key for key, frames in rows.items() if len(frames) < 2]
    if alone:
        logger.info(f"{len(alone)} of {len(rows)} slices under {folder} have one frame, no pair: left out")
    for (patient, slice_), frames in rows.items():
        if len(frames) < 2:
            continue
        frames.sort(key=lambda row: int(row["phase"]))
        roles = [row["role"] for row in frames]
        masks = {
            structure: {
                index: str(folder / name / row["file"])
                for index, row in enumerate(frames)
                if (folder / name / row["file"]).is_file()
            }
            for structure, name in (("lumen", "endocardium"), ("epicardium", "epicardium"))
        }
        records.append(
            _record(
                patient,
                slice_,
                splits,
                pathologies.get(patient, UNKNOWN),
                [str(folder / "images" / row["file"]) for row in frames],
                roles.index("ED") if "ED" in roles else None,
                roles.index("ES") if "ES" in roles else None,
                **masks,
                folder=root,
            )
        )
    return records


def _record(
    patient: str,
    slice_: int,
    splits: dict[str, str],
    pathology: str,
    frames: list[str],
    ed: int | None,
    es: int | None,
    lumen: dict[int, str],
    epicardium: dict[int, str],
    folder: Path,
) -> Record:
    if patient not in splits:
        raise InputError(
            f"{folder}: patient {patient} is in no split of the 2009 challenge; name one in {folder / SPLITS_FILE} "
            "(columns patient, split)"
        )
    return {
        "patient": patient,
        "slice": slice_,
        "split": splits[patient],
        "pathology": pathology,
        "frames": frames,
        "ed": ed,
        "es": es,
        "lumen": lumen,
        "epicardium": epicardium,
        "rv": {},
        "spacing": None,
    }


def _instance(path: Path) -> int | None:
    """The InstanceNumber that SCD's file names carry: the last number of IM-0001-0048(-icontour-manual)."""
    found = re.match(r"IM-\d+-0*([1-9]\d*)\b", path.name)
    return int(found[1]) if found else None


def _contours(root: Path, patient: str) -> dict[int, dict[str, str]]:
    """Contour and mask files by instance and structure; masks where no contour of the structure is fit for use."""
    contours: dict[int | None, dict[str, str]] = defaultdict(dict)
    folder = CONTOUR_FOLDER.format(patient=patient, reader="*")
    for kind, structure in CONTOURS.items():
        if structure == "epicardium" and patient in UNFIT_EPICARDIUM:
            logger.info(f"{patient}: {UNFIT_EPICARDIUM[patient]}; masks are taken instead, where there are any")
            continue
        file = CONTOUR_FILE.format(series="*", instance="*", kind=kind)
        for path in sorted(root.glob(f"{folder}/{file}")):
            contours[_instance(path)][structure] = str(path)
    for path in sorted(root.glob(f"{PNG_FOLDER}/epicardium/{patient}-IM-*.png")):
        instance = int(path.stem.split("-")[-1])
        contours[instance].setdefault("epicardium", str(path))
    return {instance: files for instance, files in contours.items() if instance is not None}


def _cine_with(folder: Path, instances: set[int]) -> dict[int, Path]:
    """Files by instance of that short-axis series under ``folder`` which holds most of the drawn instances."""
    best: dict[int, Path] = {}
    for series in sorted(folder.glob(CINE_FOLDER.format(series="*"))):
        paths = sorted(series.glob(FRAME_FILE.format(series="*", instance="*")))
        files = {number: path for path in paths if (number := _instance(path)) is not None}
        if (len(instances & set(files)), len(files)) > (len(instances & set(best)), len(best)):
            best = files
    return best


def _ed_and_es(contours: dict[int, dict[str, str]]) -> tuple[int | None, int | None]:
    """A patient's two annotated phases; end-diastole is the one whose lumens are larger in all."""
    area: dict[int, float] = defaultdict(float)
    for instance, files in contours.items():
        if "lumen" in files:
            area[(instance - 1) % PHASES] += contour_area(files["lumen"])
    phases = sorted(area, key=area.__getitem__, reverse=True)
    return (phases[0] if phases else None), (phases[1] if len(phases) > 1 else None)


def _read_csv(path: Path, columns: set[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected a table with the columns {sorted(columns)}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # SCD's starts with a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a table as text with commas: {error}") from error
    reader = csv.DictReader(text.splitlines(), restval="")
    if not columns <= set(reader.fieldnames or []):
        raise InputError(f"{path}: expected the columns {sorted(columns)}, found {reader.fieldnames}")
    return list(reader)


def _read_patients(path: Path) -> list[tuple[str, str, str]]:
    """(image folder, contour folder, pathology) of each patient; contour folders pad the number."""
    patients = []
    for row in _read_csv(path, {"PatientID", "OriginalID", "Pathology"}):
        group, _, number = row["OriginalID"].rpartition("-")
        if not group or not number.isdecimal():
            raise InputError(f"{path}: expected an OriginalID such as SC-HF-I-1, found {row['OriginalID']!r}")
        patients.append((row["PatientID"], f"{group}-{int(number):02d}", row["Pathology"]))
    return patients


def _read_splits(path: Path) -> dict[str, str]:
    if not path.is_file():
        return CHALLENGE_SPLITS
    splits = {row["patient"]: row["split"] for row in _read_csv(path, {"patient", "split"})}
    for patient, split in splits.items():
        splits[patient] = split_name(split, path)
    return {**CHALLENGE_SPLITS, **splits}


def _found(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}" if names else "nothing"
