"""The viewer's server: cines of a folder to a page, contours back, and what follows from them."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import webbrowser
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
import torch
import typer
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, FiniteFloat
from scipy.ndimage import map_coordinates
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dirnet.cine.follow import Followed, follow, save
from dirnet.errors import InputError
from dirnet.fields.resampling import warp
from dirnet.registrar import Registrar
from dirnet.speed.memory import keep_freed_memory
from transforms.cine import scale_intensity
from transforms.cine_files import CineStack
from transforms.drawings import read_drawing

from .access import Access
from .cines import Cines, UnknownCineError
from .contours import enclosed, outline

__all__ = ["make_app", "serve"]

FIELD_STEP = 3  # pixels between the points of which the page is told how they moved
KEPT = 2  # results in memory, each as large as a few cines
WINDOW = (0.5, 99.0)  # percentiles that become black and white
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"

Ring = Annotated[list[tuple[FiniteFloat, FiniteFloat]], Field(min_length=3, max_length=10_000)]


class Drawing(BaseModel):
    """Contours on one frame, by number of the slice, in the form of :mod:`app.viewer.contours`."""

    frame: int
    contours: dict[int, list[Ring]]


class Saving(BaseModel):
    result: int
    overwrite: bool = False


class Results:
    """The last few followed contours, by number."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[str, Followed]] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def keep(self, cine: str, followed: Followed) -> int:
        with self._lock:
            self._count += 1
            self._kept[self._count] = cine, followed
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._count

    def get(self, cine: str, number: int) -> Followed:
        of, followed = self._kept.get(number, (None, None))
        if followed is None or of != cine:
            raise HTTPException(404, "this result is no longer kept: propagate again")
        return followed


def make_app(folder: Path, registrar: Registrar, output_dir: Path, access: Access) -> FastAPI:
    """The server of one folder of cines.

    Args:
        folder: whose cines are shown.
        registrar: that follows the contours.
        output_dir: where results are saved, in the cines' own sub-folders.
        access: whose token a browser's first request has to bring, as ``?token=``.

    Raises:
        FileNotFoundError: when there is no such folder, or no cine in it.
    """
    cines, results = Cines(folder, output_dir), Results()
    if not cines.scan():
        raise FileNotFoundError(
            f"'{folder}' holds no cine: no folder of DICOM files and no NIfTI file (x, y[, slice], time)"
        )
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # FastAPI's own pages load from elsewhere

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        """Keeps others from asking, and browsers from keeping what they were sent."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            response = _refuse(request, "asked by a page of another site")
        elif not access.admits(request):
            response = _refuse(request, "open the viewer by the address that 'dirnet view' has written, with its token")
        else:
            response = await call_next(request)
            if "token" in request.query_params:
                access.remember(request, response)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = POLICY
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])  # asked before the guard

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ", ".join(map(str, first["loc"][1:]))
        return JSONResponse({"detail": f"{where}: {first['msg']}" if where else first["msg"]}, 422)

    async def wrong(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": cines.without_folder(str(error))}, 422)

    async def unknown(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    app.add_exception_handler(ValueError, wrong)
    app.add_exception_handler(OSError, wrong)
    app.add_exception_handler(UnknownCineError, unknown)

    def followed_slice(cine: str, number: int, result: int) -> Followed:
        followed = results.get(cine, result)
        if number not in followed.slices:
            raise HTTPException(404, f"nothing was drawn on slice {number}")
        return followed

    @app.get("/api/cines")
    def list_cines() -> JSONResponse:
        return JSONResponse([{"id": key, "name": name} for key, name in cines.scan().items()])

    @app.get("/api/cines/{cine}")
    def describe(cine: str) -> JSONResponse:
        stack = cines.read(cine)
        slices, frames, height, width = stack.images.shape
        return JSONResponse(
            {
                "slices": slices,
                "frames": frames,
                "size": [height, width],
                "spacing": list(stack.spacing),
                "times": None if stack.times is None else stack.times.tolist(),
            }
        )

    @app.get("/api/cines/{cine}/slices/{number}/frames")
    def frames(cine: str, number: int) -> Response:
        stack = cines.read(cine)
        if not 0 <= number < len(stack.images):
            raise HTTPException(404, f"slice must be 0 to {len(stack.images) - 1}, got {number}")
        return _bytes(scale_intensity(stack.images[number], WINDOW))

    @app.post("/api/cines/{cine}/mask")
    def read_mask(cine: str, name: str, frame: int, body: Annotated[bytes, Depends(_body)]) -> JSONResponse:
        stack = cines.read(cine)
        _check_frame(frame, stack)
        file = Path(name.replace("\\", "/")).name
        if file in ("", "..") or "\0" in file:
            raise InputError(f"name must be that of a file, got {name!r}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                (Path(folder) / file).write_bytes(body)
                masks, frame = _mask_on(Path(folder) / file, stack, frame)
            except (ValueError, OSError) as error:
                raise InputError(str(error).replace(f"{folder}{os.sep}", "")) from error
        rings = {number: _rings(mask) for number, mask in enumerate(masks) if mask.any()}
        return JSONResponse({"frame": frame, "slices": rings})

    @app.post("/api/cines/{cine}/follow")
    def follow_drawing(cine: str, drawing: Drawing) -> JSONResponse:
        stack = cines.read(cine)
        _check_frame(drawing.frame, stack)
        followed = follow(registrar, stack, _drawn(drawing, stack), drawing.frame)
        return JSONResponse({"result": results.keep(cine, followed), **_summary(followed)})

    @app.get("/api/cines/{cine}/slices/{number}/warped")
    def warped(cine: str, number: int, result: int) -> Response:
        followed = followed_slice(cine, number, result)
        images = torch.from_numpy(scale_intensity(followed.cine.images[number], WINDOW))[:, None]
        drawn = images[followed.frame].expand_as(images)
        return _bytes(warp(drawn, torch.from_numpy(followed.slices[number].ddf)).numpy())

    @app.get("/api/cines/{cine}/slices/{number}/field")
    def field(cine: str, number: int, result: int) -> Response:
        followed = followed_slice(cine, number, result)
        moved = np.stack([_moved(ddf) for ddf in followed.slices[number].ddf])
        return Response(moved.astype("<f4").tobytes(), media_type="application/octet-stream")

    @app.post("/api/cines/{cine}/save")
    def save_result(cine: str, saving: Saving) -> JSONResponse:
        followed = results.get(cine, saving.result)
        within, name = cines.place(cine)
        target = (output_dir / within).resolve()
        try:
            paths = save(followed, target, name, saving.overwrite)
        except FileExistsError:
            raise HTTPException(409, f"there are results of this cine in {target}") from None
        return JSONResponse({"folder": str(target), "files": [path.name for path in paths]})

    app.mount("/", StaticFiles(directory=Path(__file__).with_name("static"), html=True))
    return app


def serve(folder: Path, registrar: Registrar, output_dir: Path, port: int, browser: bool) -> None:
    """Serve the viewer to this machine alone, until it is stopped.

    Args:
        folder, registrar, output_dir: see :func:`make_app`.
        port: to listen on; 0 for any that is free.
        browser: opens the page.

    Raises:
        OSError: when another program listens there.
    """
    keep_freed_memory()
    access = Access()
    app = make_app(folder, registrar, output_dir, access)
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise OSError(f"port {port} cannot be used ({error.strerror}); choose another by --port") from error
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    typer.echo(f"viewer: {address}/?token={access.token} (Ctrl+C ends it)")
    if browser:  # some do not come back before they are closed
        opened = f"{address}/?token={access.ticket}"
        threading.Thread(target=webbrowser.open, args=[opened], daemon=True).start()
    with listening:
        # no access log: it would hold names of files
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])


def _refuse(request: Request, why: str) -> Response:
    """In words alone to who opens a page, else as the page reads it."""
    if "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse(why, 403)
    return JSONResponse({"detail": why}, 403)


async def _body(request: Request) -> bytes:
    return await request.body()


def _mask_on(path: Path, stack: CineStack, frame: int) -> tuple[np.ndarray, int]:
    """What is drawn, and on which frame: the only one that the file has something on, else the one shown."""
    try:
        return read_drawing(path, stack)
    except ValueError:  # it names no frame of its own, or cannot be read at all, which is said again
        return read_drawing(path, stack, frame)


def _check_frame(frame: int, cine: CineStack) -> None:
    frames = cine.images.shape[1]
    if not 0 <= frame < frames:
        raise InputError(f"frame must be 0 to {frames - 1}, got {frame}")


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
    return {
        "frame": followed.frame,
        "slices": {
            number: {"areas": followed.areas[number].tolist(), "contours": [_rings(mask) for mask in result.masks]}
            for number, result in followed.slices.items()
        },
        "volume": None if followed.volume is None else followed.volume.ml.tolist(),
        "numbers": followed.numbers,
        "field_step": FIELD_STEP,
    }


def _rings(mask: np.ndarray) -> list[list[list[float]]]:
    return [ring.round(3).tolist() for ring in outline(mask)]


def _bytes(images: np.ndarray) -> Response:
    """Images in [0, 1] as they are shown, a byte a pixel."""
    return Response((images * 255).round().astype(np.uint8).tobytes(), media_type="application/octet-stream")


def _moved(ddf: np.ndarray, steps: int = 40) -> np.ndarray:
    """How far the tissue of every FIELD_STEP-th pixel of the drawn frame has moved, (2, h, w) in pixels (row, column).

    The field tells whence the tissue of a pixel came; this, its inverse, by fixed-point iteration, with half steps so
    that it converges where tissue is pressed together too.
    """
    start = np.indices(ddf.shape[1:])[:, ::FIELD_STEP, ::FIELD_STEP].astype(np.float32)
    moved = np.zeros_like(start)
    for _ in range(steps):
        came = np.stack([map_coordinates(part, start + moved, order=1, mode="nearest") for part in ddf])
        moved = (moved - came) / 2
    return moved
