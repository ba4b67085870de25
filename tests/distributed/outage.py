"""Waiting for what a store that is away, or back, leads to."""

import asyncio
from collections.abc import Callable
from itertools import repeat

__all__ = ["TIMEOUT", "until"]

TIMEOUT = 60.0
"""Seconds after which a test gives up waiting."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(TIMEOUT):
        for pause in repeat(0.01):
            if condition():
                return
            await asyncio.sleep(pause)
