"""What the values of an image have to be, and how errors list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ["check_finite", "listed"]


def check_finite(values: np.ndarray, name: str | Path) -> None:
    """
    Raises:
        InputError: when one of the values is nan or infinite; names ``name``, the file or the array.
    """
    if not np.isfinite(values).all():
        raise InputError(f"{name}: holds values that are not finite")


def listed(values: Sequence[float], names: Mapping[Any, str] | None = None) -> str:
    """The first eight values as a text, each with its name where it has one."""
    said = [f"{value:g}" + (f" ({names[value]})" if names and value in names else "") for value in values[:8]]
    return ", ".join(said) + (", ..." if len(values) > 8 else "")
