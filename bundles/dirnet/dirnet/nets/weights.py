"""Weights of a network from a checkpoint, and the network itself, built as its checkpoint says."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from .networks import DIRNet

__all__ = ["load_network", "load_weights", "read_checkpoint"]


def load_weights(network: nn.Module, path: str | Path) -> nn.Module:
    """Load a ``model.pt`` written by :class:`TrainingState` into a network of the same definition.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no checkpoint, or is one of another network; names the differences.
    """
    state = read_checkpoint(path)
    _refuse_training_state(state, path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}") from error
    return network


def load_network(path: str | Path) -> DIRNet:
    """The network of a checkpoint, built as the checkpoint's own definition says, with its weights, in eval mode.

    Raises:
        FileNotFoundError, ValueError: as :func:`load_weights`.
    """
    state = read_checkpoint(path)
    _refuse_training_state(state, path)
    if not isinstance(state, Mapping) or "_extra_state" not in state:
        raise InputError(f"{path} holds no definition of a DIRNet; expected a model.pt that its training has written")
    definition = json.loads(bytes(state["_extra_state"].tolist()).decode())
    network = DIRNet(**{key: value for key, value in definition.items() if value is not None})
    return load_weights(network, path).eval()


def _refuse_training_state(state: Any, path: str | Path) -> None:
    if isinstance(state, Mapping) and "optimizer" in state:
        raise InputError(f"{path} is a training's state; its weights are beside it, in model.pt")


def read_checkpoint(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of tensors, or is damaged") from error
