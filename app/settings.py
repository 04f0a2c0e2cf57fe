"""What a folder of results was begun with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dirnet.errors import InputError
from dirnet.files.aside import write_aside

__all__ = ["keep_settings"]


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write settings to a folder of results, or compare them with those that it was begun with.

    Raises:
        InputError: when they differ, or the file is damaged; names the differences.
    """
    path = folder / "settings.json"
    if not path.is_file():
        with write_aside(path) as aside:
            aside.write_text(json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: expected the settings that the folder was begun with, as JSON: {error}") from error
    changes = [f"{key} {before.get(key)!r} (now {now!r})" for key, now in settings.items() if before.get(key) != now]
    if changes:
        raise InputError(f"'{folder}' was begun with other settings: {', '.join(changes)}; choose another --output_dir")
