"""A phantom's cines as a datastore, and the real MONAI Label server on them."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from transforms.phantom import Phantom, write_scd

SIZE, PHASES, SLICES = (64, 80), 10, 2
PATIENT = {"PatientName": "Secret^Person", "PatientID": "ID-4711", "PatientBirthDate": "19431203"}


@dataclass
class Cines:
    """The datastore's folder, and the truth of what is in it."""

    folder: Path
    series: Path  # DICOM, of phantom 0
    series_id: str
    lumens: dict[str, np.ndarray]  # (T, H, W) by id of an (x, y, time) cine
    ed: dict[str, int]
    patient: dict[str, str]  # of the series; in no log


@pytest.fixture(scope="session")
def cines(tmp_path_factory):
    source = write_scd(tmp_path_factory.mktemp("label") / "phantom", 3, size=SIZE, phases=PHASES, slices=SLICES)
    folder = tmp_path_factory.mktemp("studies")
    series = folder / "patient" / "cine"
    series.mkdir(parents=True)
    for file in next(source.glob("SCD_IMAGES_01/SCD0000101/*")).iterdir():
        image = pydicom.dcmread(file)
        for name, value in PATIENT.items():
            setattr(image, name, value)
        image.save_as(series / file.name)
    lumens, ed = {}, {}
    for seed, name in enumerate(("one", "two")):
        phantom = Phantom(seed, SIZE, phases=PHASES, slices=SLICES)
        cine = sitk.GetImageFromArray(np.asarray(phantom.cine(0), np.float32))
        cine.SetSpacing((1.5, 1.25, 30))
        sitk.WriteImage(cine, folder / f"{name}.nii.gz")
        lumens[name] = np.array([phantom.lumen(0, phase) for phase in range(PHASES)])
        ed[name] = int(lumens[name].sum((1, 2)).argmax())
    mark = hashlib.sha256(b"patient/cine").hexdigest()[:8]
    return Cines(folder, series, f"patient_cine_{mark}", lumens, ed, PATIENT)


@pytest.fixture(scope="session")
def drawn(cines, tmp_path_factory):
    """The lumen drawn at end-diastole, as (x, y, time) NIfTI in the cine's geometry, by id."""
    folder = tmp_path_factory.mktemp("drawn")
    files = {}
    for name, lumens in cines.lumens.items():
        mask = np.zeros(lumens.shape, np.uint8)
        mask[cines.ed[name]] = lumens[cines.ed[name]]
        image = sitk.GetImageFromArray(mask)
        image.CopyInformation(sitk.ReadImage(cines.folder / f"{name}.nii.gz"))
        files[name] = folder / f"{name}.nii.gz"
        sitk.WriteImage(image, files[name])
    return files


@dataclass
class Server:
    url: str
    log: Path
    process: Any  # psutil's
    model_dir: Path


@contextmanager
def running(studies, folder, **settings):
    """``monailabel start_server --app app --studies …`` on a free port, its log in a file."""
    import psutil  # both come with MONAI Label
    import requests

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, model_dir = folder / "server.log", folder / "model"
    app = Path(__file__).parents[3] / "app"
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", app, "--studies", studies]
    command += ["--host", "127.0.0.1", "--port", port, "--conf", "model_dir", model_dir]
    environment = {**os.environ, "MONAI_LABEL_SESSION_PATH": str(folder / "sessions"), **settings}
    with log.open("w") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                if requests.get(f"{url}/info/", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.25)
        else:
            raise AssertionError(f"no answer: {log.read_text()[-3000:]}")
        yield Server(url, log, psutil.Process(process.pid), model_dir)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def start_server():
    return running


@pytest.fixture(scope="session")
def server(cines, tmp_path_factory):
    with running(cines.folder, tmp_path_factory.mktemp("server")) as server:
        yield server
