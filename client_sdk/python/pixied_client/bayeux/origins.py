"""Which web pages may use this front-end: CORS for requests, and the same rule for WebSockets."""

from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["Origins"]

_PREFLIGHT: Final = (
    ("access-control-allow-headers", "Accept, Authorization, Content-Type, Pragma, X-Requested-With"),
    ("access-control-allow-methods", "GET, POST"),
    ("access-control-max-age", "86400"),
)


class Origins:
    """Decides by a request's `Origin`.

    Args:
        allowed: such as `https://example.org`; `*` for all. A session's secret is its client id and no cookie, so that
            another page gains nothing by reaching this one, unless hooks look at cookies: then name your pages.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may come in: none has an origin but those of browsers, and of those only some."""
        origin = headers.get("origin")
        return origin is None or self._allows(origin) or _is_same(origin, headers.get("host", ""))

    def headers(self, request_headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The response's headers that let the page read it."""
        origin = request_headers.get("origin")
        if origin is None or not self._allows(origin):
            return []
        return [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
        ]

    def preflight(self, request_headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers that answer whether a request may be made."""
        allowed = self.headers(request_headers)
        return [*allowed, *_PREFLIGHT] if allowed else []

    def _allows(self, origin: str) -> bool:
        return "*" in self._allowed or origin.lower() in self._allowed


def _is_same(origin: str, host: str) -> bool:
    _, _, rest = origin.partition("://")
    return bool(host) and rest.lower() == host.lower()
