"""A lock for each name: changes of one client happen one after the other."""

import asyncio
from weakref import WeakValueDictionary

__all__ = ["KeyedLock"]


class KeyedLock:
    """See the module."""

    def __init__(self) -> None:
        # A lock lasts as long as anybody holds it, or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """Return the lock of a name."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock
