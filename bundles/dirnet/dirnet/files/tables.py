"""Tables as CSV files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .aside import write_aside

__all__ = ["write_csv"]


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table with six digits, whole or not at all; what is nan is left empty."""
    with write_aside(path) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
