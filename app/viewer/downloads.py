"""All results of a followed cine as one archive, for who cannot reach the server's disk."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from dirnet.cine.follow import Followed
from dirnet.cine.saving import save
from dirnet.files.formats import followed_formats

__all__ = ["archive"]


def archive(followed: Followed, name: str, weights: str, patient_name: bool) -> bytes:
    """A ZIP file with a folder of what :func:`dirnet.cine.saving.save` writes by default, and the report.

    Args:
        followed: the heart.
        name: of the folder, and how the files' names begin.
        weights, patient_name: see there.
    """
    formats = [*followed_formats(None, bool(followed.cine.files)), "report"]
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for path in save(followed, Path(folder), name, formats=formats, weights=weights, patient_name=patient_name):
            target.write(path, f"{name}/{path.name}")
    return packed.getvalue()
