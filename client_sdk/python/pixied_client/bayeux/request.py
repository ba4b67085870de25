"""The HTTP request, or the WebSocket's opening request, that a message came with."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

__all__ = ["Request", "Scope"]

Scope: TypeAlias = MutableMapping[str, Any]
"""An ASGI connection scope."""


@dataclass(frozen=True)
class Request:
    """What hooks and extensions may want to know of the request.

    Attributes:
        transport: `websocket` or `http`.
        path: the path with the mount's.
        headers: names in lower case; of headers that came more than once, the last.
        peer: the address of the other side: of the nearest proxy, if there is one; or empty.
        scope: all of it, as ASGI has it: what middleware has put there, such as a user, is there too.
    """

    transport: str
    path: str
    headers: Mapping[str, str]
    peer: str
    scope: Scope

    @classmethod
    def of(cls, scope: Scope) -> Self:
        """Read an ASGI scope."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        peer = scope.get("client") or ("", 0)
        return cls(str(scope["type"]), str(scope["path"]), headers, str(peer[0]), scope)

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that came with it."""
        # The standard library's parser gives up all cookies for one that others set and that it does not like.
        pairs = (cookie.partition("=") for cookie in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}
