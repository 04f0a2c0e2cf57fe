"""Evaluates by the bundle's configs in this process, and notes its peak memory: a row of ``compare``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from monai.bundle import run

from app.benchmarks.one_registration import peak_mb
from dirnet.files.aside import write_aside

__all__ = ["main"]


def main() -> None:
    task = json.loads(sys.argv[1])
    run(config_file=task["config_files"], **task["options"])
    peak = peak_mb(torch.device("cpu"))
    with write_aside(Path(task["made_file"])) as path:
        path.write_text(json.dumps({**task["made"], "peak_mb": peak}, indent=1) + "\n")


if __name__ == "__main__":
    main()
