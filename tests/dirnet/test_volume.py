"""Volumes are registered in 3-D, on the fixed volume's own grid, wherever the two lie and however their axes run."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dirnet.errors import InputError
from dirnet.files.nifti import read_displacement
from dirnet.nets.cascade import Cascade
from dirnet.nets.networks import DIRNet
from dirnet.registrar import Registrar

SIZE = (24, 37, 30)  # slices, rows, columns
STAGE = {"class": "dirnet.nets.pyramid.PyramidDIRNet", "channels": [4, 4, 4, 4], "boundary": "replicate", "spacing": 2}


@pytest.fixture(scope="module")
def registrar():
    """Of an untrained network that moves a volume by some voxels."""
    torch.manual_seed(3)
    network = Cascade([STAGE], {"channels": [4, 4, 4]}, 3).eval()
    for name, parameter in network.named_parameters():
        if "output" in name:
            torch.nn.init.normal_(parameter, std=0.06)
    return Registrar(network, "cpu")


def volume(seed, size=SIZE, axes="LPS", **changes):
    """A smooth volume of 1 x 1.5 x 2 mm, oblique."""
    coarse = torch.rand(1, 1, 5, 5, 5, generator=torch.Generator().manual_seed(seed))
    array = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear")[0, 0].numpy() * 300
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin(changes.get("origin", (-20.0, 5.0, 30.0)))
    c, s = np.cos(0.2), np.sin(0.2)
    image.SetDirection([c, -s, 0, s, c, 0, 0, 0, 1])
    return sitk.DICOMOrient(image, axes)


def test_the_transform_and_the_field_warp_as_the_registration_does(registrar):
    fixed, moving = volume(0), volume(1, origin=(-18.0, 4.0, 33.0))
    found = registrar.register_volume(moving, fixed)
    assert np.abs(found.ddf).max() > 1.0
    outside = -1.0
    warped = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, found.transform, sitk.sitkLinear, outside))
    inside = warped != outside
    assert inside.mean() > 0.7
    np.testing.assert_allclose(warped[inside], found.warped[inside], atol=1e-3)
    # the displaced voxel, by hand
    place = (11, 20, 14)
    there = np.add(place, found.ddf[(slice(None), *place)])[::-1].tolist()
    value = moving.EvaluateAtPhysicalPoint(fixed.TransformContinuousIndexToPhysicalPoint(there), sitk.sitkLinear)
    assert value == pytest.approx(found.warped[place], abs=1e-2)


@pytest.mark.parametrize("axes", ["RAS", "ASL"])
def test_however_the_axes_run_the_result_is_the_same_and_on_the_fixed_grid(registrar, axes):
    fixed, moving = volume(0), volume(1)
    expected = registrar.register_volume(moving, fixed)
    found = registrar.register_volume(sitk.DICOMOrient(moving, "PIR"), sitk.DICOMOrient(fixed, axes))
    assert found.warped_image.GetDirection() == sitk.DICOMOrient(fixed, axes).GetDirection()
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(found.warped_image, "LPS"))
    np.testing.assert_allclose(back, expected.warped, atol=0.05)
    assert found.ncc_after == pytest.approx(expected.ncc_after, abs=1e-4)


def test_centers_find_a_volume_that_lies_elsewhere(registrar):
    fixed, moving = volume(0), volume(1)
    away = sitk.Image(moving)
    away.SetOrigin((500.0, 500.0, 500.0))
    expected = registrar.register_volume(moving, fixed, "centers")
    found = registrar.register_volume(away, fixed, "centers")
    np.testing.assert_allclose(found.warped, expected.warped, atol=0.05)
    shift = np.linalg.norm(found.ddf - expected.ddf, axis=0).mean()
    assert shift > 100  # the field says where the moving volume really lies


def test_labels_keep_their_values_and_go_with_the_image(registrar):
    fixed, moving = volume(0), volume(1)
    labels = np.zeros(SIZE, np.uint8)
    labels[8:16, 10:20, 8:20], labels[8:16, 20:30, 8:20] = 2, 7
    found = registrar.register_volume(moving, fixed)
    warped = found.warp_labels(labels)
    assert set(np.unique(warped)) == {0, 2, 7}
    drawn = sitk.GetImageFromArray((labels == 7).astype(np.float32))
    drawn.CopyInformation(moving)
    alone = sitk.GetArrayFromImage(sitk.Resample(drawn, fixed, found.transform, sitk.sitkLinear, 0.0)) > 0.5
    assert alone.sum() > 100
    assert (warped == 7)[alone].all()
    assert (warped == 7).sum() < 1.1 * alone.sum()  # where no label reaches 0.5, at the seam
    with pytest.raises(InputError, match="labels: expected whole numbers from 0"):
        found.warp_labels(labels[1:])


def test_labels_of_a_file_or_an_image_lie_where_they_say(registrar, tmp_path):
    """Whatever the order of their axes and those of the moving volume's."""
    fixed, moving = volume(0), volume(1, axes="RAS")
    drawn = sitk.Image(volume(1).GetSize(), sitk.sitkUInt8)
    drawn.CopyInformation(volume(1))
    drawn[4:12, 20:30, 3:10] = 3
    expected = registrar.register_volume(volume(1), fixed).warp_labels(sitk.GetArrayFromImage(drawn))
    assert (expected == 3).sum() > 100
    sitk.WriteImage(drawn, tmp_path / "label.nii.gz")
    sitk.WriteImage(moving, tmp_path / "moving.nii.gz")
    found = registrar.register_volume(tmp_path / "moving.nii.gz", fixed)
    for label in (drawn, sitk.DICOMOrient(drawn, "RAS"), tmp_path / "label.nii.gz"):
        assert np.array_equal(found.warp_labels(label), expected)
    elsewhere = sitk.Image(drawn)
    elsewhere.SetOrigin((0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="labels: expected labels at the image's place"):
        found.warp_labels(elsewhere)


def test_structures_that_touch_leave_no_gap(registrar):
    size = np.array(SIZE)
    labels = np.ones(size, np.uint8)
    labels[:, : size[1] // 2] = 2
    assert registrar.register_volume(volume(1), volume(0)).warp_labels(labels).all()


def test_a_file_is_registered_on_its_own_grid(registrar, tmp_path):
    fixed = volume(0, axes="RAS")
    sitk.WriteImage(fixed, tmp_path / "fixed.nii.gz")
    found = registrar.register_volume(volume(1), tmp_path / "fixed.nii.gz")
    np.testing.assert_allclose(found.warped_image.GetDirection(), fixed.GetDirection(), atol=1e-6)


def test_volumes_that_do_not_lie_on_each_other_are_refused(registrar):
    away = volume(1, origin=(900.0, 5.0, 30.0))
    with pytest.raises(InputError, match=r"moving covers 0 % of fixed.*--align centers"):
        registrar.register_volume(away, volume(0))
    with pytest.raises(InputError, match=r"moving has no place in space.*differ in size"):
        registrar.register_volume(np.ones((20, 20, 20)), volume(0))
    found = registrar.register_volume(sitk.GetArrayFromImage(volume(1)), volume(0))  # of one size: voxel by voxel
    np.testing.assert_allclose(found.warped, registrar.register_volume(volume(1), volume(0)).warped, atol=0.05)


def test_what_is_written_reads_back(registrar, tmp_path):
    fixed, moving = volume(0, axes="RAS"), volume(1)
    found = registrar.register_volume(moving, fixed)
    found.save(tmp_path, "a", ["nifti", "itk", "numpy", "picture"])
    field = read_displacement(tmp_path / "a_ddf.nii.gz")
    np.testing.assert_allclose(field, found.ddf, atol=1e-3)
    np.testing.assert_allclose(np.load(tmp_path / "a_ddf.npy"), found.ddf)
    transform = sitk.ReadTransform(tmp_path / "a_transform.h5")
    point = fixed.TransformIndexToPhysicalPoint((10, 12, 9))
    np.testing.assert_allclose(transform.TransformPoint(point), found.transform.TransformPoint(point))
    with pytest.raises(InputError, match="the format dicom is of single slices"):
        found.save(tmp_path, "b", ["dicom"])


def test_weights_of_volumes_are_refused_at_once_where_slices_are_wanted():
    with pytest.raises(InputError, match=r"register volumes \(3-D\), not slices"):
        Registrar.load("hippocampus", "cpu", spatial_dims=2)
    assert Registrar.load("hippocampus", "cpu", spatial_dims=3).spatial_dims == 3


def test_slices_and_volumes_each_have_their_weights(registrar):
    with pytest.raises(InputError, match=r"register volumes \(3-D\), not slices"):
        registrar.register(np.zeros((32, 32)), np.zeros((32, 32)))
    flat = Registrar(DIRNet().eval(), "cpu")
    with pytest.raises(InputError, match=r"register slices \(2-D\), not volumes"):
        flat.register_volume(volume(0), volume(1))
    with pytest.raises(InputError, match="moving: expected a volume"):
        registrar.register_volume(np.zeros((8, 8)), volume(1))
    with pytest.raises(InputError, match="align: expected one of"):
        registrar.register_volume(volume(0), volume(1), "corners")
