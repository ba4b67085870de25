"""Clients that have announced when they connect next: their sessions live until then, and for `max_interval` beyond.

How long a session lives is settled when it begins. So it is prolonged here for as long as its client is away, by the
front-end that it said so to; should that end meanwhile, the session lives as long as any other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pixied_client.errors import PixiedError
from pixied_client.front_end import FrontEnd

__all__ = ["LONGEST", "Absences"]

LONGEST: Final = 600.0
"""Seconds. What a client announces beyond that does not count: a session is not to live for ever without a sign."""
_AT_ONCE: Final = 1_000


class Absences:
    """Prolongs sessions.

    Args:
        open_front_end: gives the connection to pixied.
        shortest: how long a session lives by itself at least, in seconds.
    """

    def __init__(self, open_front_end: Callable[[], Awaitable[FrontEnd]], shortest: float) -> None:
        self._open = open_front_end
        self._pause = shortest / 3
        self._until: dict[str, float] = {}
        self._pinging: asyncio.Task[None] | None = None

    def begin(self, client_id: str, seconds: float) -> None:
        """Let a session live although its client does not connect for so long."""
        self._until[client_id] = asyncio.get_running_loop().time() + seconds
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._ping_all(), name="bayeux-absences")

    def end(self, client_id: str) -> None:
        """Note that a client is back."""
        self._until.pop(client_id, None)

    async def close(self) -> None:
        """Stop: sessions live as long as any other."""
        self._until.clear()
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])

    async def _ping_all(self) -> None:
        while self._until:
            await asyncio.sleep(self._pause)
            now = asyncio.get_running_loop().time()
            away = list(self._until)
            for start in range(0, len(away), _AT_ONCE):
                await self._ping(away[start : start + _AT_ONCE])
            for client_id in [client_id for client_id, until in self._until.items() if until <= now]:
                del self._until[client_id]

    async def _ping(self, client_ids: list[str]) -> None:
        try:
            results = await (await self._open()).ping_clients(client_ids)
        except PixiedError:
            return  # pixied is away, and asked again in a while
        for client_id, result in zip(client_ids, results, strict=True):
            if not result.known:
                self._until.pop(client_id, None)
