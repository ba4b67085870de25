"""Several pages of one browser: it has few connections to a server, and one page's polls must not take them all."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.request import Request

__all__ = ["BrowserCookie", "Browsers"]

_LENGTH: Final = 32
# RFC 6265, section 4.1.1: a cookie's name, and what may stand in an attribute.
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[ -:<-~]+")


@dataclass(frozen=True, slots=True)
class BrowserCookie:
    """The cookie that tells browsers apart. It is no secret, and says nothing of sessions.

    Attributes:
        name: its name.
        domain: `Domain`; empty: the host that the request went to.
        path: `Path`.
        max_age: `Max-Age`, in seconds; None: until the browser is closed.
        secure: `Secure`: it is sent through TLS alone.
        http_only: `HttpOnly`: scripts do not see it.
        same_site: `SameSite`: Strict, Lax or None, which needs `secure`, for pages of other sites; empty: not named.
        partitioned: `Partitioned`: each site whose pages connect has its own.

    Raises:
        ValueError: a browser would not take it so.
    """

    name: str = "BAYEUX_BROWSER"
    domain: str = ""
    path: str = "/"
    max_age: int | None = None
    secure: bool = False
    http_only: bool = True
    same_site: str = "Lax"
    partitioned: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a cookie")
        for text in (self.domain, self.path):
            if text and not _VALUE.fullmatch(text):
                raise ValueError(f"{text!r} can't stand in a cookie")
        if self.same_site not in {"Strict", "Lax", "None", ""}:
            raise ValueError(f"SameSite is Strict, Lax or None, and not {self.same_site!r}")
        if not self.secure and (self.same_site == "None" or self.partitioned):
            raise ValueError("a cookie with SameSite=None or Partitioned has to be secure")

    def header(self, value: str) -> str:
        """Write the value of a `Set-Cookie` header."""
        given = {"Domain": self.domain, "Path": self.path, "Max-Age": self.max_age, "SameSite": self.same_site}
        flags = {"HttpOnly": self.http_only, "Secure": self.secure, "Partitioned": self.partitioned}
        attributes = [f"{name}={text}" for name, text in given.items() if text not in ("", None)]
        return "; ".join([f"{self.name}={value}", *attributes, *(name for name, on in flags.items() if on)])


class Browsers:
    """Counts the polls that are held for each browser by this front-end. A cookie tells them apart.

    Args:
        most: so many polls of one browser are held at a time.
        cookie: tells browsers apart.
    """

    def __init__(self, most: int, cookie: BrowserCookie) -> None:
        self._most = most
        self._cookie = cookie
        self._polls: dict[str, list[str]] = {}

    def mark(self, request: Request, exchange: Exchange) -> None:
        """Give a browser its cookie with the reply to its handshake, unless it has one."""
        if self._cookie.name not in request.cookies:
            exchange.cookies.append(self._cookie.header(secrets.token_hex(_LENGTH // 2)))

    @contextmanager
    def poll(self, request: Request, client_id: str) -> Iterator[bool]:
        """Hold a client's poll; gives whether that is one too many. A second one of a client ends its first."""
        browser = request.cookies.get(self._cookie.name, "")[:_LENGTH]
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
