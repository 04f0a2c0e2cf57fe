"""Ways from the frame of a cine that was drawn on to all its others: what :mod:`app.experiments.cines` compares."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dirnet.fields.composition import compose
from dirnet.fields.resampling import warp
from dirnet.propagation import Propagation
from dirnet.registrar import FrameFields, Registrar, direct_fields

__all__ = ["WAYS", "Follower", "Way"]


@dataclass(frozen=True)
class Way:
    """
    Args:
        title: in tables and figures.
        fields: from the drawn frame to each.
    """

    title: str
    fields: FrameFields


@dataclass(frozen=True)
class Follower:
    """Takes a :class:`~dirnet.registrar.Registrar`'s place where a cine is followed, and goes another way.

    Attributes:
        milliseconds: that each call of :meth:`propagate` took.
    """

    registrar: Registrar
    way: Way
    milliseconds: list[float] = field(default_factory=list)

    def propagate(self, cine: np.ndarray, drawn: Any, frame: int | None = None) -> Propagation:
        """As :meth:`dirnet.registrar.Registrar.propagate`."""
        start = time.perf_counter()
        followed = self.registrar.propagate(cine, drawn, frame, self.way.fields)
        self.milliseconds.append(1000 * (time.perf_counter() - start))
        return followed


def chain(registrar: Registrar, frames: Tensor, frame: int) -> Tensor:
    """Registrations of each frame with the next, composed from the drawn frame on: forwards to one half of the cycle,
    backwards to the other. The cycle is closed."""
    count = len(frames)
    cycle = frames.roll(-frame, 0)  # the drawn frame first
    middle = count // 2
    target = torch.arange(1, count)
    source = torch.where(target <= middle, target - 1, (target + 1) % count)
    links = _register(registrar, cycle[source], cycle[target])
    ddf = torch.zeros(count, *links.shape[1:])
    for step in (*range(1, middle + 1), *range(count - 1, middle, -1)):
        before = int(source[step - 1])
        ddf[step] = compose(ddf[before : before + 1], links[step - 1 : step])[0]
    return ddf.roll(frame, 0)


def refined(first: FrameFields) -> FrameFields:
    """``first``, then what a registration of the frame warped by it still finds."""

    def fields(registrar: Registrar, frames: Tensor, frame: int) -> Tensor:
        ddf = first(registrar, frames, frame)
        rest = _register(registrar, warp(frames[frame].expand_as(frames), ddf), frames)
        rest[frame] = 0
        return compose(ddf, rest)

    return fields


def _register(registrar: Registrar, moving: Tensor, fixed: Tensor) -> Tensor:
    """DDF of pairs of frames, all in one pass, on the CPU."""
    return registrar.displacement(torch.cat([moving, fixed], 1)).ddf


WAYS = {
    "direct": Way("direct", direct_fields),
    "chain": Way("chain", chain),
    "direct_refined": Way("direct, refined", refined(direct_fields)),
    "chain_refined": Way("chain, refined", refined(chain)),
}
