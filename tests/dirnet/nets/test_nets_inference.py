"""A network made ready registers as it did."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.utils import set_determinism

from dirnet.nets.inference import FusedDIRNet, for_inference
from dirnet.nets.networks import DIRNet
from dirnet.speed import cpu
from dirnet.speed.cpu import fusion_works
from dirnet.training.engines import compile_layers

fused_only = pytest.mark.skipif(not fusion_works("cpu"), reason="layers are fused on Linux on x86-64 alone")


def trained(**options):
    """A network with normalisation and control points other than a new one's."""
    set_determinism(0)
    network = DIRNet(**options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for _ in range(3):
        network(torch.rand(4, 2, *[64] * network.spatial_dims))
    return network.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "max"},
        {"pooling": "stride"},
        {"extra_convolutions": True, "boundary": "replicate"},
        {"spline": "thin_plate"},
        {"fully_connected": (64, 64)},
        {"spatial_dims": 3, "channels": 4},
    ],
    ids=str,
)
def test_prepared_network_gives_the_same_field(options):
    network = trained(**options)
    pair = torch.rand(2, 2, *[64] * network.spatial_dims)
    expected = network(pair)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(for_inference(network, "cpu", amp=False)(pair), expected, atol=1e-4, rtol=1e-4)


@fused_only
def test_bfloat16_is_as_near_as_autocast_is():
    network, pair = trained(channels=16, poolings=3), torch.rand(2, 2, 64, 96)
    exact = network.control_points(pair)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network.control_points(pair)
    found = for_inference(network, "cpu", amp=True).control_points(pair)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    assert (found - exact).abs().max() < 2 * (coarse - exact).abs().max()


@fused_only
@pytest.mark.parametrize("amp", [False, True])
def test_autocast_around_it_changes_nothing(amp):
    network, pair = for_inference(trained(), "cpu", amp), torch.rand(1, 2, 48, 64)
    expected = network.control_points(pair)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.control_points(pair), expected)


@fused_only
def test_a_pair_has_one_field_in_whatever_batch_and_order_of_sizes():
    network = for_inference(trained(), "cpu", amp=False)
    pairs = {size: torch.rand(3, 2, *size) for size in ((48, 64), (64, 48), (50, 70), (16, 16))}
    first = {size: network(pair) for size, pair in pairs.items()}
    for size in reversed(pairs):
        assert first[size].shape == (3, 2, *size)
        for number in range(3):
            torch.testing.assert_close(network(pairs[size][number : number + 1])[0], first[size][number])


@fused_only
def test_threads_share_it():
    network = for_inference(trained(channels=8), "cpu", amp=True)
    pairs = [torch.rand(1, 2, 32, 32 + 16 * (number % 4)) for number in range(16)]
    expected = [network.control_points(pair) for pair in pairs]
    new = for_inference(trained(channels=8), "cpu", amp=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(new.control_points, pairs))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@fused_only
def test_other_programs_are_fused_no_more_than_before():
    was_enabled = torch.jit.onednn_fusion_enabled()
    networks = [for_inference(trained(channels=4), "cpu", amp=False) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for size in (16, 32, 48):
            list(pool.map(lambda network, size=size: network(torch.zeros(1, 2, size, 16)), networks))
    assert torch.jit.onednn_fusion_enabled() == was_enabled


@fused_only
def test_it_draws_no_random_numbers_and_stays_in_eval_mode():
    network = for_inference(trained(fully_connected=(64, 64)), "cpu", amp=False)
    pair, state = torch.rand(2, 2, 64, 64), torch.get_rng_state()
    network.train()  # as MONAI's evaluators do when they are done
    expected = network(pair)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.modules())
    torch.testing.assert_close(network(pair[:1]), expected[:1])


def test_the_network_itself_is_left_alone():
    network = trained()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prepared = for_inference(network, "cpu", amp=True)
    assert prepared.definition == network.definition
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training is False


def test_a_copy_of_a_compiled_network_computes_with_its_own_layers():
    network, pair = trained(), torch.rand(1, 2, 32, 32)
    compile_layers(network)  # nothing is compiled before it is called
    folded = network.fold_normalization()
    torch.nn.init.zeros_(folded.regressor[-1].weight)
    torch.nn.init.zeros_(folded.regressor[-1].bias)
    assert not folded(pair).any()


def test_wrong_pairs_are_refused_as_ever():
    with pytest.raises(ValueError, match=r"a 2-D DIRNet takes \(B, 2, ...\)"):
        for_inference(trained(), "cpu", amp=False)(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"fully connected layers for size \[64, 64\]"):
        for_inference(trained(fully_connected=(64, 64)), "cpu", amp=False)(torch.rand(1, 2, 32, 32))


def test_where_fusion_does_not_work_the_folded_network_registers(monkeypatch):
    monkeypatch.setattr(cpu.platform, "machine", lambda: "arm64")
    network, pair = trained(), torch.rand(1, 2, 32, 32)
    prepared = for_inference(network, "cpu", amp=False)
    assert isinstance(prepared, DIRNet)
    assert not isinstance(prepared, FusedDIRNet)
    torch.testing.assert_close(prepared(pair), network(pair), atol=1e-4, rtol=1e-4)
