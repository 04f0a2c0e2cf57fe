"""What the viewer's page asks: cines, what follows from contours, and that it be saved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import anyio
import numpy as np
import torch
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from app.uploads import check_size, most_bytes
from dirnet.cine.first_drawing import on_frame
from dirnet.cine.follow import Followed, follow
from dirnet.cine.plane import longest_extents
from dirnet.cine.plausibility import doubtful_slices
from dirnet.cine.saving import save
from dirnet.errors import InputError
from dirnet.fields.composition import invert
from dirnet.fields.resampling import warp
from dirnet.files.formats import first_files
from dirnet.first_contours import FirstContours
from dirnet.propagation import Propagation
from dirnet.registrar import Registrar
from transforms.cine_files import CineStack
from transforms.drawings import read_authors, read_keyframes
from transforms.saved_masks import is_described_by, sidecar
from transforms.structures import LABELLED

from .cines import Cines
from .downloads import archive
from .drawing import Drawing, contours_of
from .results import Results
from .sessions import Session, TakenError, read_session, write_session
from .shown import Shown
from .shown import describe as as_shown

__all__ = ["FIELD_STEP", "Viewer", "router"]

FIELD_STEP = 3  # pixels between the points of which the page is told how they moved
UPLOAD_BYTES = 2**31  # whatever the cine
SIDECAR_BYTES = 2**20
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


class Following(Drawing):
    """What is to be followed.

    Attributes:
        earlier: number of a result; contours of slices that are the same are not sent once more.
    """

    earlier: int | None = None


class Keeping(Session):
    """Work that is to be kept; see :func:`.sessions.write_session`."""

    after: int
    force: bool = False


class Suggesting(BaseModel):
    """
    Attributes:
        frame: on which to draw; end-diastole, as the network finds it, by default.
    """

    frame: int | None = None


class Saving(BaseModel):
    """
    Attributes:
        result: number of what is to be saved.
        overwrite: whether files that are there may be replaced.
        patient_name: whether a report names the patient.
    """

    result: int
    overwrite: bool = False
    patient_name: bool = False


@dataclass(frozen=True)
class Viewer:
    """What the requests share.

    Attributes:
        cines: that are shown.
        registrar: that follows the contours.
        results: of the contours followed lately.
        output_dir: where results are saved, in the cines' own sub-folders.
        weights: of the registrar, as reports name them.
        progress: what is being done, how much of it is done, and of how much, by cine and request, while that is going
            on.
    """

    cines: Cines
    registrar: Registrar
    results: Results
    output_dir: Path
    weights: str = "unknown"
    progress: dict[tuple[str, str], tuple[str, int, int]] = field(default_factory=dict)

    @cached_property
    def first_contours(self) -> FirstContours:
        """The network that suggests contours; loaded when it is first asked."""
        return FirstContours.load(device=self.registrar.device)

    def follow(self, key: str, stack: CineStack, drawing: Drawing, earlier: Followed | None = None) -> Followed:
        """
        Args:
            key: of the cine, whose progress can be asked for meanwhile.
            stack: the cine.
            drawing: on it.
            earlier: of the same cine.

        Raises:
            InputError: when nothing is drawn, or not what the cine can have.
        """
        masks = drawing.masks(stack)

        def progress(done: int, count: int) -> None:
            self.progress[key, "follow"] = "", done, count

        try:
            return follow(
                self.registrar,
                stack,
                masks,
                phases=drawing.phases,
                earlier=earlier,
                progress=progress,
                authors=drawing.authors,
                notes=drawing.notes,
            )
        finally:
            self.progress.pop((key, "follow"), None)

    def suggest(self, key: str, stack: CineStack, frame: int | None) -> tuple[int, dict[str, np.ndarray]]:
        """
        Args:
            key: of the cine, whose progress can be asked for meanwhile.
            stack: the cine.
            frame: on which to draw; end-diastole by default.

        Returns:
            the frame, and what a network has drawn on it: (S, T, H, W) bool by structure.

        Raises:
            InputError: when no ventricle is found, or there is no such frame.
        """

        def telling(what: str) -> Callable[[int, int], None]:
            def progress(done: int, count: int) -> None:
                self.progress[key, "suggest"] = what, done, count

            return progress

        first = self.first_contours
        try:
            if frame is None:
                frame = first.end_diastole(stack, telling("finding end-diastole"))
            return frame, on_frame(first.draw(stack, frame, telling("drawing")), stack, frame)
        finally:
            self.progress.pop((key, "suggest"), None)

    def save(self, key: str, followed: Followed, saving: Saving, formats: Sequence[str] | None = None) -> list[Path]:
        """Save results of a cine where they belong; see :func:`dirnet.cine.saving.save`.

        Raises:
            FileExistsError: names the folder where there are some that may not be replaced.
        """
        within, name = self.cines.place(key)
        target = (self.output_dir / within).resolve()
        try:
            return save(
                followed,
                target,
                name,
                saving.overwrite,
                formats,
                weights=self.weights,
                patient_name=saving.patient_name,
            )
        except FileExistsError:
            there = "is a report" if formats == ["report"] else "are results"
            raise FileExistsError(f"there {there} of this cine in {target}") from None

    def session_file(self, key: str) -> Path:
        """Of the work on a cine."""
        within, name = self.cines.place(key)
        return self.output_dir / within / f"{name}_session.json"

    def report_file(self, key: str) -> Path:
        """Of the report on a cine."""
        within, name = self.cines.place(key)
        return self.output_dir / within / f"{name}_report.html"


def _viewer(request: Request) -> Viewer:
    return request.app.state.viewer


Shared = Annotated[Viewer, Depends(_viewer)]


def _stack(cine: str, viewer: Shared) -> CineStack:
    return viewer.cines.read(cine)


Stack = Annotated[CineStack, Depends(_stack)]


def _followed(cine: str, result: int, viewer: Shared) -> Followed:
    """A result that was given before."""
    stamp = viewer.cines.stamp(cine)
    return viewer.results.get(
        cine, result, stamp, lambda drawing: viewer.follow(cine, viewer.cines.read(cine), drawing)
    )


def _followed_slice(number: int, followed: Annotated[Followed, Depends(_followed)]) -> Followed:
    if number not in followed.slices:
        raise HTTPException(404, f"nothing was drawn on slice {number}")
    return followed


FollowedSlice = Annotated[Followed, Depends(_followed_slice)]


async def _upload(
    name: str, request: Request, stack: Stack, sidecar_bytes: Annotated[int, Query(ge=0, le=SIDECAR_BYTES)] = 0
) -> AsyncIterator[Path]:
    """The file that the request brings, for the time of the request; not larger than masks of the cine can be. So many
    bytes before it are of the file that stands beside it."""
    file = Path(name.replace("\\", "/")).name
    if file in ("", "..") or "\0" in file:
        raise InputError(f"name must be that of a file, got {name!r}")
    most = most_bytes(stack)
    with tempfile.TemporaryDirectory() as folder:
        path, size, beside = Path(folder) / file, 0, b""
        try:
            async with await anyio.open_file(path, "wb") as target:
                async for part in request.stream():
                    first = part[: sidecar_bytes - len(beside)]
                    beside += first
                    size += len(part) - len(first)
                    if size > most:
                        raise HTTPException(413, f"{file}: expected masks of the cine, at most {most} bytes")
                    await target.write(part[len(first) :])
            if beside and sidecar(path) != path:
                sidecar(path).write_bytes(beside)
        except OSError as error:  # such as a name too long
            raise InputError(f"{file}: {error.strerror}") from error
        yield path


router = APIRouter(prefix="/api/cines")


@router.get("")
def list_cines(viewer: Shared) -> JSONResponse:
    found = viewer.cines.scan()
    return JSONResponse([{"id": key, "name": name, "study": viewer.cines.study(key)} for key, name in found.items()])


@router.get("/{cine}")
def describe(cine: str, viewer: Shared) -> JSONResponse:
    """What a cine is; of a folder with several, which there are."""
    if choices := viewer.cines.choices(cine):
        return JSONResponse({"choices": [{"id": key, "name": name} for key, name in choices.items()]})
    return JSONResponse({**as_shown(viewer.cines.read(cine)), "stamp": viewer.cines.mark(cine)})


@router.get("/{cine}/slices/{number}/frames")
def frames(number: int, stack: Stack) -> Response:
    if not 0 <= number < len(stack.images):
        raise HTTPException(404, f"slice must be 0 to {len(stack.images) - 1}, got {number}")
    return _bytes(stack, stack.images[number])


@router.get("/{cine}/small")
def small(stack: Stack) -> Response:
    """All slices and frames in small, of the heart's region: (S, T, h, w)."""
    return _bytes(stack, Shown.of(stack).small)


@router.post("/{cine}/mask", max_body_size=UPLOAD_BYTES)
def read_mask(
    cine: str,
    frame: int,
    stack: Stack,
    viewer: Shared,
    file: Annotated[Path, Depends(_upload)],
    labels: str | None = None,
) -> JSONResponse:
    """What is drawn in a file; a drawing without time is taken for the frame that is named."""
    stack.check_frame(frame)
    try:
        check_size(file, stack)
        _bring_sidecar(cine, file, viewer)
        files, values = _named(file, labels or None)
        drawn = _read_keyframes(files, stack, frame, values)
        contours = contours_of(drawn, read_authors(files, drawn))
    except InputError as error:
        message = str(error).replace(f"{file.parent}{os.sep}", "").replace("--labels", "Labels:")
        raise InputError(message) from error
    return JSONResponse({"contours": contours})


@router.post("/{cine}/follow")
def follow_drawing(cine: str, drawing: Following, viewer: Shared) -> JSONResponse:
    stamp = viewer.cines.stamp(cine)
    earlier = None if drawing.earlier is None else viewer.results.kept(cine, drawing.earlier, stamp)
    followed = viewer.follow(cine, viewer.cines.read(cine), drawing, earlier)
    number = viewer.results.keep(cine, stamp, drawing, followed)
    return JSONResponse({"result": number, **_summary(followed, earlier)})


@router.post("/{cine}/suggest")
def suggest(cine: str, suggesting: Suggesting, stack: Stack, viewer: Shared) -> JSONResponse:
    """What a network would draw, on all slices where it finds a ventricle; nothing is changed by it."""
    frame, drawn = viewer.suggest(cine, stack, suggesting.frame)
    return JSONResponse({"frame": frame, "contours": contours_of(drawn)})


@router.get("/{cine}/progress/{act}")
def progress(cine: str, act: Literal["follow", "suggest"], viewer: Shared) -> JSONResponse:
    """How many slices have been followed, or images looked at, and of how many; nothing where none are."""
    found = viewer.progress.get((cine, act))
    return JSONResponse({} if found is None else {"what": found[0], "done": found[1], "all": found[2]})


@router.get("/{cine}/session")
def session(cine: str, viewer: Shared) -> JSONResponse:
    """The work that was kept, and whether the cine's files are those that it was done on."""
    try:
        found = read_session(viewer.session_file(cine))
    except InputError as error:
        return JSONResponse({"session": None, "trouble": str(error)})
    if found is None:
        return JSONResponse({"session": None})
    return JSONResponse({"session": found.model_dump(mode="json"), "same": found.stamp == viewer.cines.mark(cine)})


@router.put("/{cine}/session")
def keep_session(cine: str, keeping: Keeping, viewer: Shared) -> JSONResponse:
    try:
        kept = write_session(viewer.session_file(cine), keeping, viewer.cines.mark(cine), keeping.after, keeping.force)
    except TakenError as error:
        raise HTTPException(409, str(error)) from None
    return JSONResponse({"version": kept.version, "saved": kept.saved})


@router.get("/{cine}/slices/{number}/warped")
def warped(number: int, followed: FollowedSlice) -> Response:
    images = torch.from_numpy(followed.cine.images[number])[:, None]
    drawn = images[followed.slices[number].origins]
    return _bytes(followed.cine, warp(drawn, torch.from_numpy(followed.slices[number].ddf)).numpy())


@router.get("/{cine}/slices/{number}/field")
def motion(number: int, followed: FollowedSlice) -> Response:
    moved = _moved(followed.slices[number].ddf)
    return Response(moved.astype("<f4").tobytes(), media_type="application/octet-stream")


@router.post("/{cine}/save")
def save_result(cine: str, saving: Saving, viewer: Shared) -> JSONResponse:
    paths = viewer.save(cine, _followed(cine, saving.result, viewer), saving)
    return JSONResponse({"folder": str(paths[0].parent), "files": [path.name for path in paths]})


@router.post("/{cine}/report")
def save_report(cine: str, saving: Saving, viewer: Shared) -> JSONResponse:
    (path,) = viewer.save(cine, _followed(cine, saving.result, viewer), saving, ["report"])
    return JSONResponse({"folder": str(path.parent), "files": [path.name]})


@router.get("/{cine}/report")
def read_report(cine: str, viewer: Shared) -> Response:
    """The report that was saved last."""
    path = viewer.report_file(cine)
    if not path.is_file():
        raise FileNotFoundError("there is no report of this cine")
    return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/{cine}/download")
def download(
    cine: str, followed: Annotated[Followed, Depends(_followed)], viewer: Shared, patient_name: bool = False
) -> Response:
    """All results and the report in one archive, packed before the first byte is sent."""
    _, name = viewer.cines.place(cine)
    packed = archive(followed, name, viewer.weights, patient_name)
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}.zip"
    return Response(packed, media_type="application/zip", headers={"Content-Disposition": disposition})


def _named(path: Path, labels: str | None) -> tuple[list[str | Path], str | None]:
    """A file and its labels, which may be a structure's name, of a file with one value."""
    return ([f"{labels}={path}"], None) if labels in LABELLED else ([path], labels)


def _read_keyframes(
    files: Sequence[str | Path], stack: CineStack, frame: int, labels: str | None
) -> dict[str, np.ndarray]:
    """What is drawn, on the files' own frames, or of one without time on the frame shown."""
    try:
        return read_keyframes(files, stack, labels=labels)
    except InputError:  # it names no frame of its own, or cannot be read at all, which is said again
        return read_keyframes(files, stack, [frame], labels)


def _bring_sidecar(cine: str, file: Path, viewer: Viewer) -> None:
    """Put beside masks that were saved here what says which of them were drawn, and by whom; of others it does not
    fit, by its checksum.

    Raises:
        InputError: when the reader has sent one along that is not of these masks.
    """
    beside = sidecar(file)
    if beside != file and beside.is_file():
        if not is_described_by(file, beside):
            raise InputError(f"{beside.name} is not of {file.name} as it is: these masks were changed, or are others")
        return
    within, name = viewer.cines.place(cine)
    folder = viewer.output_dir / within
    for saved in (folder / f"{name}_masks.json", folder / first_files(name)["json"]):
        if is_described_by(file, saved):
            beside.write_bytes(saved.read_bytes())
            return


def _summary(followed: Followed, earlier: Followed | None) -> dict[str, Any]:
    """A result, as the page is told of it; without the contours of slices that are those of an earlier one."""
    doubtful = set(doubtful_slices(followed))
    cine, masks = followed.cine, followed.masks
    in_plane = cine.one_plane and cine.view != "short axis"  # a length is that of the ventricle
    slices = {}
    for number, result in followed.slices.items():
        kept = earlier is not None and earlier.slices.get(number) is result
        slices[number] = {
            "areas": {name: _known(curves[number]) for name, curves in followed.areas.items()},
            "left_out": _left_out(followed, number),
            "doubtful": number in doubtful,
            "lengths": longest_extents(masks[number], cine.spacing).tolist() if in_plane else None,
            "contours": None if kept else {name: _contours(result, name) for name in result.structures},
        }
    return {
        "slices": slices,
        "volumes": {name: _known(curve.ml) for name, curve in followed.volumes.items()},
        "numbers": followed.numbers,
        "field_step": FIELD_STEP,
    }


def _left_out(followed: Followed, number: int) -> list[int]:
    """Frames on which a slice counts less than half, for the reader says that it is no part of the ventricle there."""
    name, masks = next(iter(followed.slices[number].structures.items()))
    gone = masks.any((1, 2)) & ~followed.structures[name][number].any((1, 2))
    return np.flatnonzero(gone).tolist()


def _known(curve: np.ndarray) -> list[float | None] | None:
    """None where there is nothing at all."""
    return np.round(curve, 3).tolist() if np.isfinite(curve).all() else None


def _contours(result: Propagation, structure: str) -> list[list[list[list[float]]]]:
    return [[ring.round(2).tolist() for ring in rings] for rings in result.contours(structure)]


def _bytes(cine: CineStack, images: np.ndarray) -> Response:
    """Images with a cine's grey values, as the numbers that stand for them: two bytes a pixel, the lower first."""
    return Response(Shown.of(cine).scale.bytes(images), media_type="application/octet-stream")


def _moved(ddf: np.ndarray) -> np.ndarray:
    """How far the tissue of every FIELD_STEP-th pixel of the drawn frame has moved, (T, 2, h, w) in pixels (row,
    column): the inverse of the field (T, 2, H, W), which tells whence the tissue of a pixel came."""
    start = np.indices(ddf.shape[2:], np.float32)[:, ::FIELD_STEP, ::FIELD_STEP]
    places = torch.from_numpy(start.reshape(2, -1).T.copy())
    return invert(torch.from_numpy(ddf), places).numpy().reshape(len(ddf), *start.shape)
