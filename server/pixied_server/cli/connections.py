"""The connections of a server of browsers: how many there may be, and how long one may take to ask for something."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

__all__ = ["ConnectionLimits", "Connections", "descriptors"]

# Descriptors that are not given to browsers: of files, of the connections to pixied, and of those that were accepted
# together with the last one that there is room for.
_RESERVED = 2_304
_OWN = 128
_BACKLOG = 2_048
# The log says once in so many seconds that there are too many connections.
_SAID_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What there may be.

    Attributes:
        connections: so many at a time.
        of_address: so many of them from one address.
        header_timeout: how many seconds a connection may take to ask for something.
        backlog: so many wait to be accepted, and are accepted at once.
    """

    connections: int
    of_address: int
    header_timeout: float
    backlog: int


def descriptors() -> tuple[int, int]:
    """Raise the limit of open files to what this user may have.

    Returns:
        How many connections it is good for, and how many of them may be accepted at once.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    reserved = min(_RESERVED, most // 2)
    return most - reserved, min(_BACKLOG, reserved - min(_OWN, reserved // 2))


class Connections:
    """Admits connections, and ends those that ask for nothing.

    Args:
        limits: what there may be.
        now: tells the time, in seconds.
    """

    def __init__(self, limits: ConnectionLimits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._now = now
        self._open: dict[asyncio.BaseTransport, str] = {}
        self._of_address: Counter[str] = Counter()
        self._refused = 0
        self._said_at = -_SAID_EVERY

    def admit(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether a new connection may stay."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        if len(self._open) >= self.limits.connections or self._of_address[address] >= self.limits.of_address:
            self._say()
            return False
        self._open[transport] = address
        self._of_address[address] += 1
        return True

    def left(self, transport: asyncio.BaseTransport) -> None:
        """Note that a connection is over."""
        address = self._open.pop(transport, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def _say(self) -> None:
        self._refused += 1
        if self._now() < self._said_at + _SAID_EVERY:
            return
        structlog.get_logger(__name__).warning(
            "too many connections: some are closed as they come",
            open=len(self._open),
            limit=self.limits.connections,
            limit_of_address=self.limits.of_address,
            closed=self._refused,
        )
        self._said_at = self._now()
        self._refused = 0

    def protocols(self) -> dict[str, Any]:
        """Return what uvicorn's configuration needs for it."""
        return {"http": _http(self), "ws": _websocket(self), "backlog": self.limits.backlog}


def _http(connections: Connections) -> type[asyncio.Protocol]:
    class Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """Uvicorn's, within the limits."""

        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if connections.admit(transport):
                self._wait()
            else:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_no_more()
            connections.left(self.transport)
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def _wait(self) -> None:
            self._wait_no_more()
            self.late = self.loop.call_later(connections.limits.header_timeout, self._end)

        def _wait_no_more(self) -> None:
            if self.late is not None:
                self.late.cancel()

        def _end(self) -> None:
            """End it, unless it has asked for something meanwhile, or is a WebSocket by now."""
            asks = self.cycle is not None and not self.cycle.response_complete
            if not asks and self.transport.get_protocol() is self:
                self.transport.abort()

    return Http


def _websocket(connections: Connections) -> type[asyncio.Protocol]:
    class WebSocket(AutoWebSocketsProtocol):  # type: ignore[misc, valid-type]
        """Uvicorn's, which takes a connection over."""

        def connection_lost(self, exc: Exception | None) -> None:
            connections.left(self.transport)
            super().connection_lost(exc)

    return WebSocket
