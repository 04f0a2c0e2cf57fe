"""Stacks of slices at one time are registered as their slices are, and written as volumes."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dirnet.errors import InputError
from dirnet.files.nifti import read_displacement
from dirnet.nets.networks import DIRNet
from dirnet.registrar import Registrar
from tests.dicom import mr_image
from transforms.phantom import Phantom
from transforms.stacks import read_slices

SLICES, SIZE = 3, (48, 60)


@pytest.fixture(scope="module")
def registrar():
    """Of an untrained network that moves an image by some pixels."""
    torch.manual_seed(0)
    network = DIRNet(poolings=3)
    torch.nn.init.normal_(network.regressor[-1].weight, std=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dirnet.registrar.bfloat16_pays", lambda device, spatial_dims: False)
        return Registrar(network.eval(), "cpu")


@pytest.fixture(scope="module")
def phases():
    """A phantom's slices at two times, (S, H, W)."""
    phantom = Phantom(0, SIZE, phases=6, slices=SLICES)
    cines = np.stack([phantom.cine(number) for number in range(SLICES)])
    return cines[:, 3].astype(np.float32), cines[:, 0].astype(np.float32)


def volume(array, **changes):
    """Slices 8 mm apart, oblique."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(changes.get("spacing", (1.25, 1.5, 8)))
    image.SetDirection(np.array([[0, 0.6, 0.8], [1, 0, 0], [0, 0.8, -0.6]]).ravel().tolist())
    image.SetOrigin(changes.get("origin", (-30, 12, 7)))
    return image


def test_each_slice_is_registered_as_it_is_alone(registrar, phases):
    found = registrar.register_stack(*phases)
    for number, pair in enumerate(zip(*phases, strict=True)):
        alone = registrar.register(*pair)
        np.testing.assert_allclose(found.ddf[1:, number], alone.ddf, atol=1e-4)
        np.testing.assert_allclose(found.warped[number], alone.warped, atol=0.02)
        for score in ("folded_percent", "ncc_before", "ncc_network", "ncc_after"):
            assert getattr(found, score)[number] == pytest.approx(getattr(alone, score), abs=1e-4)
        mask = pair[0] > 500
        stack = np.zeros(phases[0].shape, bool)
        stack[number] = mask
        assert (found.warp_mask(stack)[number] != alone.warp_mask(mask)).sum() <= 1
    assert not found.ddf[0].any()


def test_files_are_volumes_that_resample_to_the_warped_one(registrar, phases, tmp_path):
    moving, fixed = (volume(array) for array in phases)
    found = registrar.register_stack(moving, fixed)
    found.save(tmp_path, "s", ["nifti", "itk", "numpy", "picture"])
    warped = sitk.ReadImage(str(tmp_path / "s_warped.nii.gz"))
    assert warped.GetSize() == fixed.GetSize()
    for part in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(warped, part)() == pytest.approx(getattr(fixed, part)(), abs=1e-4)
    np.testing.assert_allclose(read_displacement(tmp_path / "s_ddf.nii.gz"), found.ddf, atol=1e-3)
    np.testing.assert_array_equal(np.load(tmp_path / "s_ddf.npy"), found.ddf)
    field = sitk.ReadImage(str(tmp_path / "s_ddf.nii.gz"), sitk.sitkVectorFloat64)
    for transform in (sitk.ReadTransform(str(tmp_path / "s_transform.h5")), sitk.DisplacementFieldTransform(field)):
        resampled = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear))
        inside = (slice(None), slice(14, -14), slice(14, -14))
        np.testing.assert_allclose(resampled[inside], found.warped[inside], atol=1)
    with pytest.raises(InputError, match="the format dicom is of single slices"):
        found.save(tmp_path, "t", ["dicom"])


def test_slices_correspond_by_their_places(registrar, phases):
    moving, fixed = (volume(array) for array in phases)
    expected = registrar.register_stack(moving, fixed)
    turned = registrar.register_stack(moving[:, :, ::-1], fixed)
    np.testing.assert_allclose(turned.ddf, expected.ddf, atol=1e-5)
    below = np.add(fixed.GetOrigin(), 0.3 * 8 * np.reshape(fixed.GetDirection(), (3, 3))[:, 2]).tolist()
    registrar.register_stack(volume(phases[0], origin=below), fixed)
    below = np.add(fixed.GetOrigin(), 8 * np.reshape(fixed.GetDirection(), (3, 3))[:, 2]).tolist()
    with pytest.raises(InputError, match=r"do not correspond: slice 0 of the one lies 8\.0 mm from slice 0"):
        registrar.register_stack(volume(phases[0], origin=below), fixed)
    straight = volume(phases[0])
    straight.SetDirection(np.eye(3).ravel().tolist())
    with pytest.raises(InputError, match="tilted by 53 degrees"):
        registrar.register_stack(straight, fixed)
    for other in (moving[:, :, :2], moving[:-1], volume(phases[0], spacing=(1.3, 1.5, 8))):
        with pytest.raises(
            InputError, match=r"equally many slices of one size .* fixed has 3x48x60 of 1\.5 x 1\.25 mm"
        ):
            registrar.register_stack(other, fixed)


def write_series(folder, array, gaps=(0, 8, 16)):
    folder.mkdir()
    for number, pixels in enumerate(array.astype(np.uint16)):
        image = mr_image(pixels, InstanceNumber=9 - number, TriggerTime=0)
        image.ImagePositionPatient = [-48, -48, gaps[number]]
        image.save_as(folder / f"{number}.dcm")
    return folder


def test_a_dicom_series_of_one_time_is_a_stack(phases, tmp_path):
    image, placed = read_slices(write_series(tmp_path / "es", phases[0]))
    assert placed
    assert image.GetSpacing() == (1.25, 1.5, 8)
    assert image.GetOrigin() == (-48, -48, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), phases[0].astype(np.uint16))
    with pytest.raises(InputError, match=r"odd: its slices lie 8\.00 to 9\.00 mm apart"):
        read_slices(write_series(tmp_path / "odd", phases[0], (0, 8, 17)))
    mr_image(phases[0][0].astype(np.uint16), InstanceNumber=20, TriggerTime=300).save_as(tmp_path / "es" / "x.dcm")
    with pytest.raises(
        InputError, match=r"expected one series of one image at each place, found 0: .* found 2 at that"
    ):
        read_slices(tmp_path / "es")


def test_what_is_no_stack_is_refused(phases, tmp_path):
    times = sitk.GetImageFromArray(phases[0])
    times.SetSpacing((1.25, 1.5, 0.03))
    times.SetOrigin((1, 2, 3))
    sitk.WriteImage(times, tmp_path / "times.nii.gz")
    with pytest.raises(InputError, match=r"times\.nii\.gz: .* with a third axis of 0\.03: slices lie .* Is it time\?"):
        read_slices(tmp_path / "times.nii.gz")
    sitk.WriteImage(volume(phases[0])[:, :, :1], tmp_path / "one.nii.gz")
    with pytest.raises(
        InputError, match=r"expected slices of one time \(x, y, slice\), found an image of \(60, 48, 1\)"
    ):
        read_slices(tmp_path / "one.nii.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty' holds no DICOM file"):
        read_slices(tmp_path / "empty")


def test_shipped_weights_bring_two_stacks_together(phases):
    found = Registrar.load().register_stack(*phases)
    assert (found.ncc_after > found.ncc_before).all()
