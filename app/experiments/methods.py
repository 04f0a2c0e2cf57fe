"""The rows of Table 1; light, for the command's help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dirnet.errors import InputError
from dirnet.models import SHIPPED_WEIGHTS

__all__ = ["METHODS", "Method", "choose"]

CONFIGS = SHIPPED_WEIGHTS.parents[1] / "configs"
OVERLAYS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Method:
    """A way to register.

    Args:
        name: on the command line and in file names.
        title: in tables and figures.
        overlay: config that is laid over the bundle's ``train.json`` and ``evaluate.json``; None for these as they are.
        trained: whether it is a network that the experiment trains.
        shipped: whether it is a network whose weights are shipped, of which the overlay says which.
        needs: a library beside the project's own.
        options: of its training; they override the experiment's.
    """

    name: str
    title: str
    overlay: Path | None
    trained: bool = True
    shipped: bool = False
    needs: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


METHODS = {
    method.name: method
    for method in (
        Method("before", "no registration", OVERLAYS / "before.json", trained=False),
        Method("elastix", "elastix, as in the paper", OVERLAYS / "elastix.json", trained=False),
        Method("elastix_tuned", "elastix, tuned", OVERLAYS / "elastix_tuned.json", trained=False),
        Method("farneback", "Farnebäck's optical flow, tuned", OVERLAYS / "farneback.json", trained=False, needs="cv2"),
        Method("dis", "DIS optical flow, tuned", OVERLAYS / "dis.json", trained=False, needs="cv2"),
        Method("bl", "BL", CONFIGS / "variants" / "bl.json"),
        Method("a1", "A1, max pooling", CONFIGS / "variants" / "a1.json"),
        Method("a2", "A2, strided convolutions", CONFIGS / "variants" / "a2.json"),
        Method("b1", "B1, quadratic B-spline", CONFIGS / "variants" / "b1.json"),
        Method("b2", "B2, thin-plate spline", CONFIGS / "variants" / "b2.json"),
        Method("c1", "C1, two more convolutions", CONFIGS / "variants" / "c1.json"),
        Method("c2", "C2, fully connected", CONFIGS / "variants" / "c2.json"),
        Method("fine", "fine: C1, 32 kernels, 8 px", None),
        Method("contours", "contours, as shipped", OVERLAYS / "contours.json", trained=False, shipped=True),
    )
}


def choose(names: str) -> list[Method]:
    """Methods by their names, separated by commas, in the order of the table.

    Raises:
        ValueError: when there is no such method.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown or not wanted:
        raise InputError(f"rows must be some of {','.join(METHODS)}; got {names!r}")
    return [method for name, method in METHODS.items() if name in wanted]
