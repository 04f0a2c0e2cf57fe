"""Stages one after the other: what each sees, and what they are together."""

import pytest
import torch

from dirnet.fields.resampling import warp
from dirnet.nets.cascade import Cascade
from dirnet.nets.weights import load_network

PYRAMID = {"class": "dirnet.nets.pyramid.PyramidDIRNet", "channels": [4, 4, 4, 4], "boundary": "replicate"}
COARSE = {"class": "dirnet.nets.networks.DIRNet", "channels": 4, "poolings": 3}
SIZES = {2: (40, 50), 3: (24, 37, 30)}


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def unsettled(*stages, affine=None, dims=2):
    torch.manual_seed(0)
    network = Cascade(stages, affine, dims).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("dims", [2, 3])
def test_starts_at_the_identity(dims):
    assert not Cascade([COARSE, PYRAMID], {"channels": [4, 4, 4]}, dims).eval()(noise(1, 2, *SIZES[dims])).any()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("affine", [None, {"channels": [4, 4, 4]}])
def test_scripts_and_answers_its_displacement(dims, affine):
    network, pair = unsettled(COARSE, PYRAMID, affine=affine, dims=dims), noise(2, 2, *SIZES[dims])
    found = network.displacement(pair)
    assert found.ddf.std() > 0.01
    assert len(found.parts) == (2 if affine is None else 3)
    torch.testing.assert_close(network(pair), found.ddf, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.jit.script(network)(pair), found.ddf, atol=1e-4, rtol=0)
    torch.testing.assert_close(network.fold_normalization()(pair), found.ddf, atol=1e-3, rtol=0)


def test_a_stage_sees_what_the_ones_before_have_left_and_the_affine_map_comes_first():
    network, pair = unsettled(PYRAMID, affine={"channels": [4, 4, 4]}), noise(1, 2, *SIZES[2])
    first = network.affine.displacement(pair)
    seen = torch.cat([warp(pair[:, :1], first.ddf), pair[:, 1:]], 1)
    second = network.stages[0].displacement(seen)
    torch.testing.assert_close(network.displacement(pair).ddf, first.then(second).ddf, atol=1e-5, rtol=0)


def test_its_checkpoint_makes_it_anew(tmp_path):
    network = unsettled(PYRAMID, affine={"channels": [4, 4, 4]}, dims=3)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    again, pair = load_network(tmp_path / "model.pt"), noise(1, 2, *SIZES[3])
    assert torch.equal(again(pair), network(pair))


def test_errors():
    with pytest.raises(ValueError, match="got neither"):
        Cascade()
    with pytest.raises(ValueError, match="a stage is"):
        Cascade([{"poolings": 3}])
    with pytest.raises(ValueError, match="has no option pooling_count"):
        Cascade([{**COARSE, "pooling_count": 3}])
