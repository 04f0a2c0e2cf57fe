"""elastix as an inferer: its field in our convention, against a motion that is known."""

from __future__ import annotations

import itk
import pytest
import torch

from app.experiments.peers import ElastixInferer, IdentityInferer, OpticalFlowInferer
from dirnet.errors import InputError
from dirnet.fields.resampling import warp


@pytest.fixture(scope="module")
def pair():
    """A blob in an oblong image; in the moving one it lies 3 rows lower and 2 columns to the left."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    fixed = torch.exp(-((rows - 30) ** 2 + (columns - 50) ** 2) / 200)[None, None]
    shift = torch.tensor([3.0, -2.0])[None, :, None, None]
    return torch.cat([warp(fixed, -shift.expand(1, 2, 64, 96)), fixed], 1)


def test_elastix_finds_a_shift_in_rows_and_columns(pair):
    mask = (pair[:, :1] > 0.5).float()
    found = ElastixInferer(resolutions=3)(pair, torch.nn.Identity(), masks=mask)
    assert found["ddf"].shape == (1, 2, 64, 96)
    middle = found["ddf"][0, :, 20:40, 40:60].mean((1, 2))
    assert middle.tolist() == pytest.approx([3, -2], abs=0.3)
    assert (found["warped"] - pair[:, 1:]).abs().max() < 0.05
    assert ((found["warped_masks"] != (pair[:, 1:] > 0.5)).sum() / mask.sum()) < 0.05
    assert 0 < found["seconds"] < 60


def test_the_field_is_that_of_transformix(pair, tmp_path):
    inferer = ElastixInferer(grid_spacing=12)
    found = inferer(pair, torch.nn.Identity())["ddf"][0]
    moving, fixed = (itk.image_view_from_array(image.contiguous().numpy()) for image in pair[0])
    _, transform = itk.elastix_registration_method(fixed, moving, parameter_object=inferer.parameters)
    field = itk.transformix_deformation_field(moving, transform, output_directory=str(tmp_path))
    expected = torch.from_numpy(itk.array_from_image(field).copy())
    assert found.abs().max() > 2
    assert torch.allclose(found[[1, 0]].permute(1, 2, 0), expected, atol=1e-3)


def test_elastix_gives_the_same_twice_and_leaves_no_file(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = (ElastixInferer()(pair, torch.nn.Identity())["ddf"] for _ in range(2))
    assert torch.equal(first, second)
    assert not list(tmp_path.iterdir())


def test_bending_energy_smooths(pair):
    generator = torch.Generator().manual_seed(0)
    noisy = pair + 0.2 * torch.rand(pair.shape, generator=generator)
    free, stiff = (ElastixInferer(8, bending_energy=weight)(noisy, torch.nn.Identity())["ddf"] for weight in (0, 10))
    assert stiff.diff(n=2, dim=2).abs().mean() < 0.5 * free.diff(n=2, dim=2).abs().mean()


def test_no_registration_leaves_the_image(pair):
    found = IdentityInferer()(pair, torch.nn.Identity(), masks=pair[:, :1])
    assert torch.equal(found["warped"], pair[:, :1])
    assert torch.equal(found["warped_masks"], pair[:, :1] > 0.5)
    assert not found["ddf"].any()


@pytest.mark.parametrize("method", ["farneback", "dis"])
def test_optical_flow_finds_a_shift_in_rows_and_columns(pair, method):
    mask = (pair[:, :1] > 0.5).float()
    found = OpticalFlowInferer(method)(pair, torch.nn.Identity(), masks=mask)
    middle = found["ddf"][0, :, 20:40, 40:60].mean((1, 2))
    assert middle.tolist() == pytest.approx([3, -2], abs=0.3)
    assert ((found["warped_masks"] != (pair[:, 1:] > 0.5)).sum() / mask.sum()) < 0.05
    assert 0 < found["seconds"] < 60


def test_another_optical_flow_is_refused():
    with pytest.raises(InputError, match="expected farneback or dis, got 'lucas'"):
        OpticalFlowInferer("lucas")
