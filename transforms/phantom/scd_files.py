"""Phantoms as files, in the layout that SCD is distributed in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from .. import scd
from .folders import dealt_splits, new_folder, seed_of_patient
from .heart import Phantom

CHALLENGE_NAMES = {"test": "online"}  # of splits, in 2009
SERIES = 300  # number of the short-axis cine among a patient's series


def write_scd(
    folder: str | Path,
    patients: int = 12,
    size: tuple[int, int] = (128, 128),
    phases: int = 20,
    slices: int = 3,
    seed: int = 0,
) -> Path:
    """Writes phantoms as SCD is distributed: DICOM, contour files, and the table of patients.

    `splits.csv` (patient, split) is added, since these patients are in no list of the 2009 challenge:
    about two thirds training, the rest half validation, half online. The folder appears whole or not at
    all. Two seeds share no patient.

    Raises:
        FileExistsError: the folder is there already and not empty.
        ValueError: fewer than three patients, who cannot fill three splits.
    """
    with new_folder(folder) as unfinished:
        table, lists = ["PatientID,OriginalID,Gender,Age,Pathology"], ["patient,split"]
        for number, split in enumerate(dealt_splits(patients), 1):
            phantom = Phantom(seed_of_patient(seed, number), size, phases, slices)
            name, images = f"PH-{number:02d}", f"SCD{number:05d}01"
            folder_of_images = unfinished / scd.IMAGE_FOLDER.format(part="01", image_id=images)
            _write_cines(folder_of_images / scd.CINE_FOLDER.format(series=SERIES), phantom, images)
            _write_contours(unfinished / scd.CONTOUR_FOLDER.format(patient=name, reader="IRCCI-expert"), phantom)
            gender, age = ("Female", "Male")[number % 2], 30 + 7 * number % 50
            table.append(f"{images},PH-{number},{gender},{age},{phantom.pathology}")
            lists.append(f"{name},{CHALLENGE_NAMES.get(split, split)}")
        (unfinished / scd.PATIENTS_FILE).write_text("\n".join(table) + "\n", encoding="utf-8-sig")
        (unfinished / scd.SPLITS_FILE).write_text("\n".join(lists) + "\n", encoding="utf-8")
    return Path(folder).resolve()


def _write_contours(folder: Path, phantom: Phantom) -> None:
    """Lumen at ED and ES, epicardium at ED alone, as SCD has them."""
    folder.mkdir(parents=True)
    kinds = {structure: kind for kind, structure in scd.CONTOURS.items()}
    for slice in range(phantom.slices):
        for structure, phase in (("lumen", phantom.ed), ("lumen", phantom.es), ("epicardium", phantom.ed)):
            instance = f"{slice * phantom.phases + phase + 1:04d}"
            file = scd.CONTOUR_FILE.format(series="0001", instance=instance, kind=kinds[structure])
            np.savetxt(folder / file, phantom.contour(slice, phase, structure), fmt="%.2f")


def _write_cines(folder: Path, phantom: Phantom, patient: str) -> None:
    """One DICOM file a frame, int16; InstanceNumber goes through the phases of a slice, then on."""
    folder.mkdir(parents=True)
    source = [patient, *map(str, (phantom.seed, phantom.size, phantom.phases, phantom.slices))]

    def uid(of: str) -> str:
        return generate_uid(entropy_srcs=[*source, of])

    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # put right as it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    # With preamble and complete file meta, pydicom 2 and 3 both write the standard's file format.
    image = FileDataset("", {}, preamble=bytes(128), file_meta=meta, is_implicit_VR=False)
    across, down = np.array([0, 0.6, -0.8]), np.array([-0.8, -0.48, -0.36])  # oblique, as a true short axis
    rows, columns = phantom.size
    corner = -(across * phantom.spacing[1] * (columns - 1) + down * phantom.spacing[0] * (rows - 1)) / 2
    beat = 700 + phantom.seed % 7 * 50  # ms
    # fmt: off
    header = {
        "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["DERIVED", "SECONDARY", "CARDIAC", "PHANTOM"],
        "SOPClassUID": MRImageStorage, "StudyInstanceUID": uid("study"), "SeriesInstanceUID": uid("series"),
        "StudyDate": "", "StudyTime": "", "AccessionNumber": "", "ReferringPhysicianName": "", "StudyID": "",
        "PatientName": f"Phantom^{patient}", "PatientID": patient, "PatientBirthDate": "", "PatientSex": "",
        "SeriesDescription": "Synthetic short-axis cine, no person", "SeriesNumber": SERIES, "Modality": "MR",
        "Manufacturer": "monai-dirnet", "ManufacturerModelName": "phantom", "PatientPosition": "HFS",
        "ScanningSequence": "GR", "SequenceVariant": "SS", "ScanOptions": "CG", "MRAcquisitionType": "2D",
        "RepetitionTime": "", "EchoTime": "", "EchoTrainLength": "", "NominalInterval": beat,
        "CardiacNumberOfImages": phantom.phases, "PositionReferenceIndicator": "",
        "FrameOfReferenceUID": uid("frame of reference"), "ImageOrientationPatient": [*across, *down],
        "SliceThickness": phantom.thickness, "SpacingBetweenSlices": phantom.thickness,
        "Rows": rows, "Columns": columns, "PixelSpacing": list(phantom.spacing),
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1,
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "WindowCenter": 300, "WindowWidth": 600,
    }
    # fmt: on
    for keyword, value in header.items():
        setattr(image, keyword, value)
    for slice in range(phantom.slices):
        image.SliceLocation = location = slice * phantom.thickness
        position = corner - location * np.cross(across, down)  # from base to apex: left, forwards and down
        image.ImagePositionPatient = [f"{v:.4f}" for v in position]
        for phase, frame in enumerate(phantom.cine(slice)):
            image.InstanceNumber = number = slice * phantom.phases + phase + 1
            image.TriggerTime = f"{beat * phase / phantom.phases:.3f}"
            image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = UID(uid(str(number)))
            image.PixelData = frame.round().clip(0, 32767).astype("<i2").tobytes()
            image.save_as(folder / scd.FRAME_FILE.format(series="0001", instance=f"{number:04d}"))
