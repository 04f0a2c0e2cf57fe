"""Register images and follow contours with a trained network: the command ``dirnet``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dirnet.errors import InputError
from dirnet.files.formats import FOLLOWED, FORMATS

from . import terminal

if TYPE_CHECKING:
    import numpy as np

    from dirnet.registration import Registration
    from dirnet.stack import StackRegistration
    from dirnet.volume import VolumeRegistration
    from transforms.cine_files import CineStack

# Help and refusals take no second: each command checks what it can before it imports torch, which takes more.

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

OutputDir = Annotated[Path, typer.Option("--output_dir", "-o", help="Where the results go.")]
Refine = Annotated[
    int,
    typer.Option(
        "--refine",
        min=0,
        help="Steps of optimisation after the network: 10 for the weights unsupervised; not for contours.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        "-w",
        help="contours (the default) or unsupervised, both shipped; hippocampus, for volumes; a model.pt; a training's "
        "folder.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace results that exist.")]


@app.callback()
def options(
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to compute with; by default all that are free to it.")
    ] = None,
) -> None:
    if threads is not None:  # torch and ITK read them when they load
        os.environ["OMP_NUM_THREADS"] = os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)


@app.command()
def register(
    moving: Annotated[
        Path, typer.Argument(help="Image that is warped: one slice, DICOM, NIfTI or PNG; or a stack, or a volume.")
    ],
    fixed: Annotated[Path, typer.Argument(help="Image onto which it is warped.")],
    align: Annotated[
        str | None,
        typer.Option(
            "--align", help="Of volumes: by their places in the patient (place, the default), or middles (centers)."
        ),
    ] = None,
    output_dir: OutputDir = Path(),
    formats: Annotated[
        str, typer.Option("--formats", help=f"Separated by commas: {', '.join(FORMATS)}.")
    ] = "nifti,picture",
    weights: Weights = None,
    refine: Refine = 0,
    force: Force = False,
) -> None:
    """Register one image with another, or the slices of one stack with those of another at their places.

    A stack is a volume (x, y, slice), or a folder of a DICOM series of several slices at one time. With weights that
    were trained on volumes, such as hippocampus, two volumes are registered in 3-D.

    Example: dirnet register es.dcm ed.dcm --output_dir results --formats nifti,itk,dicom

    Example: dirnet register patient001_frame12.nii.gz patient001_frame01.nii.gz --output_dir results

    Example: dirnet register one.nii.gz other.nii.gz --weights hippocampus --align centers --formats nifti,itk
    """
    from dirnet.files.aside import check_results
    from dirnet.files.formats import result_files
    from dirnet.models import OF_SLICES, weights_file
    from transforms.paths import check_file, stem

    name, forms = f"{stem(moving.resolve())}_to_{stem(fixed.resolve())}", _listed(formats)
    for file in (moving, fixed):
        if not file.is_dir():
            check_file(file)
    check_results(output_dir, [file for files in result_files(name, forms).values() for file in files], force)
    weights_file(weights)

    from transforms.pair_files import read_slice
    from transforms.stacks import is_stack, read_slices

    stacks = is_stack(moving) or is_stack(fixed)
    for file in (moving, fixed):  # so that one that cannot be read is refused before torch is loaded
        if not stacks:
            read_slice(file)
        elif weights is None or str(weights) in OF_SLICES:
            read_slices(file)

    from dirnet.registrar import Registrar

    registrar = Registrar.load(weights, refinement=refine)
    if registrar.spatial_dims == 2 and align is not None:
        raise InputError("--align is of volumes, and these weights register slices")
    registration: Registration | StackRegistration | VolumeRegistration
    if stacks and registrar.spatial_dims == 3:
        registration = registrar.register_volume(moving, fixed, align or "place")
    else:
        registration = registrar.register_stack(moving, fixed) if stacks else registrar.register(moving, fixed)
    written = registration.save(output_dir, name, forms, force)
    for line in _similarity(registration, bool(refine)):
        typer.echo(line)
    for path in written:
        typer.echo(f"written: {path}")


def _listed(formats: str) -> list[str]:
    return [part.strip() for part in formats.split(",")]


def _similarity(registration: Registration | StackRegistration | VolumeRegistration, refined: bool) -> Iterator[str]:
    """A line for each slice."""
    import numpy as np

    parts = ("ncc_before", "ncc_network", "ncc_after", "folded_percent")
    columns = [np.atleast_1d(getattr(registration, part)).tolist() for part in parts]
    for number, (before, network, after, folded) in enumerate(zip(*columns, strict=True)):
        where = f"slice {number}: " if len(columns[0]) > 1 else ""
        alone = f"{network:.3f} by the network alone, " if refined else ""
        yield f"{where}NCC {before:.3f} before, {alone}{after:.3f} after; {folded:.3f} % folded"


@app.command()
def propagate(
    cine: Annotated[Path, typer.Argument(help="Folder of DICOM files, or NIfTI (x, y[, slice], time).")],
    masks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MASK...",
            help="What is drawn, on one frame or several: NIfTI, DICOM SEG or RTSTRUCT; of one slice, PNG too. The "
            "lumen, or by name: epicardium=outer.nii.gz.",
            show_default=False,
        ),
    ] = None,
    draw_first: Annotated[
        bool, typer.Option("--draw", help="Instead of masks: what dirnet draw draws, which is saved too. Look at it.")
    ] = False,
    frames: Annotated[
        list[int] | None,
        typer.Option("--frame", help="On which it was drawn, from 0; one for all masks, or each its own."),
    ] = None,
    series: Annotated[
        str | None, typer.Option("--series", help="Number or UID of the series, where a folder has several cines.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="Of a mask with several values, which is which: lumen=3,rv=1; or acdc, mnms."),
    ] = None,
    ed: Annotated[
        int | None, typer.Option("--ed", min=0, help="End-diastolic frame; by default that of the largest volume.")
    ] = None,
    es: Annotated[
        int | None, typer.Option("--es", min=0, help="End-systolic frame; by default that of the smallest volume.")
    ] = None,
    left_out_ed: Annotated[
        list[int] | None, typer.Option("--left_out_ed", help="Slice that is no part of the ventricle at end-diastole.")
    ] = None,
    left_out_es: Annotated[
        list[int] | None, typer.Option("--left_out_es", help="The same at end-systole; each can be given repeatedly.")
    ] = None,
    heart_rate: Annotated[
        float | None, typer.Option("--heart_rate", min=20, max=250, help="Beats a minute; by default the file's.")
    ] = None,
    height_cm: Annotated[
        float | None, typer.Option("--height_cm", min=30, max=250, help="Of the patient; by default the file's.")
    ] = None,
    weight_kg: Annotated[
        float | None, typer.Option("--weight_kg", min=1, max=400, help="Of the patient; by default the file's.")
    ] = None,
    insertions: Annotated[
        str | None,
        typer.Option(
            "--insertions",
            help="Of the right ventricle on the left one, the anterior and the inferior: x,y,x,y in pixels. By default "
            "where the drawn right ventricle touches it.",
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a report on two pages too, HTML.")] = False,
    patient_name: Annotated[bool, typer.Option("--patient_name", help="With the patient's name on it.")] = False,
    output_dir: OutputDir = Path(),
    formats: Annotated[
        str | None,
        typer.Option(
            "--formats",
            help=f"Separated by commas: {', '.join(FOLLOWED)}. By default all that the cine can have, except slicer "
            "and report.",
        ),
    ] = None,
    weights: Weights = None,
    refine: Refine = 0,
    force: Force = False,
) -> None:
    """Carry what is drawn on some frames to the whole cycle; volumes, ejection fraction and strain follow.

    Example: dirnet propagate CINESAX_300 lumen.nii.gz --frame 19 --output_dir results

    Example: dirnet propagate patient001_4d.nii.gz patient001_frame01_gt.nii.gz --labels acdc --frame 0

    Example: dirnet propagate CINESAX_300 --draw --output_dir results
    """
    if bool(masks) == draw_first:
        message = "name the files of what is drawn, or --draw for first contours by a network, not both"
        raise typer.BadParameter(message, param_hint="MASK")

    from dirnet.files.aside import check_results
    from dirnet.files.formats import first_files, followed_files, followed_formats
    from dirnet.models import SHIPPED_WEIGHTS, drawing_weights_file, weights_file
    from transforms.paths import check_file
    from transforms.structures import drawing_file

    if not cine.exists():
        raise FileNotFoundError(f"cine '{cine}' does not exist; expected a folder of DICOM files or a NIfTI file")
    if draw_first and (labels or len(frames or ()) > 1):
        raise InputError("--draw draws on one frame, and needs no --labels")
    for mask in masks or ():
        check_file(drawing_file(mask)[1])
    points = _insertions(insertions)
    weights_file(weights)
    asked = None if formats is None else _listed(formats)
    report = report or "report" in followed_formats(asked, dicom=True)
    if patient_name and not report:
        raise InputError("--patient_name is of the report: add --report")
    if draw_first:
        drawing_weights_file()

    from transforms.cine_files import read_cine_stack
    from transforms.drawings import read_authors, read_keyframes
    from transforms.study_info import read_study_info

    stack = read_cine_stack(cine, series)
    drawn, authors = None, None
    if masks:
        drawn = read_keyframes(masks, stack, frames or (), labels)
        authors = read_authors(masks, drawn)
    name = _cine_name(cine)
    chosen = [*followed_formats(asked, bool(stack.files)), *(["report"] if report else [])]
    results = [*followed_files(name, chosen).values(), *(first_files(name).values() if draw_first else ())]
    check_results(output_dir, results, force)
    study = read_study_info(stack).given(heart_rate, height_cm, weight_kg)

    from dirnet.cine import first_drawing, follow, saving
    from dirnet.cine.phases import Phases
    from dirnet.registrar import Registrar
    from dirnet.speed.memory import keep_freed_memory

    phases = Phases(ed, es, frozenset(left_out_ed or ()), frozenset(left_out_es or ()))
    keep_freed_memory()
    if drawn is None:
        drawn = _draw(stack, frames[0] if frames else None, output_dir, name, force)
        authors = first_drawing.authors_of_first(drawn)
    registrar = Registrar.load(weights, refinement=refine, spatial_dims=2)
    followed = follow.follow(registrar, stack, drawn, phases=phases, study=study, insertions=points, authors=authors)
    said = str(weights or SHIPPED_WEIGHTS.stem) + (f", {refine} steps of refinement" if refine else "")
    written = saving.save(followed, output_dir, name, force, chosen, weights=said, patient_name=patient_name)
    numbers = followed.numbers
    warnings = numbers.pop("warnings")
    for number, value in numbers.items():
        if value is not None:
            typer.echo(f"{number.replace('_', ' ')}: {_said(value)}")
    unknown = [number.replace("_", " ") for number, value in numbers.items() if value is None]
    if unknown:
        typer.echo(f"unknown: {', '.join(unknown)}")
    for path in written:
        typer.echo(f"written: {path}")
    for warning in warnings:  # last, where they are read
        typer.echo(f"warning: {warning}", err=True)


@app.command()
def draw(
    cine: Annotated[
        Path, typer.Argument(help="Of short-axis slices: folder of DICOM files, or NIfTI (x, y[, slice], time).")
    ],
    frame: Annotated[
        int | None, typer.Option("--frame", help="On which to draw, from 0; by default end-diastole, as found.")
    ] = None,
    series: Annotated[
        str | None, typer.Option("--series", help="Number or UID of the series, where a folder has several cines.")
    ] = None,
    output_dir: OutputDir = Path(),
    force: Force = False,
) -> None:
    """Draw a first contour of the left ventricle, lumen and epicardium, on one frame of each slice: to be looked at,
    mended, and propagated.

    Example: dirnet draw CINESAX_300 --output_dir results
    """
    from dirnet.files.aside import check_results
    from dirnet.files.formats import first_files
    from dirnet.models import drawing_weights_file

    if not cine.exists():
        raise FileNotFoundError(f"cine '{cine}' does not exist; expected a folder of DICOM files or a NIfTI file")
    drawing_weights_file()
    check_results(output_dir, first_files(_cine_name(cine)).values(), force)

    from transforms.cine_files import read_cine_stack

    stack = read_cine_stack(cine, series)
    if frame is not None:
        stack.check_frame(frame)
    _draw(stack, frame, output_dir, _cine_name(cine), force)


def _draw(stack: CineStack, frame: int | None, output_dir: Path, name: str, force: bool) -> dict[str, np.ndarray]:
    """Draw first contours, save them, and say what was drawn: (S, T, H, W) by structure."""
    from dirnet.cine.first_drawing import on_frame, save_first
    from dirnet.first_contours import FirstContours

    first = FirstContours.load()
    frame = first.end_diastole(stack) if frame is None else frame
    drawn = first.draw(stack, frame)
    written = save_first(drawn, stack, frame, output_dir, name, force)
    for structure, masks in drawn.items():
        numbers = ", ".join(str(number) for number, mask in enumerate(masks) if mask.any())
        typer.echo(f"first contour of the {structure} on frame {frame}, slices {numbers}")
    for path in written:
        typer.echo(f"written: {path}")
    typer.echo("warning: drawn by a network: look at them, and mend them where they are wrong", err=True)
    return on_frame(drawn, stack, frame)


def _cine_name(cine: Path) -> str:
    from transforms.paths import stem

    return cine.resolve().name if cine.is_dir() else stem(cine)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join("unknown" if part is None else str(part) for part in value) or "none"
    return str(value)


def _insertions(text: str | None) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The two points that --insertions says."""
    if text is None:
        return None
    try:
        ax, ay, ix, iy = map(float, text.split(","))
    except ValueError as error:
        raise InputError(f"--insertions: expected x,y,x,y, four numbers in pixels, got {text}") from error
    return (ax, ay), (ix, iy)


@app.command(name="list")
def list_series(
    folder: Annotated[Path, typer.Argument(help="Searched for DICOM files, with its sub-folders.")],
) -> None:
    """Show the series of a study, and which of them are cines.

    Example: dirnet list ~/data/study
    """
    from transforms.dicom_series import find_series

    if not folder.is_dir():
        raise FileNotFoundError(f"folder '{folder}' does not exist")
    rows = [("series", "description", "slices × frames", "view", "folder", "")]
    for one in find_series(folder, _say_progress):
        rows.append(
            (
                one.number,
                one.description,
                one.size,
                one.view,
                os.path.relpath(one.folder, folder),
                f"no cine: {one.reason}" if one.reason else "cine",
            )
        )
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, last in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        typer.echo(f"{line}  {last}".rstrip())


def _say_progress(read: int, files: int) -> None:
    if sys.stderr.isatty() and read % 100 == 0:
        typer.echo(f"\r{read} of {files} files\r", nl=False, err=True)


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(help="Where the cines are: DICOM series in folders, NIfTI files.")],
    output_dir: OutputDir = Path("dirnet_results"),
    weights: Weights = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any that is free.")] = 8765,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
) -> None:
    """Look at cines in a browser: draw the lumen, follow it, judge and save what came of it.

    Example: dirnet view ~/data/scd
    """
    from dirnet.models import SHIPPED_WEIGHTS, weights_file

    if not folder.is_dir():
        raise FileNotFoundError(f"folder '{folder}' does not exist")
    weights_file(weights)
    try:
        from .viewer.server import serve
    except ModuleNotFoundError as error:
        raise InputError(f"the viewer needs {error.name}: pip install 'monai-dirnet[viewer]'") from error
    from dirnet.registrar import Registrar

    said = str(weights or SHIPPED_WEIGHTS.stem)
    serve(folder, Registrar.load(weights, spatial_dims=2), output_dir, port, browser=not no_browser, weights=said)


@app.command()
def datalist(
    folder: Annotated[Path, typer.Argument(help="Laid out as SCD, ACDC, M&Ms or UK Biobank's tools; or a study each.")],
    folds: Annotated[int | None, typer.Option("--folds", min=2, help="Parts of a cross-validation.")] = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="The part whose patients are the validation, from 0.")
    ] = None,
) -> None:
    """Print what a folder holds as a datalist, the JSON that trainings and evaluations take as --dataset_dir.

    Splits are the layout's; where it has no validation, a fifth of the training's patients become it. With --folds the
    patients of training and validation are dealt anew; the test split stays as it is.

    Example: dirnet datalist ~/data/scd --folds 5 --fold 0 > fold0.json
    """
    if (folds is None) != (fold is None):
        raise InputError("--folds, how many parts, and --fold, which of them, go together")

    from transforms.datalists import as_datalist, fold_of
    from transforms.layouts import read_folder
    from transforms.sources import read_records

    records = read_records(folder, "") if folder.is_file() else read_folder(folder, validation=folds is None)
    if folds is not None and fold is not None:
        records = fold_of(records, fold, folds)
    typer.echo(json.dumps(as_datalist(records), indent=1))


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Of trainings, searched with its sub-folders.")] = Path("runs"),
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file too.")] = None,
    force: Force = False,
) -> None:
    """Compare trainings: how far each is, its validation scores, and the options in which they differ.

    Example: dirnet runs runs --csv runs.csv
    """
    from dirnet.files.aside import check_results

    if csv is not None:
        check_results(csv.parent, [csv.name], force)

    from rich.console import Console

    from dirnet.files.tables import write_csv
    from dirnet.training.runs import find_runs, runs_table, show_runs

    found, damaged = find_runs(folder)
    table = runs_table(found, folder)
    if found:
        show_runs(table, Console(width=max(100, Console().width)))
    if csv is not None:
        write_csv(csv, table)
        typer.echo(f"written: {csv}")
    for line in damaged:
        typer.echo(f"warning: left out, {line}", err=True)


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    patients: Annotated[int, typer.Option("--patients", min=3, help="Their number.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Two seeds share no patient.")] = 0,
) -> None:
    """Make beating-heart phantoms: DICOM cines, contours and splits, in the layout of the Sunnybrook data; and of the
    first a drawing at end-diastole, ED.seg.nrrd, to carry through its cine.

    Example: dirnet phantom data/phantom
    """
    from transforms.phantom import Phantom, seed_of_patient, write_scd

    write_scd(folder, patients=patients, seed=seed)
    typer.echo(f"written: {folder}, the cines and contours of {patients} phantoms")

    from .demo import write_drawing

    series, drawing = next(folder.glob("SCD_IMAGES_01/SCD0000101/*")), folder / "ED.seg.nrrd"
    frame = write_drawing(drawing, series, Phantom(seed_of_patient(seed, 1)))
    typer.echo(f"written: {drawing}, drawn on the first; next: dirnet propagate {series} {drawing} --frame {frame}")


@app.command()
def info(weights: Weights = None) -> None:
    """Say which network there is, and on what it runs."""
    from dirnet.models import SHIPPED_WEIGHTS, weights_file

    file = weights_file(weights)

    from dirnet.nets.inference import bfloat16_pays, default_device
    from dirnet.nets.weights import load_network

    definition = {key: value for key, value in load_network(file).definition.items() if value is not None}
    device = default_device()
    typer.echo(f"weights: {weights or SHIPPED_WEIGHTS}")
    typer.echo("network: " + ", ".join(f"{key} {value}" for key, value in definition.items()))
    typer.echo(f"device: {device}{', bfloat16' if bfloat16_pays(device) else ''}")
    versions = {name: importlib.metadata.version(name) for name in ("monai", "torch")}
    typer.echo(
        ", ".join(f"{name} {version}" for name, version in versions.items()) + f", Python {platform.python_version()}"
    )
    typer.echo(f"bundle: {SHIPPED_WEIGHTS.parents[1]}")


def main() -> None:
    terminal.run(app)


if __name__ == "__main__":
    main()
