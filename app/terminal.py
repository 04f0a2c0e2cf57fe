"""How the commands end."""

from __future__ import annotations

import os
import sys

import typer

from dirnet.errors import InputError, cause_of

__all__ = ["run"]


def run(app: typer.Typer) -> None:
    """Run a command; a wrong input ends it on one line and exit status 1, unless DIRNET_TRACEBACK is set."""
    try:
        app()
    except Exception as error:
        cause = cause_of(error)
        if not isinstance(cause, InputError | OSError) or os.environ.get("DIRNET_TRACEBACK"):
            raise
        typer.echo(f"error: {cause}", err=True)
        sys.exit(1)
