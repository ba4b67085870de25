"""Several pages of one browser: it has few connections to a server, and one page's polls must not take them all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.request import Request

__all__ = ["Browsers"]

_COOKIE: Final = "BAYEUX_BROWSER"
_LENGTH: Final = 32


class Browsers:
    """Counts the polls that are held for each browser by this front-end. A cookie tells them apart.

    Args:
        most: so many polls of one browser are held at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._polls: dict[str, list[str]] = {}

    def mark(self, request: Request, exchange: Exchange) -> None:
        """Give a browser its cookie with the reply to its handshake, unless it has one."""
        if _COOKIE not in request.cookies:
            exchange.cookies.append(f"{_COOKIE}={secrets.token_hex(_LENGTH // 2)}; Path=/; HttpOnly; SameSite=Lax")

    @contextmanager
    def poll(self, request: Request, client_id: str) -> Iterator[bool]:
        """Hold a client's poll; gives whether that is one too many. A second one of a client ends its first."""
        browser = request.cookies.get(_COOKIE, "")[:_LENGTH]
        if not browser or request.scope.get("http_version", "1.1").startswith(("2", "3")):
            yield False
            return
        polls = self._polls.setdefault(browser, [])
        if len(set(polls) - {client_id}) >= self._most:
            yield True
            return
        polls.append(client_id)
        try:
            yield False
        finally:
            polls.remove(client_id)
            if not polls:
                del self._polls[browser]
