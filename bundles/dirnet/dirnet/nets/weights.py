"""A network from its checkpoint, built as the checkpoint says, with weights that are whole and finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .definition import build, definition_in

__all__ = ["load_network", "read_checkpoint"]


def load_network(path: str | Path) -> Any:
    """The network of a ``model.pt``, with its weights, in eval mode.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is no checkpoint of a network, or damaged: an entry is missing, foreign, of another shape or
            not finite; names the file.
    """
    state = read_checkpoint(path)
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: expected the weights of a network, found {type(state).__name__}")
    if "optimizer" in state:
        raise InputError(f"{path} is a training's state; its weights are beside it, in model.pt")
    try:
        network = build(*definition_in(state))
        check_weights(network, state)
        network.load_state_dict(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return network.eval()


def check_weights(network: nn.Module, state: Mapping[str, Any]) -> None:
    """
    Raises:
        InputError: when the state is not a network's: an entry is missing, foreign, of another shape or type, or holds
            values that are not finite.
    """
    expected = network.state_dict()
    for what, names in (("lacks", expected.keys() - state.keys()), ("holds unknown", state.keys() - expected.keys())):
        if names:
            raise InputError(f"it {what} {len(names)} of the network's entries, such as '{min(map(str, names))}'")
    for name, wanted in expected.items():
        found = state[name]
        if name.endswith("_extra_state"):
            continue
        if not isinstance(found, Tensor):
            raise InputError(f"'{name}': expected a tensor, found {type(found).__name__}")
        if found.shape != wanted.shape or found.is_floating_point() != wanted.is_floating_point():
            kinds = [f"{str(tensor.dtype).split('.')[-1]} {list(tensor.shape)}" for tensor in (wanted, found)]
            raise InputError(f"'{name}': expected {kinds[0]}, found {kinds[1]}")
        if not found.isfinite().all():
            raise InputError(f"'{name}': holds weights that are not finite")
        if name.endswith("running_var") and (found < 0).any():
            raise InputError(f"'{name}': holds a variance below 0")


def read_checkpoint(path: str | Path) -> Any:
    """What a checkpoint file holds, on the CPU: tensors and plain values, never code.

    Raises:
        FileNotFoundError: when there is no such file.
        InputError: when it is of another kind, or damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's readers of zip and pickle have many
        if isinstance(error, MemoryError | PermissionError):
            raise
        raise InputError(f"{path} is not a checkpoint of tensors, or is damaged") from error
