"""Who may ask MONAI Label's server, and for what: it answers any web page, and much that this app has no use for."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.origins import refusal

__all__ = ["Gate"]

# of MONAI Label's own: no /proxy (any path of the archive, with its password), /model, /logs, /reload, /ohif, /scoring
OFFERED = re.compile(
    r"/(docs|openapi\.json|favicon\.ico)?|/(static|info|batch/infer|train|activelearning|datastore|session|auth)(/.*)?"
    r"|/infer/[^/]+"
)


class Gate:
    """Before the server: its own names, no other site's pages, and the routes that this app stands for.

    Args:
        app: the server.
        origins: of web pages that may ask, such as ``https://viewer.hospital.org``; its own always may.
        hosts: names of this machine beside its own; an address needs none, for no other site can be given it.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str] = (), hosts: Collection[str] = ()) -> None:
        self.app = app
        self.origins = {origin.rstrip("/") for origin in origins}
        self.hosts = {name.lower() for name in ("localhost", socket.gethostname(), socket.getfqdn(), *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            status, detail = problem
            await JSONResponse({"detail": detail}, status)(scope, receive, send)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        status = refusal(host, origin, self._is_own, self.origins)
        if status == 400:
            return status, "this server is not known by that name; --conf hosts NAME adds one"
        if status == 403:
            return status, "asked by a page of another site; MONAI_LABEL_CORS_ORIGINS names those that may"
        if not OFFERED.fullmatch(scope["path"]):
            return 404, "not offered by this app"
        if parse_qs(scope["query_string"].decode("latin-1")).get("uncompress"):
            return 422, "archives are not unpacked here; send an image"
        return None

    def _is_own(self, name: str) -> bool:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts
        return True
