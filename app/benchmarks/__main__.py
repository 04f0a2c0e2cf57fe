"""What the parts cost on this machine, each beside what it is compared with in the same run."""

from __future__ import annotations

import importlib
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app import terminal
from dirnet.errors import InputError

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

# modules here, with what they time
GROUPS = ("spline", "warp", "registration", "training", "scaling", "propagate", "files", "viewer")


@app.command()
def benchmarks(
    groups: Annotated[
        list[str] | None, typer.Argument(help=f"Some of {', '.join(GROUPS)}; all, if none is named.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of the processor; all, by default.")] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0, help="Spent on each line; a slow one is run three times all the same.")
    ] = 3.0,
    dataset_dir: Annotated[
        str | None,
        typer.Option(
            "--dataset_dir",
            envvar="SCD_DIR",
            help="Whose frames are registered: a folder in SCD's layout, or a datalist JSON; else the phantom's.",
        ),
    ] = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Results; those there are replaced.")] = Path(
        "runs/benchmarks"
    ),
) -> None:
    """Time the parts, each beside its peers, on a GPU where there is one (CUDA_VISIBLE_DEVICES= for the processor).

    Leaves benchmarks.csv, benchmarks.png and benchmarks.md, also of what is done so far when it is stopped.

    Example: python -m app.benchmarks spline warp --threads 2
    """
    names = _choose(groups or GROUPS)

    import SimpleITK as sitk  # here, with all that follows: help and refusals take no second
    import torch

    from dirnet.speed.memory import keep_freed_memory

    from . import report
    from .measure import Bench, Row

    threads = threads or torch.get_num_threads()
    keep_freed_memory()  # for all alike, as training, `dirnet propagate` and cohorts do
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console = Console()
    found: dict[str, list[Row]] = {}
    if not console.is_terminal:
        console.width = 160
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(device, threads, seconds, dataset_dir or None, Path(folder))
        made_with = report.about(bench, shlex.join(["python", "-m", "app.benchmarks", *sys.argv[1:]]))
        for name in names:
            with console.status(f"measuring: {name}"):
                measured = importlib.import_module(f"app.benchmarks.{name}").rows(bench)
                found[name] = [row for rows in measured for row in rows]
            console.print(report.console_table(name, found[name]))
            skipped = {"not measured": "; ".join(bench.skipped)} if bench.skipped else {}
            report.write(output_dir, found, made_with | skipped)
    for reason in bench.skipped:
        console.print(f"not measured: {reason}")
    console.print(f"written to {output_dir}: benchmarks.csv, benchmarks.png, benchmarks.md")


def _choose(groups: Sequence[str]) -> list[str]:
    """
    Raises:
        ValueError: when there is no such group.
    """
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise InputError(f"groups must be some of {', '.join(GROUPS)}; got {', '.join(unknown)}")
    return [name for name in GROUPS if name in groups]


def main() -> None:
    terminal.run(app)


if __name__ == "__main__":
    main()
