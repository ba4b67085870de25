"""Barriers: markers that a partition sends on demand between its messages."""

import asyncio
from itertools import count
from typing import Any

from pixied_server.engine.redis.subscriber.notifications import Barrier, Notifications, retrieved
from pixied_server.errors import EngineUnavailable

__all__ = ["LOGS", "Barriers", "Late"]

LOGS = 500
"""With so many logs a barrier is asked for at once, and further logs wait for another one."""


class Late(EngineUnavailable):
    """A barrier has not come in time. It may still come."""


class Barriers:
    """Asks for barriers.

    Args:
        timeout: seconds that asking for a barrier may take, and the barrier itself.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._names = count(1)

    def next(self, one: Notifications) -> Barrier:
        """Return the barrier that is asked for next: all callers in one turn of the loop share it."""
        if one.next is None or len(one.next.logs) >= LOGS:
            one.next = Barrier(asyncio.get_running_loop().create_future())
            one.next.passed.add_done_callback(retrieved)
            asyncio.get_running_loop().call_soon(self._ask, one, one.next)
        return one.next

    def _ask(self, one: Notifications, barrier: Barrier) -> None:
        if one.next is barrier:
            one.next = None
        name = str(next(self._names))
        one.barriers[name] = barrier
        late = Late("it did not say in time how far it is")
        timer = asyncio.get_running_loop().call_later(2 * self.timeout, _fail, barrier.passed, late)
        barrier.passed.add_done_callback(lambda _: timer.cancel())
        asked = one.partition.barrier(name, list(barrier.logs))
        done = asyncio.ensure_future(asked.result)
        done.add_done_callback(lambda future: self._asked(one, name, barrier, future))

    def _asked(self, one: Notifications, name: str, barrier: Barrier, asked: "asyncio.Future[list[Any]]") -> None:
        error = EngineUnavailable("it was given up") if asked.cancelled() else asked.exception()
        if error is not None:
            if one.barriers.pop(name, None) is not None:
                _fail(barrier.passed, error)
            return
        # The barrier itself usually comes before the answer.
        for log, offset in zip(barrier.logs.values(), asked.result()[1], strict=True):
            if log.offset < 0:
                log.offset = int(offset)


def _fail(passed: "asyncio.Future[None]", error: BaseException) -> None:
    if not passed.done():
        passed.set_exception(error)
