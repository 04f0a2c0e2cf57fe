"""Who may use the viewer: whoever was given its address, not everyone with an account on this machine."""

from __future__ import annotations

import re
import secrets

from fastapi import Request, Response

__all__ = ["Access"]


class Access:
    """A secret that a page's address brings, and a cookie from then on.

    Attributes:
        token: lets in each time.
        ticket: lets in once: for a browser's command line, which every account of the machine can read.
    """

    def __init__(self) -> None:
        self.token, self.ticket = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._used = False

    def admits(self, request: Request) -> bool:
        """Whether the request brings the cookie, the token or the unused ticket."""
        given = request.query_params.get("token", "")
        if _same(request.cookies.get(_cookie(request), ""), self.token) or _same(given, self.token):
            return True
        first = _same(given, self.ticket) and not self._used
        self._used |= first
        return first

    def remember(self, request: Request, response: Response) -> None:
        """Give the browser the cookie: no script can read it, no other site's page can send it."""
        response.set_cookie(_cookie(request), self.token, httponly=True, samesite="strict")


def _cookie(request: Request) -> str:
    """Its name, with the port: all ports of a host share their cookies, and several viewers may run."""
    return "dirnet-" + re.sub("[^a-z0-9]", "-", request.headers.get("host", "").lower())


def _same(given: str, secret: str) -> bool:
    return secrets.compare_digest(given.encode(errors="replace"), secret.encode())
