"""What a study's header says of the patient; what makes no sense is unknown."""

import numpy as np
import pytest

from tests.dicom import enhanced_image, group, mr_image
from transforms.cine_files import CineStack, read_cine_stack
from transforms.study_info import StudyInfo, read_study_info

PATIENT = {
    "PatientSize": 1.8, "PatientWeight": 75, "PatientSex": "M", "PatientAge": "053Y", "StudyDate": "20120301",
    "SeriesDescription": "SAX cine", "PatientName": "Doe^Jane", "PatientID": "17",
}  # fmt: skip


def stack(folder, step=50, frames=12, **tags):
    """A cine of one slice whose files say ``tags``."""
    for frame in range(frames):
        image = mr_image(np.full((8, 8), frame, np.uint16), InstanceNumber=frame + 1, TriggerTime=step * frame, **tags)
        image.save_as(folder / f"{frame:02d}.dcm")
    return read_cine_stack(folder)


def test_patient_and_study(tmp_path):
    found = read_study_info(stack(tmp_path, HeartRate=61, **PATIENT))
    assert found == StudyInfo(61, "HeartRate", 180, 75, "M", 53, "2012-03-01", "SAX cine", None, None)
    assert read_study_info(read_cine_stack(tmp_path), patient_name=True).patient_name == "Doe Jane"


@pytest.mark.parametrize(
    ("tags", "rate", "source"),
    [
        ({"HeartRate": 61, "NominalInterval": 750}, 61, "HeartRate"),
        ({"HeartRate": 0, "NominalInterval": 750}, 80, "NominalInterval"),
        ({"RRIntervalTimeNominal": 800.0}, 75, "RRIntervalTimeNominal"),
        ({}, 100, "TriggerTime"),  # 12 frames of 50 ms
        ({"NominalInterval": 0, "HeartRate": 999}, 100, "TriggerTime"),
    ],
)
def test_where_the_heart_rate_is_from(tmp_path, tags, rate, source):
    found = read_study_info(stack(tmp_path, **tags))
    assert (found.heart_rate, found.heart_rate_from) == (rate, source)


def test_unknown_is_none_and_never_zero(tmp_path):
    odd = {"PatientSize": 180, "PatientWeight": 0, "PatientSex": "O", "PatientAge": "", "StudyDate": "20120000"}
    found = read_study_info(stack(tmp_path, step=0.1, **odd))
    assert found == StudyInfo(date="2012")
    assert read_study_info(CineStack(np.zeros((1, 2, 4, 4)), [], (1, 1), None)) == StudyInfo()


def test_what_a_reader_says_comes_first(tmp_path):
    found = read_study_info(stack(tmp_path, HeartRate=61, **PATIENT)).given(heart_rate=70, weight_kg=80)
    assert (found.heart_rate, found.heart_rate_from, found.height_cm, found.weight_kg) == (70, "given", 180, 80)


def test_an_enhanced_file_says_it_in_its_groups(tmp_path):
    items = [
        group(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 0]},
            FrameContentSequence={"TemporalPositionIndex": time + 1},
            CardiacSynchronizationSequence={
                "NominalCardiacTriggerDelayTime": 20.0 * time,
                "RRIntervalTimeNominal": 800.0,
            },
        )
        for time in range(3)
    ]
    enhanced_image(np.zeros((3, 8, 8), np.uint16), items).save_as(tmp_path / "a.dcm")
    found = read_study_info(read_cine_stack(tmp_path / "a.dcm"))
    assert (found.heart_rate, found.heart_rate_from) == (75, "RRIntervalTimeNominal")
