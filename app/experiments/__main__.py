"""The paper's experiments, ``table1`` and ``mnist``, and others: ``python -m app.experiments table1``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from app import terminal
from dirnet.errors import InputError

from . import methods, rivals

# Help and refusals take no second: what trains and draws, which takes several, is imported in the commands.

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

SCD = Annotated[
    str | None,
    typer.Option(
        "--dataset_dir",
        envvar="SCD_DIR",
        help="Folder in SCD's layout, or a datalist JSON; without it, the beating-heart phantom.",
    ),
]
MNIST_HELP = "Folder of MNIST's four idx files, gzipped or not; without it, scikit-learn's small digits."
OutputDir = Annotated[Path, typer.Option("--output_dir", help="Results; what is finished there is not done again.")]


class Patients(str, Enum):
    """A half of a split."""

    held_out = "held_out"
    tuning = "tuning"


@app.command("table1")
def table1_command(
    dataset_dir: SCD = None,
    output_dir: OutputDir = Path("runs/table1"),
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=10, help="Of each training: 10,000, or 600 on the phantom.")
    ] = None,
    rows: Annotated[
        str, typer.Option("--rows", help="Which, separated by commas. All: " + ", ".join(methods.METHODS) + ".")
    ] = ",".join(methods.METHODS),
    seed: Annotated[int, typer.Option("--seed", help="Of each training.")] = 0,
) -> None:
    """Train the paper's networks, register the validation and the test split by each and by elastix, and compare.

    Stop it whenever you like: the same command goes on where it was.

    Example: python -m app.experiments table1 --dataset_dir ~/data/scd --rows before,elastix,bl,c1
    """
    chosen = methods.choose(rows)

    from . import table1

    table1.run(dataset_dir or None, output_dir, iterations, chosen, seed)


@app.command("mnist")
def mnist_command(
    dataset_dir: Annotated[Path | None, typer.Option("--dataset_dir", envvar="MNIST_DIR", help=MNIST_HELP)] = None,
    output_dir: OutputDir = Path("runs/mnist"),
    iterations: Annotated[int, typer.Option("--iterations", min=10, help="Of each training.")] = 5000,
    digits: Annotated[str, typer.Option("--digits", help="Which, separated by commas.")] = "0,1,2,3,4,5,6,7,8,9",
    seed: Annotated[int, typer.Option("--seed", help="Of each training, and of the fixed digits.")] = 0,
) -> None:
    """Train a network for each digit, and register the test digits of a class onto one of them.

    Stop it whenever you like: the same command goes on where it was.

    Example: python -m app.experiments mnist --dataset_dir ~/data/mnist
    """
    chosen = choose_digits(digits)

    from . import mnist

    mnist.run(dataset_dir, output_dir, iterations, chosen, seed)


@app.command("cines")
def cines_command(
    dataset_dir: SCD = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Results; those there are replaced.")] = Path(
        "runs/cines"
    ),
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="A model.pt, or the folder of a training or a bundle; by default the shipped."),
    ] = None,
) -> None:
    """Carry the lumen drawn at end-diastole through each patient's whole cine, and judge it at end-systole.

    Example: python -m app.experiments cines --dataset_dir ~/data/scd
    """
    from . import cines

    cines.run(dataset_dir or None, output_dir, weights)


@app.command("contrast")
def contrast_command(
    dataset_dir: SCD = None,
    output_dir: Annotated[Path, typer.Option("--output_dir", help="Results; those there are replaced.")] = Path(
        "runs/contrast"
    ),
    patients: Annotated[
        Patients,
        typer.Option("--patients", help="Of the validation split: those that chose the settings, or the rest."),
    ] = Patients.held_out,
    every: Annotated[
        int, typer.Option("--every", min=1, help="1 for all of their pairs, 2 for every other one, ....")
    ] = 1,
) -> None:
    """Register pairs as they are and with the moving image inverted, by each similarity.

    Example: python -m app.experiments contrast --dataset_dir ~/data/scd
    """
    from . import contrast

    contrast.run(dataset_dir or None, output_dir, patients.value, every)


@app.command("compare")
def compare_command(
    dataset_dir: Annotated[
        str | None,
        typer.Option("--dataset_dir", help="Cines or volumes, folder or datalist JSON; without it, phantom volumes."),
    ] = None,
    output_dir: OutputDir = Path("runs/compare"),
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", help="A shipped network's name, a file, or TITLE=FILE; several times for several."),
    ] = None,
    rows: Annotated[
        str, typer.Option("--rows", help="Which, separated by commas. All: " + ", ".join(rivals.RIVALS) + ".")
    ] = ",".join(rivals.RIVALS),
    split: Annotated[str, typer.Option("--split", help="training, validation or test.")] = "test",
    pairs: Annotated[int | None, typer.Option("--pairs", min=1, help="A sample of so many registrations.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample.")] = 0,
) -> None:
    """Register pairs of your own data by weights and by other methods, and compare: one table, with paired tests.

    Stop it whenever you like: the same command goes on where it was.

    Example: python -m app.experiments compare --dataset_dir ~/data/hippocampus --weights mine=runs/volumes --pairs 60
    """
    from . import compare

    compare.run(dataset_dir or None, output_dir, weights or [], rows, split, pairs, seed)


@app.command("domains")
def domains_command(
    dataset_dir: SCD = None,
    mnist_dir: Annotated[str | None, typer.Option("--mnist_dir", envvar="MNIST_DIR", help=MNIST_HELP)] = None,
    hippocampus_dir: Annotated[
        str | None,
        typer.Option(
            "--hippocampus_dir",
            envvar="HIPPOCAMPUS_DIR",
            help="Volumes, folder or datalist JSON; without it, phantom volumes.",
        ),
    ] = None,
    output_dir: OutputDir = Path("runs/domains"),
    iterations: Annotated[int, typer.Option("--iterations", min=10, help="Of each training.")] = 1500,
    longer: Annotated[
        bool, typer.Option("--longer", help="Train a second joint network too, with three times the iterations.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of each training, and of the pairs.")] = 0,
) -> None:
    """Train a network for digits, hearts and hippocampi together and one for each, and compare them.

    Stop it whenever you like: the same command goes on where it was.

    Example: python -m app.experiments domains --dataset_dir ~/data/scd --mnist_dir ~/data/mnist
    """
    from . import domains

    domains.run(dataset_dir or None, mnist_dir or None, hippocampus_dir or None, output_dir, iterations, longer, seed)


def choose_digits(digits: str) -> list[int]:
    """Digits from their list, separated by commas.

    Raises:
        ValueError: when one is none.
    """
    parts = [part.strip() for part in digits.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) < 10 for part in parts):
        raise InputError(f"digits must be numbers from 0 to 9, separated by commas; got {digits!r}")
    return sorted({int(part) for part in parts})


def main() -> None:
    terminal.run(app)


if __name__ == "__main__":
    main()
