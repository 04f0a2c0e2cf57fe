"""What the experiments' results have in common: a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dirnet.files.aside import write_aside

from . import report, tables

__all__ = ["write_markdown"]


def write_markdown(
    path: Path, title: str, introduction: str, sections: Sequence[report.Section], about: Mapping[str, Any]
) -> None:
    parts = [f"# {title}\n", f"{introduction}\n"]
    for section in sections:
        parts.append(f"## {section.title}\n\n{tables.markdown(section.table)}\n{section.note}\n")
    parts.append("## Made with\n\n" + "".join(f"- {key}: {value}\n" for key, value in about.items()))
    with write_aside(path) as aside:
        aside.write_text("\n".join(parts), encoding="utf-8")
