"""A disk that fills up while results are written, in every format: an error that names the folder, and nothing left."""

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch

from dirnet.cine import save_animation
from dirnet.cine.follow import follow
from dirnet.cine.saving import save
from dirnet.files.formats import FOLLOWED, FORMATS
from dirnet.files.itk import displacement_transform, write_transform
from dirnet.files.nifti import write_image
from dirnet.files.tables import write_csv
from dirnet.registrar import Registrar
from dirnet.training.state import TrainingState
from tests.interruptions import contents, file_size_limited
from transforms.cine_files import read_cine_stack


@pytest.fixture(scope="module")
def cine(phantom_dir):
    return read_cine_stack(next(phantom_dir.glob("SCD_IMAGES_01/SCD0000101/*")))


@pytest.fixture(scope="module")
def registration(cine):
    return Registrar.load().register(*cine.files[0][:2])


@pytest.fixture(scope="module")
def followed(cine):
    drawn = np.zeros(cine.images.shape, bool)
    drawn[0, 0, 15:30, 20:40] = True
    return follow(Registrar.load(), cine, {"lumen": drawn})


def check_full_disk(write, folder, files):
    """Write to disks on which the largest file does not fit."""
    write(folder / "whole")
    sizes = sorted(len(content) for name, content in contents(folder / "whole").items())
    assert len(sizes) == files
    last = sizes[-1] - 100  # written as a file is closed; a DICOM UID drawn anew may be some digits shorter
    for size in {0, 40, *(sizes[-1] * part // 10 for part in (1, 4, 7)), last}:
        with file_size_limited(size), pytest.raises(OSError, match=f"^'{folder}/full' cannot be written to: "):
            write(folder / "full")
        assert not (folder / "full").exists(), size


@pytest.mark.parametrize("form", FORMATS)
def test_a_registration_is_whole_or_not_there(registration, form, tmp_path):
    check_full_disk(lambda folder: registration.save(folder, "r", [form]), tmp_path, len(FORMATS[form]))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_image_without_a_place_is_whole_or_not_there(name, tmp_path):
    check_full_disk(lambda folder: write_image(folder / name, IMAGE, placed=False), tmp_path, 1)


def test_a_followed_cine_is_whole_or_not_there(followed, tmp_path):
    check_full_disk(lambda folder: save(followed, folder, "f", formats=list(FOLLOWED)), tmp_path, 12)


IMAGE = sitk.GetImageFromArray(np.random.default_rng(0).random((40, 50)).astype(np.float32))
FIELD = displacement_transform(np.random.default_rng(0).random((2, 40, 50)), IMAGE)
TABLE = pd.DataFrame(np.random.default_rng(0).random((500, 4)))
IMAGES = np.random.default_rng(0).random((5, 20, 20))


def write_checkpoint(path):
    state = TrainingState.__new__(TrainingState)
    state.folder = path.parent
    state._write(path.name, torch.arange(1000))


WRITERS = {
    "a.nii": lambda path: write_image(path, IMAGE),
    "a.nii.gz": lambda path: write_image(path, IMAGE),
    "a.tfm": lambda path: write_transform(path, FIELD),
    "a.h5": lambda path: write_transform(path, FIELD),
    "a.csv": lambda path: write_csv(path, TABLE),
    "a.gif": lambda path: save_animation(path, IMAGES, IMAGES > 0.5, 0),
    "a.pt": write_checkpoint,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_single_file_is_whole_or_not_there(name, tmp_path):
    check_full_disk(lambda folder: WRITERS[name](folder / name), tmp_path, 1)
