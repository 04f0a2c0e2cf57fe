"""A whole cine followed: its volumes and files."""

import json

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dirnet import Registrar
from dirnet.cine.follow import follow, save
from transforms.cine_files import read_cine_stack
from transforms.drawings import read_masks
from transforms.phantom import write_scd

PHASES = 3


@pytest.fixture(scope="module")
def registrar():
    return Registrar.load()


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The DICOM files of one phantom: 5 slices, 3 phases, 10 mm apart."""
    folder = write_scd(tmp_path_factory.mktemp("phantom") / "a", patients=3, size=(48, 48), phases=PHASES, slices=5)
    return next(folder.glob("SCD_IMAGES_01/SCD0000101/*"))


def discs(cine, radius=8):
    """(S, H, W), the same on all slices."""
    slices, _, height, width = cine.images.shape
    rows, columns = np.ogrid[:height, :width]
    disc = np.hypot(rows - height / 2, columns - width / 2) < radius
    return np.repeat(disc[None], slices, 0)


def test_each_slice_counts_by_its_own_height(tmp_path, registrar, series, caplog):
    """Without its second slice the two beside it stand for 15 mm."""
    (tmp_path / "cine").mkdir()
    for path in series.iterdir():
        if (int(pydicom.dcmread(path).InstanceNumber) - 1) // PHASES != 1:
            (tmp_path / "cine" / path.name).write_bytes(path.read_bytes())
    cine = read_cine_stack(tmp_path / "cine")
    followed = follow(registrar, cine, discs(cine), 0)
    assert cine.positions == pytest.approx([0, 20, 30, 40], abs=0.01)
    assert followed.volume.ml == pytest.approx([15, 15, 10, 10] @ followed.areas / 1000, rel=1e-3)
    assert followed.numbers["slice_distances_mm"] == pytest.approx([20, 10, 10], abs=0.01)

    save(followed, tmp_path, "a")
    assert json.loads((tmp_path / "a_numbers.json").read_text()) == followed.numbers
    assert "a_masks.nii.gz: has no place in space" in caplog.text
    assert np.array_equal(read_masks(tmp_path / "a_masks.nii.gz", cine), followed.masks)  # pixel by pixel
    assert np.array_equal(read_masks(tmp_path / "a_segmentation.dcm", cine), followed.masks)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / "a_masks.nii.gz"))
    reader.ReadImageInformation()
    assert (reader.GetMetaData("qform_code"), reader.GetMetaData("sform_code")) == ("0", "0")


def test_masks_lie_where_the_cine_does(tmp_path, registrar, series, caplog):
    cine = read_cine_stack(series)
    followed = follow(registrar, cine, discs(cine), 0)
    save(followed, tmp_path, "a")
    assert not caplog.records
    masks = sitk.ReadImage(str(tmp_path / "a_masks.nii.gz"))
    for number, grid in enumerate(cine.grids):
        assert masks.TransformIndexToPhysicalPoint((0, 0, number, 0))[:3] == pytest.approx(grid.GetOrigin(), abs=0.02)
