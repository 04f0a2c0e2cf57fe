"""What a study's files say of the patient and the examination, besides the images."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from pydicom import Dataset

from .cine_files import CineStack
from .dicom import frame_headers, read_dicom

__all__ = ["StudyInfo", "read_study_info"]

# What makes sense; beyond it is taken for unknown, such as a height in cm where the standard has metres.
BEATS, HEIGHT, WEIGHT, AGE = (20.0, 250.0), (30.0, 250.0), (1.0, 400.0), (0.0, 120.0)
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


@dataclass(frozen=True)
class StudyInfo:
    """What is known of a study; None for what is not.

    Attributes:
        heart_rate: beats a minute.
        heart_rate_from: where it is from: "HeartRate", "NominalInterval", "RRIntervalTimeNominal", "TriggerTime", or
            "given".
        height_cm, weight_kg: of the patient.
        sex: "M" or "F".
        age_years: at the examination.
        date: of the study, such as "2012-03-01".
        description: of the series.
        patient_id, patient_name: on request, see :func:`read_study_info`.
    """

    heart_rate: float | None = None
    heart_rate_from: str | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    sex: str | None = None
    age_years: float | None = None
    date: str | None = None
    description: str | None = None
    patient_id: str | None = None
    patient_name: str | None = None

    def given(
        self, heart_rate: float | None = None, height_cm: float | None = None, weight_kg: float | None = None
    ) -> StudyInfo:
        """The same with what a reader says, where that is not None."""
        said: dict[str, Any] = {"height_cm": height_cm, "weight_kg": weight_kg}
        if heart_rate is not None:
            said |= {"heart_rate": heart_rate, "heart_rate_from": "given"}
        return replace(self, **{name: value for name, value in said.items() if value is not None})


def read_study_info(cine: CineStack, patient_name: bool = False) -> StudyInfo:
    """What the header of a cine's first file says; of NIfTI, which says nothing, only Nones.

    The heart rate is HeartRate, or follows from the R-R interval (NominalInterval, in enhanced files
    RRIntervalTimeNominal), or else from the frames' trigger times: these are taken to cover the whole cycle evenly,
    which they don't where the acquisition stops before the next beat, and the rate is then too high.

    Args:
        cine: as it was read.
        patient_name: whether to read the patient's name and number too.

    Raises:
        FileNotFoundError, InputError: when the file is gone or damaged.
    """
    if not cine.files:
        return StudyInfo()
    path = cine.files[0][0]
    header = frame_headers(read_dicom(path, pixels=False), path)[0]
    rate, source = _heart_rate(header, cine)
    metres = _number(header, "PatientSize", HEIGHT[0] / 100, HEIGHT[1] / 100)
    sex = _text(header, "PatientSex")
    return StudyInfo(
        heart_rate=rate,
        heart_rate_from=source,
        height_cm=None if metres is None else round(100 * metres, 1),
        weight_kg=_number(header, "PatientWeight", *WEIGHT),
        sex=sex if sex in ("M", "F") else None,
        age_years=_age(_text(header, "PatientAge")),
        date=_date(_text(header, "StudyDate")),
        description=_text(header, "SeriesDescription"),
        patient_id=_text(header, "PatientID") if patient_name else None,
        patient_name=_text(header, "PatientName") if patient_name else None,
    )


def _heart_rate(header: Dataset, cine: CineStack) -> tuple[float | None, str | None]:
    low, high = BEATS
    if rate := _number(header, "HeartRate", low, high):
        return rate, "HeartRate"
    for keyword in ("NominalInterval", "RRIntervalTimeNominal"):
        if interval := _number(header, keyword, 60_000 / high, 60_000 / low):
            return round(60_000 / interval, 1), keyword
    times = cine.times
    if times is not None and len(times) > 2:
        cycle = (times[-1] - times[0]) * len(times) / (len(times) - 1)
        if 60_000 / high <= cycle <= 60_000 / low:
            return round(60_000 / float(cycle), 1), "TriggerTime"
    return None, None


def _number(header: Dataset, keyword: str, low: float, high: float) -> float | None:
    try:
        value: Any = header.get(keyword)
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # absent, empty, or not what the standard has
        return None
    return number if low <= number <= high else None


def _text(header: Dataset, keyword: str) -> str | None:
    try:
        value = header.get(keyword)
    except Exception:  # pydicom decodes what the file holds only now
        return None
    text = " ".join(str(value).replace("^", " ").split()) if value is not None else ""
    return text or None


def _age(text: str | None) -> float | None:
    found = re.fullmatch(r"(\d{1,3})([YMWD])", text or "")
    if not found:
        return None
    age = int(found[1]) * YEARS[found[2]]
    return round(age, 1) if AGE[0] <= age <= AGE[1] else None


def _date(text: str | None) -> str | None:
    """Without month and day where these are 0, as in files that were made anonymous."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text or "")
    if not found:
        return None
    year, month, day = found.groups()
    if month == "00" or day == "00":
        return year
    return f"{year}-{month}-{day}"
