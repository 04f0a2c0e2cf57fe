"""The viewer's server: cines of a folder to a page, contours back, and what follows from them."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import typer
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from app.origins import refusal
from dirnet.errors import InputError
from dirnet.registrar import Registrar
from dirnet.speed.memory import keep_freed_memory

from .access import Access
from .cines import Cines, UnknownCineError
from .results import Results, UnknownResultError
from .routes import Viewer, router

__all__ = ["make_app", "serve"]

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
HOSTS = ("127.0.0.1", "localhost")
MOST_BYTES = 2**24  # of a request without a file: a contour has some 10 kB
BUG = "internal error; its traceback is where 'dirnet view' was started"


def make_app(folder: Path, registrar: Registrar, output_dir: Path, access: Access, weights: str = "unknown") -> FastAPI:
    """The server of one folder of cines.

    Args:
        folder: whose cines are shown.
        registrar: that follows the contours.
        output_dir: where results are saved, in the cines' own sub-folders.
        access: whose token a browser's first request has to bring, as ``?token=``.
        weights: of the registrar, as reports name them.

    Raises:
        FileNotFoundError: when there is no such folder, or no cine in it.
    """
    viewer = Viewer(Cines(folder, output_dir), registrar, Results(), output_dir, weights)
    if not viewer.cines.scan():
        raise FileNotFoundError(
            f"'{folder}' holds no cine: no folder of DICOM files and no NIfTI file (x, y[, slice], time); links that "
            f"lead out of it are not followed"
        )
    # FastAPI's own pages load from elsewhere
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, max_body_size=MOST_BYTES)
    app.state.viewer, app.state.access = viewer, access
    app.middleware("http")(_guard)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.include_router(router)
    app.mount("/", StaticFiles(directory=Path(__file__).with_name("static"), html=True))
    return app


def serve(
    folder: Path, registrar: Registrar, output_dir: Path, port: int, browser: bool, weights: str = "unknown"
) -> None:
    """Serve the viewer to this machine alone, until it is stopped.

    Args:
        folder, registrar, output_dir: see :func:`make_app`.
        port: to listen on; 0 for any that is free.
        browser: opens the page.
        weights: see :func:`make_app`.

    Raises:
        OSError: when another program listens there.
    """
    keep_freed_memory()
    access = Access()
    app = make_app(folder, registrar, output_dir, access, weights)
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


def _refuse(request: Request, why: str, status: int = 403) -> Response:
    """In words alone to who opens a page, else as the page reads it."""
    if "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse(why, status)
    return JSONResponse({"detail": why}, status)


async def _guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Keeps others from asking, and browsers from keeping what they were sent."""
    headers, access = request.headers, request.app.state.access
    status = refusal(headers.get("host", ""), headers.get("origin"), HOSTS.__contains__)
    if status == 400:
        response = _refuse(request, "this server is not known by that name", status)
    elif status == 403:
        response = _refuse(request, "asked by a page of another site", status)
    elif not access.admits(request):
        response = _refuse(request, "open the viewer by the address that 'dirnet view' has written, with its token")
    else:
        response = await call_next(request)
        if "token" in request.query_params:
            access.remember(request, response)
    response.headers["Cache-Control"] = "no-store"
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response


def _said(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    """Answers with the error's message, without the server's folder."""

    async def say(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": request.app.state.viewer.cines.without_folder(str(error))}, status)

    return say


async def _malformed(_: Request, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    where = ", ".join(map(str, first["loc"][1:]))
    detail = f"{where}: {first['msg']}" if where else first["msg"]
    # JSON can name what no encoding has: half of a surrogate pair
    return JSONResponse({"detail": detail.encode(errors="replace").decode()}, 422)


async def _bug(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": BUG}, 500)  # uvicorn writes the traceback


# what a user gave is wrong; all else is a bug
HANDLERS: dict[type[Exception], Any] = {
    RequestValidationError: _malformed,
    UnknownCineError: _said(404),
    UnknownResultError: _said(404),
    FileNotFoundError: _said(404),
    FileExistsError: _said(409),
    InputError: _said(422),
    OSError: _said(422),
    Exception: _bug,
}
