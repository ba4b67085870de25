"""The connection to pixied: opened by the first request, in whose event loop it lives, and kept."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from pixied_client.errors import PixiedError, Unavailable
from pixied_client.front_end import FrontEnd

__all__ = ["Backing"]

_log = logging.getLogger("pixied_client.bayeux")


class Backing:
    """Keeps a `FrontEnd` open. An application that is mounted in another is not notified when that starts or stops.

    Args:
        open_front_end: makes the front-end, in a running event loop.
        beside: what else is to run for as long.
    """

    def __init__(
        self, open_front_end: Callable[[], FrontEnd], beside: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._open = open_front_end
        self._beside = beside
        self._keeper: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[FrontEnd] | None = None
        self._stop = asyncio.Event()

    async def front_end(self) -> FrontEnd:
        """Give the front-end, which is opened if it is not open.

        Raises:
            Unavailable: pixied refuses it for good, or it was closed.
        """
        if self._stop.is_set():
            raise Unavailable("this front-end is closed")
        if self._ready is None or self._keeper is None or self._keeper.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._keeper = asyncio.create_task(self._keep(self._ready), name="bayeux-backing")
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Close the front-end: sessions stay in pixied."""
        self._stop.set()
        if self._keeper is not None:
            await asyncio.wait([self._keeper])

    async def _run_beside(self) -> None:
        if self._beside is not None:
            await self._beside()

    async def _keep(self, ready: "asyncio.Future[FrontEnd]") -> None:
        try:
            async with self._open() as front_end, asyncio.TaskGroup() as tasks:
                others = tasks.create_task(self._run_beside())
                ready.set_result(front_end)
                await self._stop.wait()
                others.cancel()
        except* PixiedError as errors:
            _log.error("pixied refuses this front-end: %s", errors.exceptions[0])
        finally:
            if not ready.done():
                ready.set_exception(Unavailable("the front-end could not be opened"))
                with contextlib.suppress(Unavailable):
                    ready.result()  # whether anyone waits for it or not
