"""What the experiments' results have in common: settings and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dirnet.files import write_aside

from . import report, tables

__all__ = ["keep_settings", "write_markdown"]


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write an experiment's settings to its folder, or hold them against those that it was started with.

    Raises:
        ValueError: when they differ; names the differences.
    """
    path = folder / "settings.json"
    if not path.is_file():
        with write_aside(path) as aside:
            aside.write_text(json.dumps(settings, indent=1) + "\n")
        return
    before = json.loads(path.read_text())
    changes = [f"{key} {before.get(key)!r} (now {now!r})" for key, now in settings.items() if before.get(key) != now]
    if changes:
        raise ValueError(f"{path} is of an experiment with other settings: {', '.join(changes)}; choose another folder")


def write_markdown(
    path: Path, title: str, introduction: str, sections: Sequence[report.Section], about: Mapping[str, Any]
) -> None:
    parts = [f"# {title}\n", f"{introduction}\n"]
    for section in sections:
        parts.append(f"## {section.title}\n\n{tables.markdown(section.table)}\n{section.note}\n")
    parts.append("## Made with\n\n" + "".join(f"- {key}: {value}\n" for key, value in about.items()))
    with write_aside(path) as aside:
        aside.write_text("\n".join(parts), encoding="utf-8")
