"""The packed bundle holds its own files, and the command says what it takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dirnet
from app.pack import pack
from dirnet.errors import InputError


def test_a_link_out_of_the_bundle_is_refused(tmp_path, monkeypatch):
    bundle = Path(dirnet.__file__).parents[1]
    shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("*.pt", "*.ts", "__pycache__"))
    monkeypatch.setattr(dirnet, "__file__", str(tmp_path / "bundle" / "dirnet" / "__init__.py"))
    pack(tmp_path / "whole.zip")
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "bundle" / "docs" / "notes.md").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match=r"notes.md: a link to .*secret.txt, expected a file of the bundle"):
        pack(tmp_path / "linked.zip")
    assert not (tmp_path / "linked.zip").exists()


def test_help_is_light():
    script = "import sys, runpy; sys.argv = ['app.pack', '--help']; runpy.run_module('app.pack', run_name='__main__')"
    script = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {script}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
    assert result.stdout.endswith("False\n")
