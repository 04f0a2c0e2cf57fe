"""What a checkpoint says of its network: the class that made it and the options that it was made with."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["DefinedNetwork", "build", "class_named", "definition_in"]

PACKAGES = ("dirnet.nets.", "monai.networks.nets.")  # of which a checkpoint or a config may name any class
FIRST_CLASS = "dirnet.nets.networks.DIRNet"  # of checkpoints that name none: there was no other
LENGTH = 2048  # bytes, of one length: MONAI's loaders skip an entry of another shape, and load the rest


class DefinedNetwork(nn.Module):
    """A network whose checkpoints hold its own definition, so that :func:`build` makes it anew from them alone.

    A checkpoint that lacks an option, having been made before there was one, has the constructor's default.

    Attributes:
        definition: the constructor's arguments by name, as JSON holds them.
    """

    def get_extra_state(self) -> Tensor:
        # a tensor, since MONAI's loaders look at the shape of each entry
        own: dict[str, Any] = self.definition  # type: ignore[assignment]  # annotated above, it would not script
        named = {"class": _class_name(self), **own}
        text = json.dumps(named).encode()
        if len(text) > LENGTH:
            raise InputError(f"network_def: its options take {len(text)} characters, over the {LENGTH} of a checkpoint")
        return torch.tensor(list(text.ljust(LENGTH)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        name, found = _read(state)
        own = _class_name(self)
        differences = [] if name == own else [f"class={name!r} (this network: {own!r})"]
        wanted = {**_defaults(type(self)), **found}
        mine: dict[str, Any] = self.definition  # type: ignore[assignment]
        differences += [
            f"{key}={wanted.get(key)!r} (this network: {value!r})"
            for key, value in mine.items()
            if wanted.get(key) != value
        ]
        if differences:
            raise InputError(
                f"the weights are of another network, with {', '.join(differences)}; build the network with these "
                "options (in a config or on its command line: network_def#<option>)"
            )


def definition_in(state: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class's name and the options that a checkpoint's state holds.

    Raises:
        InputError: when it holds none, or a damaged one.
    """
    extra = state.get("_extra_state")
    if not isinstance(extra, Tensor):
        raise InputError("it holds no definition of a network; expected a model.pt that its training has written")
    return _read(extra)


def build(name: str, options: Mapping[str, Any]) -> nn.Module:
    """A network by its class's name and its options; those it does not name have the constructor's defaults.

    Raises:
        InputError: when there is no such class, or it does not take the options.
    """
    network = class_named(name)
    unknown = set(options) - set(inspect.signature(network).parameters)
    if unknown:
        raise InputError(
            f"{name} has no option {', '.join(sorted(unknown))}: is it of a newer version of this program?"
        )
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return network(**given)
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"{name} does not take the options {given}: {error}") from error


def class_named(name: str) -> type[nn.Module]:
    """A network's class by its full name: of this project, of MONAI, or a :class:`DefinedNetwork` of a module that is
    imported already. A checkpoint never has another module imported.

    Raises:
        InputError: when there is none, or it is of another package.
    """
    module, _, attribute = name.rpartition(".")
    if not name.startswith(PACKAGES):
        own = getattr(sys.modules.get(module), attribute, None)
        if isinstance(own, type) and issubclass(own, DefinedNetwork):
            return own
        raise InputError(
            f"a network must be a class of {' or '.join(PACKAGES)}, or a DefinedNetwork of a module that was imported "
            f"before, got {name!r}"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"there is no network {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"there is no network {name!r}: it is no class of networks")
    return found


def _class_name(network: nn.Module) -> str:
    return f"{type(network).__module__}.{type(network).__qualname__}"


def _read(state: Tensor) -> tuple[str, dict[str, Any]]:
    try:
        found = json.loads(bytes(state.tolist()).decode())
        if not isinstance(found, dict):
            raise ValueError(f"found {type(found).__name__}")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"its definition of the network is damaged: {error}") from error
    name = found.pop("class", FIRST_CLASS)
    if not isinstance(name, str):
        raise InputError(f"its definition of the network is damaged: expected a class's name, found {name!r}")
    return name, found


def _defaults(network: type[nn.Module]) -> dict[str, Any]:
    parameters = inspect.signature(network).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return json.loads(json.dumps(defaults))  # as a definition has them: tuples are lists
