"""What a network is compared with in 3-D: fields in our convention, against a deformation that is known."""

from __future__ import annotations

import importlib.util

import itk
import numpy as np
import pytest
import torch

from app.experiments.dense_peers import DemonsInferer, GreedyInferer, SynInferer
from app.experiments.peers import ElastixDefaultInferer, ElastixInferer, IdentityInferer, PrepareSpacedPair
from dirnet.fields.resampling import warp

SPACING = (2.0, 1.0, 1.5)  # slice, row, column
SHIFT = (1.5, -3.0, 2.0)  # voxels


def installed(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def batch():
    """Blobs in a volume of unequal sides and voxels; in the moving one they lie SHIFT further."""
    size = (24, 40, 32)
    places = torch.from_numpy(np.indices(size).astype(np.float32))
    draw = np.random.default_rng(0)
    fixed = torch.zeros(size)
    for centre, height in zip(draw.uniform(0.2, 0.8, (12, 3)) * size, draw.uniform(0.2, 1, 12), strict=True):
        mm = (places - torch.tensor(centre).float().view(3, 1, 1, 1)) * torch.tensor(SPACING).view(3, 1, 1, 1)
        fixed += height * torch.exp(-(mm**2).sum(0) / 50)
    fixed = (fixed / fixed.max())[None, None]
    shift = torch.tensor(SHIFT).view(1, 3, 1, 1, 1).expand(1, 3, *size)
    moving = warp(fixed, -shift)
    masks = {"moving_masks": (moving > 0.5).byte(), "fixed_masks": (fixed > 0.5).byte()}
    return {"moving": moving, "fixed": fixed, **masks, "spacing": torch.tensor([SPACING], dtype=torch.float64)}


PEERS = {
    "elastix, affine": lambda: ElastixDefaultInferer(["affine"]),
    "elastix, affine and spline": lambda: ElastixInferer(8, 2, 100, spatial_dims=3, affine=True),
    "demons": DemonsInferer,
    "demons alone": lambda: DemonsInferer(affine=False),
    "SyN": pytest.param(SynInferer, marks=installed("dipy")),
    "SyN alone": pytest.param(lambda: SynInferer(affine=False), marks=installed("dipy")),
    "greedy": pytest.param(GreedyInferer, marks=installed("picsl_greedy")),
    "greedy alone": pytest.param(lambda: GreedyInferer(affine=False), marks=installed("picsl_greedy")),
}


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_a_shift_is_found_in_voxels_and_array_order(batch, peer):
    inputs, target, _, options = PrepareSpacedPair()(batch, "cpu")
    found = peer()(inputs, torch.nn.Identity(), **options)
    assert found["ddf"].shape == (1, 3, 24, 40, 32)
    drawn = target["fixed_masks"][0, 0] > 0
    assert found["ddf"][0][:, drawn].mean(1).tolist() == pytest.approx(SHIFT, abs=0.5)
    wrong = (found["warped_masks"][0, 0] != drawn).sum() / drawn.sum()
    assert wrong < 0.2 < 0.9 < (options["masks"][0, 0].bool() != drawn).sum() / drawn.sum()
    assert found["seconds"] > 0


def test_stages_of_elastix_are_composed_as_transformix_does(batch, tmp_path):
    """With a turn in the affine stage: which of the two comes first, matters."""
    inferer = ElastixInferer(8, 2, 60, spatial_dims=3, affine=True)
    turned = torch.nn.functional.affine_grid(
        torch.tensor([[[0.96, -0.2, 0, 0.1], [0.2, 0.96, 0.1, 0], [0, 0, 1.05, 0.05]]]), (1, 1, 24, 40, 32), False
    )
    moving = torch.nn.functional.grid_sample(batch["fixed"], turned, align_corners=False)
    spacing = torch.tensor([SPACING])
    ddf = inferer(torch.cat([moving, batch["fixed"]], 1), torch.nn.Identity(), spacing=spacing)["ddf"][0]
    images = [itk.image_view_from_array(image[0, 0].contiguous().numpy()) for image in (batch["fixed"], moving)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    _, transform = itk.elastix_registration_method(*images, parameter_object=inferer.parameters)
    field = itk.transformix_deformation_field(images[1], transform, output_directory=str(tmp_path))
    expected = torch.from_numpy(itk.array_from_image(field).copy()).movedim(-1, 0)[[2, 1, 0]]
    assert expected.abs().max() > 3
    assert torch.allclose(ddf, expected / torch.tensor(SPACING).view(3, 1, 1, 1), atol=2e-3)


def test_no_registration_of_volumes(batch):
    inputs, _, _, options = PrepareSpacedPair()(batch, "cpu")
    found = IdentityInferer()(inputs, torch.nn.Identity(), **options)
    assert found["ddf"].shape == (1, 3, 24, 40, 32)
    assert not found["ddf"].any()
