"""Ways from the frame of a cine that was drawn on to all its others: what :mod:`app.experiments.cines` compares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dirnet.fields.composition import compose
from dirnet.fields.jacobian import folded_percent
from dirnet.fields.resampling import warp
from dirnet.nets.losses import ncc
from dirnet.registrar import Registrar
from dirnet.registration import Propagation
from dirnet.training.engines import RegistrationInferer
from transforms.cine import scale_intensity

__all__ = ["WAYS", "Follower", "Way"]


@dataclass(frozen=True)
class Way:
    """
    Args:
        title: in tables and figures.
        fields: of a registrar, frames (T, 1, H, W) in [0, 1] and the drawn frame, the DDF (T, 2, H, W) from that frame
            to each; zero on the frame itself.
    """

    title: str
    fields: Callable[[Registrar, Tensor, int], Tensor]


@dataclass(frozen=True)
class Follower:
    """Takes a :class:`~dirnet.registrar.Registrar`'s place where a cine is followed, and goes another way.

    Attributes:
        milliseconds: that each call of :meth:`propagate` took.
    """

    registrar: Registrar
    way: Way
    milliseconds: list[float] = field(default_factory=list)

    @torch.no_grad()
    def propagate(self, cine: np.ndarray, mask: np.ndarray, frame: int) -> Propagation:
        """As :meth:`dirnet.registrar.Registrar.propagate`, of a cine (T, H, W) and a mask (H, W)."""
        start = time.perf_counter()
        frames = torch.from_numpy(scale_intensity(cine))[:, None]
        ddf = self.way.fields(self.registrar, frames, frame)
        moving = frames[frame].expand_as(frames)
        drawn = torch.from_numpy(mask.astype(np.float32)).expand_as(frames)
        scores = folded_percent(ddf), ncc(moving, frames), ncc(warp(moving, ddf), frames)
        masks = (warp(drawn, ddf) > 0.5)[:, 0]
        followed = Propagation(frame, masks.numpy(), ddf.numpy(), *(score.numpy() for score in scores))
        self.milliseconds.append(1000 * (time.perf_counter() - start))
        return followed


def direct(registrar: Registrar, frames: Tensor, frame: int) -> Tensor:
    """Each field straight from the drawn frame, as ``Registrar.propagate`` has it."""
    ddf = _register(registrar, frames[frame].expand_as(frames), frames)
    ddf[frame] = 0
    return ddf


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


def refined(first: Callable[[Registrar, Tensor, int], Tensor]) -> Callable[[Registrar, Tensor, int], Tensor]:
    """``first``, then what a registration of the frame warped by it still finds."""

    def fields(registrar: Registrar, frames: Tensor, frame: int) -> Tensor:
        ddf = first(registrar, frames, frame)
        rest = _register(registrar, warp(frames[frame].expand_as(frames), ddf), frames)
        rest[frame] = 0
        return compose(ddf, rest)

    return fields


def _register(registrar: Registrar, moving: Tensor, fixed: Tensor) -> Tensor:
    """DDF of pairs of frames, all in one pass, on the CPU."""
    pairs = torch.cat([moving, fixed], 1).to(registrar.device).contiguous(memory_format=torch.channels_last)
    return RegistrationInferer(amp=registrar.amp)(pairs, registrar.network)["ddf"].cpu()


WAYS = {
    "direct": Way("direct", direct),
    "chain": Way("chain", chain),
    "direct_refined": Way("direct, refined", refined(direct)),
    "chain_refined": Way("chain, refined", refined(chain)),
}
