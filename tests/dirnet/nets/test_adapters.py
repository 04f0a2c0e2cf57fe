"""Networks of other makes, as ones that register."""

import numpy as np
import pytest
import torch

from dirnet import InputError, Registrar
from dirnet.nets.adapters import DenseNetwork, check_registers

UNET = {"spatial_dims": 2, "in_channels": 2, "unet_out_channels": 4, "channels": (4, 4), "final_conv_channels": (4,)}
LOCALNET = {
    "spatial_dims": 2,
    "in_channels": 2,
    "num_channel_initial": 4,
    "extract_levels": (0, 1, 2),
    "out_channels": 2,
}


class Two(torch.nn.Module):
    """A field of ones, by a forward of two arguments that returns the warped image too, as MONAI's VoxelMorph does."""

    def forward(self, moving, fixed):
        return moving, torch.ones_like(moving).expand(-1, 2, -1, -1) * (1 + moving[:, :, -1:, -1:])


@pytest.mark.parametrize(("name", "options"), [("VoxelMorphUNet", UNET), ("LocalNet", LOCALNET)])
def test_monai_networks_of_any_size(name, options):
    network = DenseNetwork(f"monai.networks.nets.{name}", options, divisor=4).eval()
    pair = torch.rand(2, 2, 30, 41)
    with torch.no_grad():
        found = network.displacement(pair)
        inner = network.network(torch.nn.functional.pad(pair, (0, 3, 0, 2)))
    assert found.parts == ()
    assert torch.equal(found.ddf, inner[..., :30, :41])


def test_voxelmorph_takes_moving_and_fixed_and_gives_the_field_last():
    network = DenseNetwork("monai.networks.nets.VoxelMorph", {"spatial_dims": 2})
    assert network.takes_two
    network.network, network.divisor = Two(), 1
    assert torch.equal(network(torch.zeros(1, 2, 5, 6)), torch.ones(1, 2, 5, 6))


def test_a_registrar_takes_it():
    network = DenseNetwork("monai.networks.nets.LocalNet", LOCALNET, divisor=4).eval()
    moving, fixed = np.random.default_rng(0).random((2, 33, 40), np.float32)
    registration = Registrar(network, "cpu").register(moving, fixed)
    assert registration.ddf.shape == (2, 33, 40)
    assert registration.parts == ()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("os.system", {}, "must be a class of dirnet.nets. or monai.networks.nets."),
        ("monai.networks.nets.Nothing", {}, "there is no network 'monai.networks.nets.Nothing'"),
        ("monai.networks.nets.LocalNet", {"channels": 2}, "has no option channels"),
        ("monai.networks.nets.LocalNet", {**LOCALNET, "in_channels": "x"}, "does not take the options"),
    ],
)
def test_wrong_names(target, options, message):
    with pytest.raises(InputError, match=message):
        DenseNetwork(target, options)


def test_a_network_of_another_kind_is_refused_by_name():
    with pytest.raises(InputError, match=r"torch.nn.modules.linear.Linear has no displacement\(pair\).*DenseNetwork"):
        check_registers(torch.nn.Linear(2, 2))
    network = DenseNetwork("monai.networks.nets.LocalNet", {**LOCALNET, "out_channels": 3}, divisor=4)
    with pytest.raises(InputError, match=r"gives \[1, 3, 8, 8\] .* expected a displacement field"):
        network(torch.zeros(1, 2, 8, 8))
