"""Which web pages may use this front-end: CORS for requests, and the same rule for WebSockets.

A page can make a browser send requests of three kinds. Those of scripts (fetch, WebSocket, EventSource elsewhere) and
all POSTs have an `Origin`. Those of elements (`<script>`, `<img>`) and of an EventSource at home have none, but a
`Sec-Fetch-Site`, where the connection is trusted, and a `Referer`, unless the page has switched that off: so nothing
but callback-polling obeys a GET, and that wants to see one of them. A page whose name was made to lead here has an
`Origin` that equals `Host`: so `Host` counts only where it is a name that the operator has given.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from pixied_client.bayeux.request import Request

__all__ = ["Origins"]

_USUAL_HEADERS: Final = ("Accept", "Authorization", "Content-Type", "Pragma", "X-Requested-With")
_MOST_HEADERS: Final = 50
# The name of a header: RFC 9110, section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")


class Origins:
    """Decides whose requests come in. See the module.

    Args:
        allowed: such as `https://example.org`; `*` for all. A session's secret is its client id and no cookie, so that
            another page gains nothing by reaching this one, unless hooks look at cookies: then name your pages.
        hosts: names of this front-end itself, as browsers write them (`chat.example.org:8443`), whose pages may
            use it too. Those of the allowed origins need not be named.
        jsonp: whether there is callback-polling; None: only where all pages are allowed.
    """

    def __init__(self, allowed: Iterable[str], hosts: Iterable[str] = (), *, jsonp: bool | None = None) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._all = "*" in self._allowed
        self._own = self._hosts | {origin.partition("://")[2] for origin in self._allowed}
        self.jsonp = self._all if jsonp is None else jsonp

    def admits(self, request: Request) -> bool:
        """Return whether a request may come in."""
        if self._all:
            return True
        origins = sum(name.lower() == b"origin" for name, _ in request.scope["headers"])
        if origins:
            return origins == 1 and self._is_ours(request.headers["origin"], request.headers)
        shown = self._shown(request.headers)
        return shown is None or shown

    def admits_script(self, request: Request) -> bool:
        """Return whether a request by callback-polling, which has come in, may do something."""
        from_user = request.headers.get("sec-fetch-site") == "none"
        return self._all or (self._shown(request.headers) is True and not from_user)

    def headers(self, request: Request) -> list[tuple[str, str]]:
        """The response's headers that let the page read it."""
        origin = request.headers.get("origin")
        if origin is None or not self._allows(origin) or not self.admits(request):
            return []
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
        ]

    def preflight(self, request: Request) -> list[tuple[str, str]]:
        """The headers that answer whether a request may be made: with whichever headers a page that may come sends."""
        allowed = self.headers(request)
        if not allowed:
            return []
        return [
            *allowed,
            ("vary", "Access-Control-Request-Headers"),
            ("access-control-allow-headers", ", ".join([*_USUAL_HEADERS, *_further_headers(request)])),
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-max-age", "86400"),
        ]

    def _shown(self, headers: Mapping[str, str]) -> bool | None:
        """Return whether a request without an Origin comes from a page that may; None if nothing shows where from."""
        if "referer" in headers:
            return self._is_ours(_origin_of(headers["referer"]), headers)
        match headers.get("sec-fetch-site"):
            case None:
                return None
            case "same-origin":
                return headers.get("host", "").lower() in self._own
            case site:
                return site == "none"

    def _is_ours(self, origin: str, headers: Mapping[str, str]) -> bool:
        host = headers.get("host", "").lower()
        return self._allows(origin) or (host in self._hosts and origin.lower().partition("://")[2] == host)

    def _allows(self, origin: str) -> bool:
        return self._all or origin.lower() in self._allowed


def _further_headers(request: Request) -> list[str]:
    """Return the headers that a page wants to send beside the usual ones, such as those that its own hooks look at."""
    usual = {name.lower() for name in _USUAL_HEADERS}
    asked = [name.strip() for name in request.headers.get("access-control-request-headers", "").split(",")]
    further = [name for name in dict.fromkeys(asked) if name.lower() not in usual and _TOKEN.fullmatch(name)]
    return further[:_MOST_HEADERS]


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"
