"""Follow contours through, or register, a table of studies by many workers: ``python -m app.cohort studies.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app import terminal
from dirnet.errors import InputError

from .studies import read_studies

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console()


@app.command(help=__doc__)
def cohort(
    studies: Annotated[
        Path,
        typer.Argument(
            help="Table, CSV, JSON or Parquet, a row a study: study (its id), and cine, mask and frame, or moving and "
            "fixed; paths relative to the table."
        ),
    ],
    output_dir: Annotated[
        Path, typer.Option("--output_dir", "-o", help="Results; what is finished there is not done again.")
    ] = Path("runs/cohort"),
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Their number; by default one a processor.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", "-w", help="A model.pt, or the folder of a training or a bundle; by default the shipped."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray cluster, or auto; by default this machine alone.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry_failed", help="Do those again that failed before.")] = False,
) -> None:
    """
    Raises:
        ValueError, OSError: see :func:`app.cohort.studies.read_studies` and :func:`app.cohort.driver.run`.
    """
    table = read_studies(studies)
    try:
        from . import driver, summary
    except ModuleNotFoundError as error:
        raise InputError(f"cohorts need {error.name}: pip install 'monai-dirnet[cohort]'") from error
    with summary.progress(console) as report:
        outcome = driver.run(table, output_dir, weights, workers, address, retry_failed, report)
    summary.show(outcome, console)
    if outcome.stopped:
        console.print("stopped; the same command resumes it")
        raise typer.Exit(128 + outcome.stopped)
    if outcome.broken:
        raise typer.Exit(1)


def main() -> None:
    terminal.run(app)


if __name__ == "__main__":
    main()
