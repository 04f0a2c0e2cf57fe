from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from dirnet.errors import InputError
from dirnet.fields.masks import dice
from dirnet.fields.resampling import warp
from dirnet.files import exports
from dirnet.files.dicom import read_deformable_registration
from dirnet.files.images import as_image, pixels
from dirnet.nets.networks import DIRNet
from dirnet.registrar import Registrar
from tests.dicom import mr_image
from transforms.cine import scale_intensity
from transforms.phantom import Phantom


@pytest.fixture(scope="module")
def network():
    """An untrained network that moves an image by some pixels, not everywhere alike."""
    torch.manual_seed(0)
    network = DIRNet(poolings=3)
    torch.nn.init.normal_(network.regressor[-1].weight, std=5)
    torch.nn.init.constant_(network.regressor[-1].bias, 1)
    return network.eval()


@pytest.fixture(scope="module")
def registrar(network):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dirnet.registrar.bfloat16_pays", lambda device, spatial_dims: False)
        return Registrar(network, "cpu")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((2, 48, 60), np.float32) * 1000 - 200


def test_field_and_warp_are_the_networks(registrar, network, images):
    found = registrar.register(*images)
    pair = torch.from_numpy(np.stack([scale_intensity(image) for image in images]))[None]
    with torch.no_grad():
        ddf = network(pair)
    assert np.allclose(found.ddf, ddf[0], atol=1e-4)
    assert np.abs(found.ddf).max() > 1
    expected = warp(torch.from_numpy(images[:1])[None], ddf)[0, 0]
    assert np.allclose(found.warped, expected, atol=0.05)  # of intensities of 1,000
    assert found.parts[0].control_points.shape == (1, 2, 6, 8)
    assert -1 <= found.ncc_after <= 1
    assert found.ncc_before == pytest.approx(np.corrcoef(*pair[0].flatten(1))[0, 1], abs=1e-3)


@pytest.mark.parametrize("kind", ["array", "channel", "tensor", "meta", "sitk", "file"])
def test_all_kinds_of_image_give_the_same_field(registrar, images, tmp_path, kind):
    def convert(image):
        if kind == "file":
            sitk.WriteImage(sitk.GetImageFromArray(image), tmp_path / "image.nii.gz")
            return tmp_path / "image.nii.gz"
        convert = {
            "array": np.asarray,
            "channel": lambda image: image[None],
            "tensor": torch.from_numpy,
            "meta": lambda image: MetaTensor(image[None], affine=torch.eye(4)),
            "sitk": sitk.GetImageFromArray,
        }
        return convert[kind](image)

    expected = registrar.register(*images).ddf
    assert np.allclose(registrar.register(convert(images[0]), images[1]).ddf, expected, atol=1e-4)


def test_a_metatensor_lies_where_its_file_does(tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((1, 12, 20), np.float32))
    image.SetSpacing((1.2, 0.7, 8))
    image.SetOrigin((-30, 12, 7))
    image.SetDirection(np.array([[0, 0.6, 0.8], [1, 0, 0], [0, 0.8, -0.6]]).ravel().tolist())
    sitk.WriteImage(image, tmp_path / "slice.nii.gz")
    loaded = as_image(LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "slice.nii.gz"))
    array = pixels(loaded)
    for column, row in ((0, 0), (5, 3), (19, 11)):
        # MONAI has x first, so the array's axes are swapped; the point in space is the same
        assert array[column, row] == pytest.approx(image[column, row, 0])
        expected = image.TransformIndexToPhysicalPoint((column, row, 0))
        assert loaded.TransformIndexToPhysicalPoint((row, column, 0)) == pytest.approx(expected, abs=1e-4)


def test_warped_image_lies_on_the_fixed_one(registrar, images):
    moving, fixed = (sitk.GetImageFromArray(image[None]) for image in images)
    fixed.SetOrigin((5, 6, 7))
    for image in (moving, fixed):
        image.SetSpacing((1.5, 1.1, 8))
    found = registrar.register(moving, fixed)
    assert found.warped_image.GetOrigin() == (5, 6, 7)
    assert np.array_equal(sitk.GetArrayFromImage(found.warped_image)[0], found.warped)


def test_a_cine_is_registered_frame_by_frame_from_the_drawn_one(registrar):
    phantom = Phantom(0, (64, 80), phases=6, slices=1)
    cine = phantom.cine(0)
    mask = phantom.lumen(0, 2)
    found = registrar.propagate(cine, mask, frame=2)
    assert np.array_equal(found.masks[2], mask > 0)
    assert not found.ddf[2].any()
    scaled = scale_intensity(cine)
    pair = torch.from_numpy(scaled[[2, 4]])[None]
    with torch.no_grad():
        ddf = registrar.network(pair)
    assert np.allclose(found.ddf[4], ddf[0], atol=1e-4)
    assert found.masks.shape == cine.shape
    warped = (warp(torch.from_numpy(mask).float()[None, None], ddf) > 0.5)[0, 0].numpy()
    assert (found.masks[4] != warped).sum() < 0.05 * warped.sum()  # by the signed distance, which is smoother
    assert (found.ncc_before[2], found.ncc_after[2]) == pytest.approx((1, 1))


def test_shipped_weights_follow_a_phantom():
    phantom = Phantom(3, (128, 128), phases=8, slices=1)
    cine = phantom.cine(0)
    masks = torch.stack([torch.as_tensor(phantom.lumen(0, phase)) for phase in range(8)])[:, None]
    found = Registrar.load().propagate(cine, masks[0, 0].numpy(), frame=0)
    before = dice(masks[:1].expand_as(masks), masks)
    after = dice(torch.from_numpy(found.masks)[:, None], masks)
    assert after.min() > 0.8
    assert after.mean() > before.mean() + 0.05


def test_threads_share_a_network(registrar, images):
    rng = np.random.default_rng(1)
    pairs = [rng.random((2, 48, 60), np.float32) for _ in range(12)]
    expected = [registrar.register(*pair).ddf for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: registrar.register(*pair).ddf, pairs))
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_a_checkpoint_says_which_network_it_is_of(network, tmp_path):
    (tmp_path / "training").mkdir()
    torch.save(network.state_dict(), tmp_path / "training" / "model.pt")
    loaded = Registrar.load(tmp_path / "training").network
    assert loaded.definition == network.definition
    assert Registrar.load("unsupervised").network.definition["channels"] == 32
    assert Registrar.load().network.definition == Registrar.load("contours").network.definition
    with pytest.raises(
        FileNotFoundError, match=r"holds no models/model\.pt of a bundle and no model\.pt of a training"
    ):
        Registrar.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Registrar.load(tmp_path / "nowhere.pt")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: it holds no definition of a network"):
        Registrar.load(tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"text\.pt is not a checkpoint of tensors, or is damaged"):
        Registrar.load(tmp_path / "text.pt")


def test_wrong_input_is_named(registrar, images):
    with pytest.raises(
        ValueError, match=r"moving and fixed differ in size .*moving has 48x60 of 1 x 1 mm, fixed has 40x60"
    ):
        registrar.register(images[0], images[1][:40])
    with pytest.raises(ValueError, match=r"fixed: expected one slice \(H, W\), found an array of \(2, 48, 60\)"):
        registrar.register(images[0], images)
    with pytest.raises(ValueError, match="moving: holds values that are not finite"):
        registrar.register(np.full((48, 60), np.nan), images[0])
    with pytest.raises(ValueError, match="frame must be 0 to 1, got 2"):
        registrar.propagate(images, images[0] > 0, 2)
    with pytest.raises(ValueError, match="frame must be 0 to 1, got -1"):
        registrar.propagate(images, images[0] > 0, -1)
    with pytest.raises(ValueError, match="the mask is empty"):
        registrar.propagate(images, np.zeros((48, 60)), 0)
    with pytest.raises(ValueError, match="mask of 48x50, images of 48x60"):
        registrar.propagate(images, np.ones((48, 50)), 0)
    with pytest.raises(ValueError, match="expected the mask of one structure"):
        registrar.propagate(images, np.arange(2880).reshape(48, 60), 0)
    with pytest.raises(ValueError, match=r"expected a cine \(T, H, W\) of two frames or more"):
        registrar.propagate(images[:1], images[0] > 0, 0)


def test_slices_whose_axes_run_apart_are_refused(registrar, tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).random((1, 24, 24), np.float32))
    sitk.WriteImage(image, tmp_path / "slice.nii.gz")
    loaded = LoadImage(image_only=True, ensure_channel_first=True)(tmp_path / "slice.nii.gz")
    assert registrar.register(loaded, loaded).ncc_before == pytest.approx(1)
    with pytest.raises(ValueError, match="the rows of moving and fixed run in different directions"):
        registrar.register(loaded, tmp_path / "slice.nii.gz")
    with pytest.raises(ValueError, match="expected a MetaTensor whose slice axis is the last"):
        as_image(MetaTensor(torch.rand(1, 1, 24, 24), affine=torch.eye(4)))


def test_no_file_is_left_of_a_format_that_cannot_be(registrar, images, tmp_path):
    with pytest.raises(ValueError, match="moving is no DICOM file: an array"):
        registrar.register(*images).save(tmp_path, formats=["nifti", "dicom"])
    assert not list(tmp_path.iterdir())


def test_a_failure_midway_leaves_the_files_that_were_there(registrar, images, tmp_path, monkeypatch):
    registration = registrar.register(*images)
    written = registration.save(tmp_path, formats=["itk", "numpy", "picture"])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(written) == sorted(before)

    def no_space(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(exports, "save_picture", no_space)
    other = registrar.register(images[1], images[0])
    with pytest.raises(OSError, match="No space left"):
        other.save(tmp_path, formats=["itk", "numpy", "picture"], overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_image_without_a_place_lies_where_the_other_does(registrar, images, caplog):
    fixed = sitk.GetImageFromArray(images[1][None])
    fixed.SetSpacing([1.3, 1.4, 8])
    fixed.SetOrigin([5, 6, 7])
    found = registrar.register(images[0], fixed)
    assert found.moving.GetOrigin() == found.fixed.GetOrigin() == (5, 6, 7)
    assert np.allclose(found.ddf, registrar.register(*images).ddf)
    assert "moving has no place in space: taken to lie where fixed does, pixel by pixel" in caplog.text


def test_a_propagation_takes_the_way_that_it_is_given(registrar, images):
    cine = np.stack([images[0], images[1], images[0]])
    mask = np.zeros(images[0].shape, bool)
    mask[10:20, 12:25] = True

    def shifted(registrar, frames, frame):
        ddf = torch.zeros(len(frames), 2, *mask.shape)
        ddf[1, 0] = -3  # the second frame's content lies 3 rows lower
        return ddf

    found = registrar.propagate(cine, mask, 0, shifted)
    expected = np.stack([np.roll(mask, 3, 0), mask])
    assert (found.masks[1:] != expected).sum() <= 8  # of its corners


def test_results_are_compared_by_identity(registrar, images):
    """Arrays have no one truth value: equality of fields would raise."""
    found = registrar.register(*images)
    assert found == found
    assert found != registrar.register(*images)
    assert len({found, found}) == 1


def slice_at(path, size, spacing, origin):
    """A DICOM file whose intensities grow with the place: 1000 + 3 x + 2 y, in mm."""
    y, x = (np.arange(n) * mm + start for n, mm, start in zip(size, spacing, origin[1::-1], strict=True))
    pixels = np.rint(1000 + 3 * x + 2 * y[:, None]).astype(np.uint16)
    mr_image(pixels, PixelSpacing=list(spacing), ImagePositionPatient=list(origin)).save_as(path)
    return path


@pytest.fixture
def shifting():
    """Displaces all by 2 px down and 1 px to the left."""
    network = DIRNet(poolings=3)
    torch.nn.init.zeros_(network.regressor[-1].weight)
    network.regressor[-1].bias.data[:] = torch.tensor([2.0, -1.0])
    return Registrar(network.eval(), "cpu")


def test_another_size_and_spacing_is_resampled_by_its_place(shifting, tmp_path, caplog):
    fixed = slice_at(tmp_path / "fixed.dcm", (48, 64), (1.5, 1.25), (-40, -36, 0))
    moving = slice_at(tmp_path / "moving.dcm", (120, 150), (0.8, 0.7), (-50, -45, 1))
    found = shifting.register(moving, fixed)
    assert "moving.dcm) has 120x150 of 0.8 x 0.7 mm" in caplog.text
    assert "resampled onto the fixed image's grid" in caplog.text

    inside = (slice(16, 30), slice(20, 44))  # where the spline has not faded
    assert np.allclose(found.ddf[0][inside], 2, atol=1e-3)
    assert np.allclose(found.ddf[1][inside], -1, atol=1e-3)
    rows, columns = np.indices((48, 64))
    shifted = 1000 + 3 * (-40 + 1.25 * (columns - 1)) + 2 * (-36 + 1.5 * (rows + 2))
    assert np.abs(found.warped - shifted)[inside].max() < 0.6  # intensities are rounded

    found.save(tmp_path, "a", ["itk", "nifti", "dicom"])
    place, there = (0.0, 0.0, 0.0), (-1.25, 3.0, 0.0)
    field = sitk.ReadImage(str(tmp_path / "a_ddf.nii.gz"), sitk.sitkVectorFloat64)
    transforms = [
        sitk.ReadTransform(str(tmp_path / "a_transform.h5")),
        sitk.DisplacementFieldTransform(read_deformable_registration(tmp_path / "a_registration.dcm")),
        sitk.DisplacementFieldTransform(field),
    ]
    for transform in transforms:
        assert transform.TransformPoint(place) == pytest.approx(there, abs=1e-3)
    again = sitk.Resample(as_image(moving), as_image(fixed), transforms[0], sitk.sitkLinear)
    assert np.allclose(pixels(again)[inside], found.warped[inside], atol=1e-2)
    assert np.abs(pixels(as_image(tmp_path / "a_warped.dcm")) - shifted)[inside].max() < 1.1

    y, x = np.indices((120, 150)) * np.array([0.8, 0.7])[:, None, None] + np.array([-45, -50])[:, None, None]
    disc = np.hypot(x, y) < 12
    expected = np.hypot(1.25 * (columns - 1) - 40, 1.5 * (rows + 2) - 36) < 12
    assert (found.warp_mask(disc) != expected).sum() < 0.04 * expected.sum()


def test_what_cannot_be_resampled_is_refused(shifting, tmp_path):
    fixed = slice_at(tmp_path / "fixed.dcm", (48, 64), (1.5, 1.25), (-40, -36, 0))

    def refused(moving, message):
        with pytest.raises(InputError, match=message):
            shifting.register(moving, fixed)

    away = slice_at(tmp_path / "away.dcm", (48, 64), (1, 1), (-40, -36, 9))
    refused(away, r"away\.dcm\) has 48x64 of 1 x 1 mm, .*their planes lie 9\.0 mm apart")
    beside = slice_at(tmp_path / "beside.dcm", (48, 64), (1, 1), (20, -36, 0))
    refused(beside, r"beside\.dcm\) covers \d+ % of .*fixed\.dcm\) alone")
    refused(np.zeros((40, 64), np.float32), r"moving has 40x64 .*both need one")
    flat = sitk.GetImageFromArray(np.random.default_rng(0).random((48, 64)))
    flat.SetSpacing((2, 2))
    refused(flat, r"moving has 48x64 of 2 x 2 mm.*both need one")
    nib.save(nib.Nifti1Image(np.ones((48, 64, 1), np.float32), np.diag([2.0, 2, 8, 1])), tmp_path / "nowhere.nii")
    refused(tmp_path / "nowhere.nii", r"nowhere\.nii\) has 64x48 .*both need one")
    sitk.WriteImage(flat, tmp_path / "flat.nii")
    refused(tmp_path / "flat.nii", r"flat\.nii\) has 48x64 of 2 x 2 mm.*both need one")


def test_slices_of_one_grid_in_different_planes_are_said(shifting, tmp_path, caplog):
    fixed = slice_at(tmp_path / "fixed.dcm", (48, 64), (1.5, 1.25), (-40, -36, 0))
    shifting.register(slice_at(tmp_path / "near.dcm", (48, 64), (1.5, 1.25), (-40, -36, 3)), fixed)
    assert not caplog.records
    shifting.register(slice_at(tmp_path / "far.dcm", (48, 64), (1.5, 1.25), (-40, -36, 20)), fixed)
    assert "far.dcm) and fixed (" in caplog.text
    assert "their planes lie 20.0 mm apart, tilted by 0 degrees; registered pixel by pixel all the same" in caplog.text
