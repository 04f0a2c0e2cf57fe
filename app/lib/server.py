"""MONAI Label's server with its gaps closed: who may ask, paths in requests, errors without status."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import Depends, File, Form, Request, UploadFile
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints.infer import ResultType
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from .checks import WrongRequest, check_name
from .gate import Gate

if TYPE_CHECKING:
    from app.main import DIRNetApp

__all__ = ["prepare"]

RUNNING = 4  # inferences at a time: one computes, the others read and write
MOST_BYTES = 2**31  # of a request: images are kept on disk, not in memory
SILENCED_LOGGERS = ("monailabel", "__main__")  # the latter is MONAI Label's too, in the process of a training or batch


def prepare(app: DIRNetApp) -> None:
    """Put what this app answers otherwise before MONAI Label's own, in the server that has loaded it.

    MONAI Label offers no way in: its server is complete when it loads an app. Without a server (a training's process)
    nothing is done.
    """
    for name in SILENCED_LOGGERS:  # they write whole requests and what is known of an image, its patient too
        logging.getLogger(name).setLevel(logging.WARNING)
    module = sys.modules.get("monailabel.app")
    if module is None:
        return
    server = module.app
    route = APIRoute("/infer/{model}", _infer(app), methods=["POST"], tags=["Infer"], summary="Run inference")
    server.router.routes.insert(0, route)
    for kind in (WrongRequest, json.JSONDecodeError, MONAILabelException):
        server.add_exception_handler(kind, _error_response)
    origins = [str(origin) for origin in settings.MONAI_LABEL_CORS_ORIGINS]
    if not origins:  # MONAI Label's default lets every site's pages ask
        server.user_middleware = [part for part in server.user_middleware if part.cls is not CORSMiddleware]
    hosts = [name.strip() for name in app.conf.get("hosts", "").split(",") if name.strip()]
    server.user_middleware.insert(0, Middleware(RequestBodyLimitMiddleware, max_body_size=MOST_BYTES))
    server.user_middleware.insert(0, Middleware(Gate, origins=origins, hosts=hosts))
    server.middleware_stack = server.build_middleware_stack()


async def _error_response(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, WrongRequest):
        status, message = error.status, str(error)
    elif isinstance(error, json.JSONDecodeError):
        status, message = 422, f"expected JSON: {error}"
    else:
        status = 404 if isinstance(error, ImageNotFoundException | LabelNotFoundException) else 400
        message = error.msg
    return JSONResponse({"detail": message}, status_code=status)


def _infer(app: DIRNetApp) -> Any:
    slots = anyio.CapacityLimiter(RUNNING)

    async def infer(
        model: str,
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: ResultType | None = None,
        user: User = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER)),  # noqa: B008
    ) -> Response:
        given = json.loads(params or "{}")
        if not isinstance(given, dict):
            raise WrongRequest(f"params must be a JSON object, got {params[:100]!r}")
        request = {**given, "model": model, "image": image, "output": output and output.value}

        def work() -> Response:
            with tempfile.TemporaryDirectory(prefix="dirnet-") as folder:
                files = {
                    "image_file": _uploaded(file, folder, "image") or _of_session(app, session_id),
                    "label_file": _uploaded(label, folder, "label"),
                }
                return _response(app.infer(request, **files, folder=folder), output)

        return await anyio.to_thread.run_sync(work, limiter=slots)

    return infer


def _uploaded(file: UploadFile | None, folder: str, name: str) -> str | None:
    if file is None:
        return None
    suffix = "".join(Path(file.filename or "").suffixes[-2:]).lower()
    known = [end for end in (".nii.gz", ".nii", ".nrrd", ".png", ".dcm") if suffix.endswith(end)]
    path = Path(folder) / f"{name}{known[0] if known else ''}"
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)
    return str(path)


def _of_session(app: DIRNetApp, session_id: str) -> str | None:
    if not session_id:
        return None
    check_name("session_id", session_id)
    session = app.sessions().get_session(session_id) if app.sessions() is not None else None
    if session is None:
        raise WrongRequest(f"there is no session {session_id!r}", status=404)
    return session.image


def _response(result: dict[str, Any], output: ResultType | None) -> Response:
    """As MONAI Label's: the result's file, what was measured, or both; whole before the file is removed."""
    file = result["file"]
    if output == ResultType.json or not file:
        return JSONResponse(result["params"])
    content, kind, name = Path(file).read_bytes(), get_mime_type(file), Path(file).name
    if output in (ResultType.image, ResultType.dicom_seg):
        kind = "application/dicom" if output == ResultType.dicom_seg else kind
        return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
    parts = {"params": (None, json.dumps(result["params"]), "application/json"), "image": (name, content, kind)}
    message = MultipartEncoder(fields=parts)
    return Response(message.to_string(), media_type=message.content_type)
