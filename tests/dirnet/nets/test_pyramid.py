"""The pyramid network: its velocities, its second stage, and what every network must do."""

import pytest
import torch
from torch import nn

from dirnet.fields.composition import compose
from dirnet.fields.jacobian import folded_percent
from dirnet.fields.resampling import warp
from dirnet.nets.pyramid import PyramidDIRNet, integrate, sample_at

CHANNELS = (4, 6, 8, 8)


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(amplitude, size=(64, 72), seed=0):
    """A velocity field without steep changes that leaves the border where it is, (1, 2, H, W)."""
    coarse = nn.functional.pad(noise(1, 2, 5, 5, seed=seed) - 0.5, [1, 1, 1, 1])
    return amplitude * nn.functional.interpolate(coarse, size=size, mode="bicubic", align_corners=True)


def unsettled(**options):
    """A network in eval mode that is not the identity, nor its batch normalisation."""
    torch.manual_seed(0)
    network = PyramidDIRNet(CHANNELS, **options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.1, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Conv3d) and module.out_channels == network.spatial_dims:
            nn.init.normal_(module.weight, std=0.2)
    return network


@pytest.mark.parametrize("size", [(20, 28), (12, 20, 9)])
def test_sampling_is_the_project_s_warp(size):
    image, field = noise(2, 3, *size), 9 * (noise(2, len(size), *size, seed=1) - 0.5)
    torch.testing.assert_close(sample_at(image, field), warp(image, field), atol=1e-5, rtol=0)


def test_a_constant_velocity_is_its_own_displacement():
    velocity = torch.tensor([1.5, -2.25]).view(1, 2, 1, 1).expand(1, 2, 9, 12)
    torch.testing.assert_close(integrate(velocity, 6), velocity, atol=1e-5, rtol=0)
    assert torch.equal(integrate(velocity, 0), velocity)


def test_the_negative_velocity_gives_the_inverse_and_nothing_folds():
    velocity = smooth(8.0, size=(96, 104))
    there, back = integrate(velocity, 7), integrate(-velocity, 7)
    assert there.abs().max() > 3
    assert compose(there, back).abs().max() < 0.05
    assert folded_percent(there).item() == 0


def test_integration_follows_the_flow():
    """Against many small steps of Euler's method along the velocity."""
    velocity, steps = smooth(6.0), 512
    walked = torch.zeros_like(velocity)
    for _ in range(steps):
        walked = walked + warp(velocity, walked) / steps
    torch.testing.assert_close(integrate(velocity, 8), walked, atol=0.05, rtol=0)


@pytest.mark.parametrize("stages", [1, 2])
def test_starts_at_the_identity_and_takes_any_size(stages):
    network = PyramidDIRNet(CHANNELS, stages=stages).eval()
    field = network(noise(2, 2, 37, 50))
    assert torch.equal(field, torch.zeros(2, 2, 37, 50))


KINDS = {
    "one stage": {},
    "two stages": {"stages": 2},
    "finer": {"spacing": 2},
    "symmetric": {"symmetric": True},
    "3-D": {"spatial_dims": 3, "stages": 2},
    "3-D, finer": {"spatial_dims": 3, "spacing": 2},
}
every_kind = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_scripts_and_answers_its_displacement(options):
    network = unsettled(**options)
    scripted = torch.jit.script(network)
    for size in ((24, 32), (21, 34)):
        pair = noise(2, 2, *size, *[18] * (network.spatial_dims - 2))
        found = network.displacement(pair)
        assert found.ddf.std() > 0.002
        torch.testing.assert_close(scripted(pair), found.ddf, atol=1e-5, rtol=0)
        (part,) = found.parts
        assert (part.spacing, part.order) == ((options.get("spacing", 4),) * network.spatial_dims, 3)
        assert torch.equal(part.control_points, network.control_points(pair))


def test_the_second_stage_is_composed_with_the_first():
    network = unsettled(stages=2)
    pair = noise(1, 2, 32, 32)
    features = network.regressor.features(pair)
    first = network.integrated(network.regressor.output(features))
    second = network.integrated(network.refiner(network.warped_cells(pair, first), features))
    expected = compose(first / 4, second / 4) * 4  # the control points' own grid has steps of 4 pixels
    torch.testing.assert_close(network.control_points(pair), expected, atol=1e-4, rtol=0)
    moved = torch.full_like(first, 4.0)  # a shift by two cells
    cells = network.warped_cells(pair, moved)
    torch.testing.assert_close(cells[:, :4, :-2, :-2], nn.functional.pixel_unshuffle(pair, 2)[:, :4, 2:, 2:])


def test_exchanged_images_give_the_negative_velocities_where_it_is_symmetric():
    network, pair = unsettled(symmetric=True, squarings=0), noise(2, 2, 32, 32)
    torch.testing.assert_close(network(pair.flip(1)), -network(pair), atol=1e-5, rtol=0)


def test_a_volume_of_a_few_slices_is_taken():
    assert unsettled(spatial_dims=3, spacing=2)(noise(1, 2, 5, 20, 8)).shape == (1, 3, 5, 20, 8)


@every_kind
def test_folded_normalization_gives_the_same_field(options):
    network = unsettled(**options)
    pair = noise(2, 2, 24, 32, *[16] * (network.spatial_dims - 2))
    folded = network.fold_normalization()
    torch.testing.assert_close(folded(pair), network(pair), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in folded.modules())


@every_kind
def test_every_weight_has_a_gradient(options):
    network = unsettled(**options).train()
    network(noise(2, 2, 48, 48, *[32] * (network.spatial_dims - 2))).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in network.parameters())


def test_errors():
    with pytest.raises(ValueError, match="four numbers"):
        PyramidDIRNet((1, 2))
    with pytest.raises(ValueError, match="spacing must be 2 or 4"):
        PyramidDIRNet(CHANNELS, spacing=8)
    with pytest.raises(ValueError, match="a second stage"):
        PyramidDIRNet(CHANNELS, spacing=2, stages=2)
    with pytest.raises(ValueError, match=r"takes \(B, 2, H, W\).*got \[1, 3, 32, 32\]"):
        PyramidDIRNet(CHANNELS)(noise(1, 3, 32, 32))
