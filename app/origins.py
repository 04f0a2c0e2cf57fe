"""Whether a request is meant for this server: the twin guards of the viewer and of MONAI Label's server."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

__all__ = ["refusal"]


def refusal(host: str, origin: str | None, is_own: Callable[[str], bool], origins: Collection[str] = ()) -> int | None:
    """The status with which to refuse a request by its headers; None where it may pass.

    Args:
        host: the header Host. Another site's name that leads to this machine (DNS rebinding) is refused with 400.
        origin: the header Origin, None without one. A page of another site is refused with 403.
        is_own: whether a host name, in lower case and without port, is this server's.
        origins: of other sites whose pages may ask.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # malformed, such as "[::1"
        return 400
    if not is_own(name):
        return 400
    if origin is None or origin in origins:
        return None
    try:
        return None if urlsplit(origin).netloc == host else 403
    except ValueError:
        return 403
