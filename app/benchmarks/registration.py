"""One registration from end to end: images in memory to warped image and displacement field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import ResizeWithPadOrCrop
from torch import Tensor, nn

from dirnet.models import SHIPPED
from dirnet.nets.inference import FusedDIRNet, for_inference
from dirnet.nets.losses import ncc
from dirnet.nets.weights import load_network
from dirnet.registrar import Registrar
from dirnet.training.engines import RegistrationInferer
from transforms.loading import LoadCined
from transforms.pairing import PairPhasesd
from transforms.records import records_of_split, with_ed_and_es

from .measure import SIZE, Bench, Line, Row
from .registration_peers import CONFIGS, PAPERS_ELASTIX, elastix, optimise, through_onnx, voxelmorph

__all__ = ["rows"]

BATCHES = (1, 32)
RANDOM = "random weights"
LEAST = 100  # times elastix with the paper's parameters, by a network that scores no less


def rows(bench: Bench) -> Iterator[list[Row]]:
    """Each batch: the shipped networks, as shipped and otherwise, and what else registers; then the paper's network and
    its peer."""
    pairs = _pairs(bench, max(BATCHES))
    peers = {
        **elastix(bench),
        **through_onnx(bench),
        "100 iterations of Adam on the control points, from zero": optimise,
        "MONAI's VoxelMorph, one field, float32, random weights": voxelmorph(bench.device),
    }
    for batch in BATCHES:
        own = pairs[:batch]
        lines = _network_lines(bench, own)
        for name, register in peers.items():
            lines.append(_line(name, register, own, scored=RANDOM not in name, once=_is_slow(name, batch)))
        yield bench.measure(lines)
        lines = [_paper_line(bench, variant, own) for variant in ("bl", "c1")]
        if PAPERS_ELASTIX in peers:
            once = _is_slow(PAPERS_ELASTIX, batch)
            name = f"{PAPERS_ELASTIX}, against the paper's BL"
            lines.append(_line(name, peers[PAPERS_ELASTIX], own, once=once, least=LEAST))
        yield bench.measure(lines)


def _is_slow(name: str, batch: int) -> bool:
    return name.startswith("elastix") and batch > 1  # it takes one pair after the other


def _pairs(bench: Bench, count: int) -> Tensor:
    """End-diastole and end-systole of the test split, (count, 2, H, W); where it has fewer, some come twice."""
    records = with_ed_and_es(records_of_split(bench.records, "test"))
    chosen = np.linspace(0, len(records) - 1, count // 2).astype(int)
    load, pair, resize = LoadCined(), PairPhasesd(), ResizeWithPadOrCrop((SIZE, SIZE))
    pairs = []
    for number in chosen:
        for item in pair(load(records[number])):
            pairs.append(torch.cat([resize(item[role]).as_tensor() for role in ("moving", "fixed")]))
    return torch.stack(pairs).to(bench.device)


def _network_lines(bench: Bench, pairs: Tensor) -> list[Line]:
    pairs = pairs.contiguous(memory_format=torch.channels_last)
    lines = []
    for weights, file in SHIPPED.items():
        registrar = Registrar.load(weights, bench.device)
        plain = load_network(file).to(bench.device, memory_format=torch.channels_last)
        lines.append(_line(weights, _through(registrar.network, registrar.amp), pairs))
        if registrar.amp:
            single = _through(for_inference(plain, bench.device, False), False)
            lines.append(_line(f"{weights}, float32", single, pairs))
        if isinstance(registrar.network, FusedDIRNet):
            lines.append(
                _line(f"{weights}, layers not fused", _through(registrar.network.network, registrar.amp), pairs)
            )
        if len(pairs) == 1:
            lines.append(_registrar_line(weights, registrar, *pairs[0].cpu().numpy()))
    return lines


def _registrar_line(weights: str, registrar: Registrar, moving: np.ndarray, fixed: np.ndarray) -> Line:
    return Line(
        f"{weights}, Registrar.register: with conversions and scores",
        lambda: registrar.register(moving, fixed),
        ncc=lambda registration: registration.ncc_after,
    )


def _paper_line(bench: Bench, variant: str, pairs: Tensor) -> Line:
    """A network of the paper, ready to register; its weights are not shipped, and its time does not depend on them."""
    parser = ConfigParser()
    parser.read_config([CONFIGS / "inference.json", CONFIGS / "variants" / f"{variant}.json"])
    registrar = Registrar(parser.get_parsed_content("network_def").eval(), bench.device)
    pairs = pairs.contiguous(memory_format=torch.channels_last)
    return _line(
        f"the paper's {variant.upper()}, {RANDOM}", _through(registrar.network, registrar.amp), pairs, scored=False
    )


def _through(network: nn.Module, amp: bool) -> Callable[[Tensor], dict[str, Any]]:
    return torch.inference_mode()(lambda pairs: RegistrationInferer(amp=amp)(pairs, network))


def _line(
    name: str,
    register: Callable[[Tensor], dict[str, Any]],
    pairs: Tensor,
    scored: bool = True,
    once: bool = False,
    least: float | None = None,
) -> Line:
    def similarity(result: dict[str, Any]) -> float:
        return ncc(result["warped"].to(pairs.device), pairs[:, 1:]).mean().item()

    scores = similarity if scored else None
    return Line(name, lambda: register(pairs), len(pairs), ncc=scores, once=once, least_ratio=least)
