"""What the commands load: help and refusals no torch, registering and info no MONAI."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

SCRIPT = """
import runpy, sys
module, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__")
except SystemExit as end:
    print("ended:", end.code or 0, "loaded:", *(set(name.split(".")[0] for name in sys.modules)))
"""
READERS = {"SimpleITK", "nibabel", "pydicom", "PIL"}
TRAINING = {"monai", "ignite", "pandas", "scipy", "onnx"}


def loaded_by(module, *arguments):
    """Exit status, what was said, and the packages that were loaded."""
    command = [sys.executable, "-c", SCRIPT, module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    end = done.stdout.splitlines()[-1].split()
    assert end[0] == "ended:", done.stderr
    return int(end[1]), done.stdout + done.stderr, set(end[3:])


@pytest.mark.parametrize(
    "arguments",
    [
        ("app.command_line", "--help"),
        ("app.command_line", "propagate", "--help"),
        ("app.cohort", "--help"),
        ("app.experiments", "table1", "--help"),
        ("app.benchmarks", "--help"),
        ("app.pack", "--help"),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_that_computes(arguments):
    status, _, loaded = loaded_by(*arguments)
    assert status == 0
    assert not loaded & ({"torch", "matplotlib"} | TRAINING | READERS)


@pytest.fixture
def slices(tmp_path):
    for name in ("a", "b"):
        image = np.random.default_rng(ord(name)).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    (tmp_path / "a_to_b_ddf.npy").touch()
    (tmp_path / "text.dcm").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("app.command_line", "register", "a.png", "none.png"), "none.png' does not exist"),
        (("app.command_line", "register", "a.png", "text.dcm"), "text.dcm: cannot be read as DICOM"),
        (("app.command_line", "register", "a.png", "b.png", "--formats", "gif"), "got 'gif'"),
        (("app.command_line", "register", "a.png", "b.png", "--formats", "numpy"), "a_to_b_ddf.npy' exists"),
        (("app.command_line", "register", "a.png", "b.png", "-o", "text.dcm"), "text.dcm' is a file"),
        (("app.command_line", "register", "a.png", "b.png", "-w", "none.pt"), "weights 'none.pt' do not exist"),
        (("app.command_line", "propagate", "none", "a.png"), "none' does not exist"),
        (("app.command_line", "view", "none"), "none' does not exist"),
        (("app.cohort", "none.csv"), "none.csv' does not exist"),
        (("app.experiments", "table1", "--rows", "none"), "got 'none'"),
        (("app.experiments", "mnist", "--digits", "11"), "got '11'"),
        (("app.benchmarks", "none"), "got none"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else value,
)
def test_a_wrong_input_is_refused_before_torch_is_loaded(arguments, said, slices, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    monkeypatch.chdir(slices)
    status, output, loaded = loaded_by(*arguments)
    assert status == 1
    assert said in output
    assert not loaded & {"torch", "matplotlib", "monai", "ignite", "pandas"}


def test_what_registering_and_info_load(slices, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    monkeypatch.chdir(slices)
    status, _, loaded = loaded_by("app.command_line", "register", "a.png", "b.png", "-o", "new", "--formats", "numpy")
    assert status == 0
    assert not loaded & {"monai", "ignite", "pandas", "onnx"}
    status, _, loaded = loaded_by("app.command_line", "info")
    assert status == 0
    assert not loaded & ({"matplotlib"} | TRAINING | READERS)


def test_threads_yield_in_whatever_of_the_app_loads_torch_first():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    script = "import app, os; print(os.environ['OMP_WAIT_POLICY'])"  # as a worker of a cohort on another machine does
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "PASSIVE\n"


def test_a_warning_is_said_once_and_without_its_line():
    script = (
        "import typer, warnings; from app.terminal import run; app = typer.Typer()\n"
        "@app.command()\n"
        "def warn():\n"
        "    warnings.warn('mind this')\n"
        "    warnings.warn('mind this')\n"
        "run(app)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "warning: mind this\n")
