"""Affine and rigid maps: of what kind they are, where they take a pixel, and what every network must do."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from dirnet.fields.displacement import grid
from dirnet.fields.jacobian import jacobian_determinant
from dirnet.files.itk import parts_transform
from dirnet.nets.affine import AffineNetwork

SIZES = {2: (37, 50), 3: (24, 37, 30)}
every_dimension = pytest.mark.parametrize("dims", [2, 3])


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def unsettled(dims, kind="affine", scale=0.1):
    torch.manual_seed(1)
    network = AffineNetwork(dims, (4, 4, 4), kind).eval()
    torch.nn.init.normal_(network.output.bias, std=scale)
    torch.nn.init.normal_(network.output.weight, std=scale)
    return network


@every_dimension
def test_starts_at_the_identity(dims):
    assert not AffineNetwork(dims).eval()(noise(2, 2, *SIZES[dims])).any()


@every_dimension
def test_a_rigid_map_keeps_lengths_and_an_affine_one_never_mirrors(dims):
    pair = noise(3, 2, *SIZES[dims])
    matrix, _ = unsettled(dims, "rigid", 2.0).maps(pair)
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(dims).expand_as(matrix), atol=1e-5, rtol=0)
    assert (matrix - torch.eye(dims)).abs().max() > 0.1
    affine, _ = unsettled(dims, "affine", 2.0).maps(pair)
    assert (affine.det() > 0).all()


@every_dimension
def test_its_field_is_the_map_about_the_centre(dims):
    network = unsettled(dims)
    found = network.displacement(noise(2, 2, *SIZES[dims]))
    (part,) = found.parts
    corner = torch.tensor(part.centre) * -1  # of pixel 0 from the centre
    expected = torch.einsum("bij,j->bi", part.matrix, corner) + part.translation - corner
    torch.testing.assert_close(found.ddf[(slice(None), slice(None), *[0] * dims)], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        jacobian_determinant(found.ddf).amax((1, *range(2, dims + 2))), part.matrix.det(), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("kind", ["2-D", "slice", "3-D"])
def test_as_an_itk_transform_it_takes_points_where_the_field_does(kind):
    dims = 3 if kind == "3-D" else 2
    size = SIZES[dims]
    found = unsettled(dims).displacement(noise(1, 2, *size))
    fixed = sitk.GetImageFromArray(np.zeros((1, *size) if kind == "slice" else size, np.float32))
    axes = fixed.GetDimension()
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    fixed.SetDirection((turn if axes == 2 else np.block([[turn, np.zeros((2, 1))], [0, 0, 1]])).ravel().tolist())
    fixed.SetSpacing([0.7, 1.9, 3.0][:axes])
    fixed.SetOrigin([-30.0, 12.0, 5.0][:axes])
    moving = sitk.Image(fixed)
    moving.SetOrigin([1.0, 2.0, 3.0][:axes])
    transform = parts_transform(found.parts, fixed, moving)
    for place in ((20, 17, 9)[-dims:], (3, 25, 22)[-dims:]):
        index = [int(n) for n in place[::-1]] + [0] * (axes - dims)
        there = transform.TransformPoint(fixed.TransformIndexToPhysicalPoint(index))
        found_index = moving.TransformPhysicalPointToContinuousIndex(there)[:dims][::-1]
        expected = np.add(place, found.ddf[(0, slice(None), *place)].detach())
        np.testing.assert_allclose(found_index, expected, atol=1e-3)


@every_dimension
def test_scripts_and_every_weight_has_a_gradient(dims):
    network, pair = unsettled(dims), noise(2, 2, *SIZES[dims])
    torch.testing.assert_close(torch.jit.script(network)(pair), network(pair), atol=1e-5, rtol=0)
    network.train()(pair).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_the_map_is_as_exact_under_autocast():
    network, pair = unsettled(3), noise(1, 2, *SIZES[3])
    with torch.autocast("cpu", torch.bfloat16):
        found = network.displacement(pair)
    (part,) = found.parts
    places = grid(found.ddf)
    torch.testing.assert_close(found.ddf, part.at(places), atol=1e-4, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(part.at(places), found.ddf, atol=1e-4, rtol=0)


def test_errors():
    with pytest.raises(ValueError, match="kind must be one of"):
        AffineNetwork(kind="similar")
    with pytest.raises(ValueError, match="three numbers"):
        AffineNetwork(channels=(1, 2))
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3, got 4"):
        AffineNetwork(4)
    with pytest.raises(ValueError, match="with 2 axes"):
        AffineNetwork()(noise(1, 2, 8, 8, 8))
