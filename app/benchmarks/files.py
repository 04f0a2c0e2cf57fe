"""Reading studies: what series a folder holds, and the cine in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from transforms.cine_files import read_cine_stack
from transforms.dicom_series import find_series
from transforms.phantom import write_scd

from .measure import SIZE, Bench, Line, Row

__all__ = ["rows"]

SLICES, PHASES = 12, 25
SERIES, SLICES_OF_EACH = 40, 5
LEAST_LISTED, LEAST_READ, LEAST_OF_STUDY = 300, 200, 500  # files a second: 300 in 1 s and 1.5 s, 5,000 in 10 s


def rows(bench: Bench) -> Iterator[list[Row]]:
    """A cine of 300 files is listed and read, and a study of 5,000 files of 40 series listed, in this process and as
    ``dirnet list``. The files were written just before: the system still has them in memory."""
    write_scd(bench.folder / "files", size=(SIZE, SIZE), patients=3, phases=PHASES, slices=SLICES)
    series = next((bench.folder / "files").glob("SCD_IMAGES_01/SCD0000101/*"))
    files = sorted(series.iterdir())
    study = _study(bench.folder / "study", files[: SLICES_OF_EACH * PHASES])
    yield bench.measure(
        [
            Line("find_series, one cine", lambda: find_series(series), len(files), least_rate=LEAST_LISTED),
            Line("read_cine_stack", lambda: read_cine_stack(series), len(files), least_rate=LEAST_READ),
            Line("dirnet list, as a command", lambda: _list(series), len(files)),
        ]
    )
    count = SERIES * SLICES_OF_EACH * PHASES
    yield bench.measure(
        [
            Line(f"find_series, {SERIES} series", lambda: find_series(study), count, least_rate=LEAST_OF_STUDY),
            Line("dirnet list, as a command", lambda: _list(study), count, least_rate=LEAST_OF_STUDY),
        ]
    )


def _study(folder: Path, files: Sequence[Path]) -> Path:
    """One study of several series in folders of their own: the same files, as other acquisitions."""
    for number in range(1, SERIES + 1):
        series = folder / f"{number:02d}"
        series.mkdir(parents=True)
        uid = generate_uid()
        for path in files:
            image = pydicom.dcmread(path)
            image.SeriesInstanceUID, image.SeriesNumber = uid, number
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.save_as(series / path.name)
    return folder


def _list(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "app.command_line", "list", folder], check=True, capture_output=True)
