"""Phantoms in the layouts of public data sets with label images: 2 slices of 6 frames of 48x64 pixels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from transforms.phantom import Phantom
from transforms.phantom.motion import turn

PHASES, SLICES, SIZE = 6, 2, (48, 64)
SPACING = (1.4, 1.4, 9)  # x, y, slice
ACROSS, DOWN = np.array([0, 0.6, -0.8]), np.array([-0.8, -0.48, -0.36])  # oblique, as a true short axis
ACDC = {"rv": 1, "myocardium": 2, "lumen": 3}
MNMS = {"lumen": 1, "myocardium": 2, "rv": 3}


def phantom(seed: int) -> Phantom:
    return Phantom(seed, SIZE, PHASES, SLICES)


def structures(patient: Phantom, slice_: int, phase: int) -> dict[str, np.ndarray]:
    """Masks (H, W) of lumen, epicardium and rv; phantoms draw the first two."""
    anatomy, points = patient._anatomies[slice_], patient._material(slice_, phase)
    row, column = turn(points.reshape(2, -1), anatomy.tilt)
    right = anatomy.right.outside(np.stack([row, column, np.ones_like(row)]).astype(np.float32)).reshape(SIZE) < 0
    epicardium = patient.epicardium(slice_, phase)
    return {"lumen": patient.lumen(slice_, phase), "epicardium": epicardium, "rv": right & ~epicardium}


def labels(patient: Phantom, phase: int, values: dict[str, int]) -> np.ndarray:
    """(x, y, slice), uint8."""
    volume = np.zeros((SLICES, *SIZE), np.uint8)
    for slice_, image in enumerate(volume):
        masks = structures(patient, slice_, phase)
        image[masks["rv"]] = values["rv"]
        image[masks["epicardium"]] = values["myocardium"]
        image[masks["lumen"]] = values["lumen"]
    return volume.T


def frames(patient: Phantom) -> np.ndarray:
    """(x, y, slice, time), int16."""
    return np.stack([patient.cine(slice_) for slice_ in range(SLICES)]).transpose(3, 2, 0, 1).astype(np.int16)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([ACROSS, DOWN, np.cross(ACROSS, DOWN)], 1) * SPACING
    affine[:3, 3] = (-20, 40, 10)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim == 4:
        image.header.set_zooms((*SPACING, 0.04))
    nib.save(image, path)


def write_acdc(root: Path, patients: int = 4) -> Path:
    """All but the last in training."""
    for seed in range(patients):
        patient, name = phantom(seed), f"patient{seed + 1:03d}"
        folder = root / "database" / ("testing" if seed == patients - 1 else "training") / name
        save(frames(patient), folder / f"{name}_4d.nii.gz")
        for phase in (patient.ed, patient.es):
            save(labels(patient, phase, ACDC), folder / f"{name}_frame{phase + 1:02d}_gt.nii.gz")
        about = f"ED: {patient.ed + 1}\nES: {patient.es + 1}\nGroup: DCM\nHeight: 184.0\nNbFrame: {PHASES}\n"
        (folder / "Info.cfg").write_text(about)
    return root


def write_mnms(root: Path) -> Path:
    """Two in training, one without labels, one in validation, one in testing."""
    places = ("Training/Labeled", "Training/Labeled", "Training/Unlabeled", "Validation", "Testing")
    rows = [",External code,VendorName,Vendor,Centre,ED,ES,Age,Pathology,Sex,Height,Weight"]
    for seed, place in enumerate(places):
        patient, code = phantom(seed), f"A{seed}S9V9"
        drawn = np.zeros((*SIZE[::-1], SLICES, PHASES))
        for phase in (patient.ed, patient.es):
            drawn[..., phase] = labels(patient, phase, MNMS) * ("Unlabeled" not in place)
        save(frames(patient), root / place / code / f"{code}_sa.nii.gz")
        save(drawn, root / place / code / f"{code}_sa_gt.nii.gz")
        rows.append(f"{seed},{code},Siemens,A,1,{patient.ed},{patient.es},60,{'HCM' if seed % 2 else ''},F,160,60")
    rows.append("9,Z9Z9Z9,Siemens,A,1,0,3,60,NOR,F,160,60")  # distributed elsewhere
    (root / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv").write_text("\n".join(rows) + "\n")
    return root


def write_ukb(root: Path, patients: int = 3, copies: bool = True) -> Path:
    for seed in range(patients):
        patient, folder = phantom(seed), root / f"{1000000 + seed}"
        cine = frames(patient)
        save(cine, folder / "sa.nii.gz")
        for name, phase in (("ED", patient.ed), ("ES", patient.es)):
            save(labels(patient, phase, MNMS), folder / f"label_sa_{name}.nii.gz")
            if copies:
                save(cine[..., phase], folder / f"sa_{name}.nii.gz")
    return root
