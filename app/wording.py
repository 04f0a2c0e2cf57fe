"""Errors speak of the command line's options; other ways in have names of their own for them."""

from __future__ import annotations

import re

__all__ = ["reworded"]

OPTIONS = re.compile(r"--(frame|series|labels)\b")  # those that say how a cine or a drawing is read


def reworded(message: str, name: str) -> str:
    """A message without options of the command line.

    Args:
        message: of an error in reading a cine or what is drawn on it.
        name: what stands for each, with ``{}`` for the option's own name, such as ``params.{}``.
    """
    return OPTIONS.sub(lambda option: name.format(option[1]), message)
