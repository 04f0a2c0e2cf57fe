"""Checkpoints: whose they are, that they last, and what is no checkpoint."""

import json
import sys
from pathlib import Path

import pytest
import torch

from dirnet import DIRNet, InputError
from dirnet.nets.adapters import DenseNetwork
from dirnet.nets.definition import DefinedNetwork
from dirnet.nets.pyramid import PyramidDIRNet
from dirnet.nets.weights import load_network

SHIPPED = Path(__file__).parents[3] / "bundles/dirnet/models/model.pt"
NETWORKS = {
    "BL": lambda: DIRNet(channels=4),
    "thin plates": lambda: DIRNet(channels=4, spline="thin_plate"),
    "C2": lambda: DIRNet(channels=2, poolings=2, fully_connected=(16, 16)),
    "3-D": lambda: DIRNet(spatial_dims=3, channels=2, poolings=2),
    "pyramid": lambda: PyramidDIRNet((2, 2, 2, 2), stages=2),
    "MONAI's": lambda: DenseNetwork(
        "monai.networks.nets.LocalNet",
        {"spatial_dims": 2, "in_channels": 2, "out_channels": 2, "num_channel_initial": 2, "extract_levels": [0, 1]},
        divisor=2,
    ),
}


def definition(**content):
    return torch.tensor(list(json.dumps(content).ljust(512).encode()), dtype=torch.uint8)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return DIRNet(channels=4).state_dict()


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_checkpoint_alone_gives_the_network_back(make, tmp_path):
    torch.manual_seed(0)
    network = make().eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt")
    assert type(loaded) is type(network)
    assert loaded.definition == network.definition
    assert not loaded.training
    side = 16 if network.definition.get("fully_connected") else 32
    pair = torch.rand(1, 2, *[side] * network.spatial_dims)
    assert torch.equal(loaded(pair), network(pair))


class OwnNetwork(DefinedNetwork):
    """Of a module that isn't the project's."""

    def __init__(self, shift: float = 1.0):
        super().__init__()
        self.definition = {"shift": shift}
        self.scale = torch.nn.Parameter(torch.ones(1))


def test_a_network_of_a_module_that_is_imported_comes_back_and_of_another_is_refused(tmp_path, monkeypatch):
    torch.save(OwnNetwork(3.0).state_dict(), tmp_path / "model.pt")
    loaded = load_network(tmp_path / "model.pt")
    assert type(loaded) is OwnNetwork
    assert loaded.definition == {"shift": 3.0}
    monkeypatch.delitem(sys.modules, __name__)
    with pytest.raises(InputError, match=r"of a module that was imported before, got '.*test_weights\.OwnNetwork'"):
        load_network(tmp_path / "model.pt")


def test_checkpoints_of_before_there_were_classes_and_options_load(state, tmp_path):
    """The shipped one names no class; one made before an option has that option's default."""
    assert load_network(SHIPPED).definition["channels"] == 32
    state["_extra_state"] = definition(channels=4)
    torch.save(state, tmp_path / "model.pt")
    assert load_network(tmp_path / "model.pt").definition == DIRNet(channels=4).definition


def mutations(state):
    """Damaged states, and what is said of each."""
    weight = "regressor.0.conv.weight"
    infinite = state[weight].clone()
    infinite[0, 0, 0, 0] = torch.inf
    yield {**state, weight: infinite}, f"'{weight}': holds weights that are not finite"
    yield {**state, weight: torch.full_like(infinite, torch.nan)}, "not finite"
    yield {**state, weight: state[weight][:2]}, f"'{weight}': expected float32 .4, 2, 3, 3., found float32 .2, 2, 3, 3."
    yield {**state, weight: state[weight].int()}, "found int32"
    yield {**state, weight: 3}, "expected a tensor, found int"
    yield {name: value for name, value in state.items() if name != weight}, f"lacks 1 .*'{weight}'"
    yield {**state, "other": torch.zeros(1)}, "holds unknown 1 .*'other'"
    yield {**state, "regressor.0.adn.N.running_var": -torch.ones(4)}, "variance below 0"
    yield {name: value for name, value in state.items() if name != "_extra_state"}, "holds no definition of a network"
    yield {**state, "_extra_state": torch.zeros(512, dtype=torch.uint8)}, "definition of the network is damaged"
    yield {**state, "_extra_state": definition(**{"class": "os.system"})}, "must be a class of dirnet.nets"
    yield {**state, "_extra_state": definition(**{"class": "torch.nn.Linear"})}, "must be a class of dirnet.nets"
    yield {**state, "_extra_state": definition(**{"class": "dirnet.nets.networks.Nothing"})}, "there is no network"
    yield {**state, "_extra_state": definition(channels=4, colour="red")}, "has no option colour.*newer version"
    yield {**state, "_extra_state": definition(channels="four")}, "does not take the options"
    yield {"network": {}, "optimizer": {}}, "is a training's state; its weights are beside it, in model.pt"
    yield [1, 2], "expected the weights of a network, found list"


@pytest.mark.parametrize("number", range(17))
def test_what_is_no_whole_checkpoint_is_named_on_one_line(number, state, tmp_path):
    damaged, message = list(mutations(state))[number]
    path = tmp_path / "model.pt"
    torch.save(damaged, path)
    with pytest.raises(InputError, match=message) as error:
        load_network(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9, 0.99])
def test_truncated_files_and_others(part, state, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=rf"{path} is not a checkpoint of tensors, or is damaged"):
        load_network(path)
    path.write_text("weights")
    with pytest.raises(InputError, match="is not a checkpoint of tensors"):
        load_network(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_network(tmp_path / "none.pt")
