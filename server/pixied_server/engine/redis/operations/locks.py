"""A lock for each name: changes of one client happen one after the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["KeyedLock"]


class KeyedLock:
    """See the module."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of a name while the context lasts."""
        lock, waiting = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            _, waiting = self._locks[name]
            if waiting == 1:
                del self._locks[name]
            else:
                self._locks[name] = lock, waiting - 1
