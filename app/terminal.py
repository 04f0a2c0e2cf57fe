"""How the commands end, and how they warn."""

from __future__ import annotations

import os
import sys
import warnings

import typer

from dirnet.errors import InputError, cause_of

__all__ = ["run"]


def run(app: typer.Typer) -> None:
    """Run a command; a wrong input ends it on one line and exit status 1, unless DIRNET_TRACEBACK is set. A warning is
    said once, without the line of code that it comes from."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    warnings.filterwarnings("once", category=UserWarning, append=True)
    try:
        app()
    except Exception as error:
        cause = cause_of(error)
        if not isinstance(cause, InputError | OSError) or os.environ.get("DIRNET_TRACEBACK"):
            raise
        typer.echo(f"error: {cause}", err=True)
        sys.exit(1)
