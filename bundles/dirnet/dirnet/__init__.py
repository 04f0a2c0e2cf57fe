"""DIRNet on MONAI: learned deformable registration, for cardiac cine MR first.

The front door, loaded when first used::

    from dirnet import Registrar

    registration = Registrar.load().register("es.dcm", "ed.dcm")

What else there is: ``dirnet.nets`` (networks, splines, losses), ``dirnet.fields`` (warp, compose, invert, folds,
overlap), ``dirnet.cine`` (a contour followed through a cycle: volumes, strain), ``dirnet.files`` (results in NIfTI, ITK
and DICOM), ``dirnet.training`` (what the configs name), ``dirnet.speed`` (what exists only to be faster on a CPU).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from .speed.threads import prepare

if TYPE_CHECKING:
    from .errors import InputError
    from .first_contours import FirstContours
    from .nets.networks import DIRNet
    from .propagation import Propagation
    from .registrar import Registrar
    from .registration import Registration

if "torch" not in sys.modules:  # it reads the environment when it loads
    prepare()

__all__ = ["DIRNet", "FirstContours", "InputError", "Propagation", "Registrar", "Registration"]

MODULES = {
    "DIRNet": ".nets.networks",
    "FirstContours": ".first_contours",
    "InputError": ".errors",
    "Propagation": ".propagation",
    "Registrar": ".registrar",
    "Registration": ".registration",
}


def __getattr__(name: str) -> Any:  # PEP 562: torch takes seconds, and not every import needs it
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name], __name__), name)
