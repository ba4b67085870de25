"""Requests of one process to another over the store, and their answers."""

import asyncio
from collections.abc import Sequence
from itertools import count

from pixied_server.engine.redis.process import Process

__all__ = ["Requests"]


class Requests:
    """See the module.

    Args:
        process: this process.
        timeout: seconds that another process has to answer.
    """

    def __init__(self, process: Process, timeout: float) -> None:
        self._process = process
        self._timeout = timeout
        self._names = count(1)
        self._waiting: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def ask(self, process: str, kind: str, *words: str) -> Sequence[str] | None:
        """Ask another process something.

        Args:
            process: the other process, which receives kind, this process, the request's name and the words.
            kind: the kind of notification, one letter.
            words: without line ends.

        Returns:
            Its answer, or None if it is gone or does not answer in time.

        Raises:
            EngineUnavailable: the store does not answer.
        """
        name = str(next(self._names))
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            # However many received it: who is subscribed at a replica, as after a failover, is not counted.
            await self._notify(process, kind, self._process.name, name, *words)
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._waiting[name]

    async def answer(self, process: str, name: str, *words: str) -> None:
        """Answer a request of another process, by its name."""
        await self._notify(process, "A", name, *words)

    def on_answer(self, name: str, *words: str) -> None:
        """Take the answer to a request of this process."""
        waiting = self._waiting.get(name)
        if waiting is not None and not waiting.done():
            waiting.set_result(words)

    async def _notify(self, process: str, *words: str) -> None:
        await self._process.partitions[0].notify(process, "\n".join(words))
