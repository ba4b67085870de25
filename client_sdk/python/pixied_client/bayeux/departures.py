"""Sessions that end: wherever that happens, and why."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from pixied_client.backend import Backend
from pixied_client.bayeux.error_log import ErrorLog
from pixied_client.errors import PixiedError
from pixied_client.retry import Backoff
from pixied_client.values import EventKind

__all__ = ["Departures"]

_log = logging.getLogger("pixied_client.bayeux")


class Departures:
    """Watches pixied for sessions that end. Sessions of other front-ends are among them.

    Args:
        open_backend: makes the connection to watch by.
        notify: called with each client id and the reason.
        errors: logs what a listener raises.
        backoff: the pauses after a broken stream. What ended meanwhile is not announced.
    """

    def __init__(
        self,
        open_backend: Callable[[], Backend],
        notify: Callable[[str, str], Awaitable[None]],
        errors: ErrorLog,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        self._open = open_backend
        self._notify = notify
        self._errors = errors
        self._backoff = backoff

    async def watch(self) -> None:
        """Watch until cancelled."""
        async with self._open() as backend:
            failures = 0
            while True:
                began = asyncio.get_running_loop().time()
                try:
                    await self._follow(backend)
                except PixiedError as error:
                    lasted = asyncio.get_running_loop().time() - began
                    # A stream that stood for a moment is a failure too.
                    failures = 0 if lasted > self._backoff.longest else failures + 1
                    pause = (error.retry_after or 0.0) + self._backoff.pause(failures, random.random)
                    await asyncio.sleep(pause)

    async def _follow(self, backend: Backend) -> None:
        async with aclosing(backend.watch([EventKind.CLIENT_DESTROYED])) as events:
            async for event in events:
                if event.missed:
                    _log.warning("%d ends of sessions were missed", event.missed)
                try:
                    await self._notify(event.client_id, event.reason)
                except Exception as error:  # noqa: BLE001 - one listener must not silence all later ends
                    self._errors.report("a listener failed on the end of a session", error)
