"""What tests of DICOM files share."""

import shutil
import subprocess

import pydicom
import pytest
from pydicom import config


def edit(source, target, **changes):
    """A copy of a DICOM file with elements changed, or removed where None."""
    with config.disable_value_validation():
        dataset = pydicom.dcmread(source)
        for keyword, value in changes.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(target)
    return target


def validator_errors(path):
    """What David Clunie's dciodvfy finds wrong."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy on this machine (Debian: apt install dicom3tools)")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.startswith(("MRImage", "DeformableSpatialRegistration", "Segmentation")) for line in lines)
    return [line for line in lines if line.startswith("Error")]
