"""What the viewer's page asks: cines, what follows from a contour, and that it be saved."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
import numpy as np
import torch
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, FiniteFloat

from app.uploads import check_size, most_bytes
from dirnet.cine.follow import Followed, follow
from dirnet.cine.plane import longest_extents
from dirnet.cine.plausibility import doubtful_slices
from dirnet.cine.saving import save
from dirnet.errors import InputError
from dirnet.fields.composition import invert
from dirnet.fields.resampling import warp
from dirnet.propagation import Propagation
from dirnet.registrar import Registrar
from transforms.cine_files import CineStack
from transforms.contours import enclosed, outline
from transforms.drawings import read_drawing

from .cines import Cines
from .results import Results
from .shown import Shown
from .shown import describe as as_shown

__all__ = ["FIELD_STEP", "Viewer", "router"]

FIELD_STEP = 3  # pixels between the points of which the page is told how they moved
UPLOAD_BYTES = 2**31  # whatever the cine

Ring = Annotated[list[tuple[FiniteFloat, FiniteFloat]], Field(min_length=3, max_length=10_000)]


class Drawing(BaseModel):
    """Contours on one frame, by number of the slice, in the form of :mod:`transforms.contours`."""

    frame: int
    contours: dict[int, list[Ring]]


class Saving(BaseModel):
    result: int
    overwrite: bool = False


@dataclass(frozen=True)
class Viewer:
    """What the requests share.

    Attributes:
        cines: that are shown.
        registrar: that follows the contours.
        results: of the contours followed lately.
        output_dir: where results are saved, in the cines' own sub-folders.
    """

    cines: Cines
    registrar: Registrar
    results: Results
    output_dir: Path

    def follow(self, stack: CineStack, drawing: Drawing) -> Followed:
        """
        Raises:
            InputError: when there is no such frame or slice, or the contour encloses nothing or leaves the image.
        """
        stack.check_frame(drawing.frame)
        drawn = np.zeros(stack.images.shape, bool)
        drawn[:, drawing.frame] = _drawn(drawing, stack)
        return follow(self.registrar, stack, {"lumen": drawn})


def _viewer(request: Request) -> Viewer:
    return request.app.state.viewer


Shared = Annotated[Viewer, Depends(_viewer)]


def _stack(cine: str, viewer: Shared) -> CineStack:
    return viewer.cines.read(cine)


Stack = Annotated[CineStack, Depends(_stack)]


def _followed(cine: str, result: int, viewer: Shared) -> Followed:
    """A result that was given before."""
    stamp = viewer.cines.stamp(cine)
    return viewer.results.get(cine, result, stamp, lambda drawing: viewer.follow(viewer.cines.read(cine), drawing))


def _followed_slice(number: int, followed: Annotated[Followed, Depends(_followed)]) -> Followed:
    if number not in followed.slices:
        raise HTTPException(404, f"nothing was drawn on slice {number}")
    return followed


FollowedSlice = Annotated[Followed, Depends(_followed_slice)]


async def _upload(name: str, request: Request, stack: Stack) -> AsyncIterator[Path]:
    """The file that the request brings, for the time of the request; not larger than masks of the cine can be."""
    file = Path(name.replace("\\", "/")).name
    if file in ("", "..") or "\0" in file:
        raise InputError(f"name must be that of a file, got {name!r}")
    most = most_bytes(stack)
    with tempfile.TemporaryDirectory() as folder:
        path, size = Path(folder) / file, 0
        try:
            async with await anyio.open_file(path, "wb") as target:
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise HTTPException(413, f"{file}: expected masks of the cine, at most {most} bytes")
                    await target.write(part)
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
    return JSONResponse(as_shown(viewer.cines.read(cine)))


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
    frame: int, stack: Stack, file: Annotated[Path, Depends(_upload)], labels: str | None = None
) -> JSONResponse:
    stack.check_frame(frame)
    try:
        check_size(file, stack)
        masks, frame = _mask_on(file, stack, frame, labels or None)
    except InputError as error:
        message = str(error).replace(f"{file.parent}{os.sep}", "").replace("--labels", "Labels:")
        raise InputError(message) from error
    rings = {number: _rings(mask) for number, mask in enumerate(masks) if mask.any()}
    return JSONResponse({"frame": frame, "slices": rings})


@router.post("/{cine}/follow")
def follow_drawing(cine: str, drawing: Drawing, viewer: Shared) -> JSONResponse:
    stamp = viewer.cines.stamp(cine)
    followed = viewer.follow(viewer.cines.read(cine), drawing)
    number = viewer.results.keep(cine, stamp, drawing, followed)
    return JSONResponse({"result": number, **_summary(followed)})


@router.get("/{cine}/slices/{number}/warped")
def warped(number: int, followed: FollowedSlice) -> Response:
    images = torch.from_numpy(followed.cine.images[number])[:, None]
    drawn = images[followed.slices[number].origins]
    return _bytes(followed.cine, warp(drawn, torch.from_numpy(followed.slices[number].ddf)).numpy())


@router.get("/{cine}/slices/{number}/field")
def field(number: int, followed: FollowedSlice) -> Response:
    moved = _moved(followed.slices[number].ddf)
    return Response(moved.astype("<f4").tobytes(), media_type="application/octet-stream")


@router.post("/{cine}/save")
def save_result(cine: str, saving: Saving, viewer: Shared) -> JSONResponse:
    followed = _followed(cine, saving.result, viewer)
    within, name = viewer.cines.place(cine)
    target = (viewer.output_dir / within).resolve()
    try:
        paths = save(followed, target, name, saving.overwrite)
    except FileExistsError:
        raise HTTPException(409, f"there are results of this cine in {target}") from None
    return JSONResponse({"folder": str(target), "files": [path.name for path in paths]})


def _mask_on(path: Path, stack: CineStack, frame: int, labels: str | None) -> tuple[np.ndarray, int]:
    """What is drawn, and on which frame: the only one that the file has something on, else the one shown."""
    try:
        return read_drawing(path, stack, labels=labels)
    except InputError:  # it names no frame of its own, or cannot be read at all, which is said again
        return read_drawing(path, stack, frame, labels)


def _drawn(drawing: Drawing, cine: CineStack) -> np.ndarray:
    """Contours as masks (S, H, W)."""
    slices, _, height, width = cine.images.shape
    masks = np.zeros((slices, height, width), bool)
    for number, rings in drawing.contours.items():
        if not 0 <= number < slices:
            raise InputError(f"slice must be 0 to {slices - 1}, got {number}")
        points = np.concatenate([np.empty((0, 2)), *map(np.array, rings)])
        if (points < -0.5).any() or (points > (width - 0.5, height - 0.5)).any():
            raise InputError(f"slice {number}: the contour leaves the image")
        masks[number] = enclosed(rings, (height, width))
        if not masks[number].any():
            raise InputError(f"slice {number}: the contour encloses no pixel")
    return masks


def _summary(followed: Followed) -> dict[str, Any]:
    doubtful = set(doubtful_slices(followed))
    cine, masks = followed.cine, followed.masks
    in_plane = cine.one_plane and cine.view != "short axis"  # a length is that of the ventricle
    return {
        "frame": followed.numbers["drawn_on_frames"][0],
        "slices": {
            number: {
                "areas": followed.areas["lumen"][number].tolist(),
                "contours": _contours(result),
                "doubtful": number in doubtful,
                "lengths": longest_extents(masks[number], cine.spacing).tolist() if in_plane else None,
            }
            for number, result in followed.slices.items()
        },
        "volume": followed.volumes["lumen"].ml.tolist() if followed.volumes else None,
        "numbers": followed.numbers,
        "field_step": FIELD_STEP,
    }


def _contours(result: Propagation) -> list[list[list[list[float]]]]:
    return [[ring.round(3).tolist() for ring in rings] for rings in result.contours("lumen")]


def _rings(mask: np.ndarray) -> list[list[list[float]]]:
    return [ring.round(3).tolist() for ring in outline(mask)]


def _bytes(cine: CineStack, images: np.ndarray) -> Response:
    """Images with a cine's grey values, as the numbers that stand for them: two bytes a pixel, the lower first."""
    return Response(Shown.of(cine).scale.bytes(images), media_type="application/octet-stream")


def _moved(ddf: np.ndarray) -> np.ndarray:
    """How far the tissue of every FIELD_STEP-th pixel of the drawn frame has moved, (T, 2, h, w) in pixels (row,
    column): the inverse of the field (T, 2, H, W), which tells whence the tissue of a pixel came."""
    start = np.indices(ddf.shape[2:], np.float32)[:, ::FIELD_STEP, ::FIELD_STEP]
    places = torch.from_numpy(start.reshape(2, -1).T.copy())
    return invert(torch.from_numpy(ddf), places).numpy().reshape(len(ddf), *start.shape)
