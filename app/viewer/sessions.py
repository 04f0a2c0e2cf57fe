"""A reader's work on a cine, kept as it is done: a file beside the results, read again when the cine is opened."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from dirnet.errors import InputError
from dirnet.files.aside import write_aside

from .drawing import Contour, Drawing, Point, Structure

__all__ = ["Session", "Stored", "TakenError", "read_session", "write_session"]

_writing = threading.Lock()  # between reading what is there and replacing it nobody else may come


class TakenError(Exception):
    """Another window has changed the work since."""


class Open(BaseModel):
    """A contour that is not closed yet."""

    structure: Structure
    slice: int
    frame: int
    points: Annotated[list[Point], Field(max_length=10_000)]


class Suggested(BaseModel):
    """Contours that a network offers on a frame, and that are neither accepted nor dismissed."""

    frame: int
    contours: list[Contour]


class Shown(BaseModel):
    """What was on the screen."""

    structure: Structure
    slice: int
    frame: int


class Session(Drawing):
    """
    Attributes:
        open: a contour that is not closed yet.
        suggested: by a network.
        following: whether the contours were being followed.
        shown: what was on the screen.
        window: of the browser, that has sent it.
    """

    open: Open | None = None
    suggested: Suggested | None = None
    following: bool = False
    shown: Shown
    window: Annotated[str, Field(max_length=100)]


class Stored(Session):
    """A session in a file.

    Attributes:
        version: one more each time that it is written.
        saved: when, as ISO 8601 has it.
        stamp: of the cine's files, see :meth:`.cines.Cines.mark`.
    """

    version: int
    saved: str
    stamp: str


def read_session(path: Path) -> Stored | None:
    """None where there is none.

    Raises:
        InputError: when the file holds something else.
    """
    try:
        return Stored.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ", ".join(map(str, first["loc"]))
        raise InputError(
            f"{path.name}: expected the work of a reader, as this viewer has written it: {where}: {first['msg']}"
        ) from error


def write_session(path: Path, session: Session, stamp: str, after: int, force: bool = False) -> Stored:
    """Replace a session. One that cannot be read, is of other files of the cine, or was made in another window is kept
    under another name, with its time.

    Args:
        path: of the file.
        session: the work.
        stamp: of the cine's files as they are now.
        after: version of the session that the work goes on from; 0 for none.
        force: whether to replace what another window has written since.

    Raises:
        TakenError: when another window has written one since.
        OSError: when the file cannot be written.
    """
    with _writing:
        try:
            there = read_session(path)
            foreign = there is not None and there.stamp != stamp
            taken = there is not None and there.version != after and there.window != session.window
        except InputError:
            there, foreign, taken = None, True, False
        if taken and not foreign and not force:
            raise TakenError("the work on this cine was changed in another window")
        now = datetime.now(timezone.utc)
        if foreign or taken:
            path.rename(path.with_name(f"{path.stem}_{now:%Y%m%d_%H%M%S_%f}.json"))
        version = max(after, there.version if there else 0) + 1
        stored: dict[str, Any] = session.model_dump(mode="json", include=set(Session.model_fields), exclude_none=True)
        stored |= {"version": version, "saved": now.isoformat(timespec="seconds"), "stamp": stamp}
        with write_aside(path) as aside:
            aside.write_text(json.dumps(stored) + "\n")
        return Stored.model_validate(stored)
