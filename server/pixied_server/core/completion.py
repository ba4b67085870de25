"""Work that has to come to its end, whatever becomes of whoever began it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["completed"]

T = TypeVar("T")


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Do something to its end, even if the caller is cancelled meanwhile, as gRPC cancels a call whose peer is gone.

    Raises:
        CancelledError: the caller was cancelled; the work is done, or has failed.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    try:
        return task.result()
    finally:
        del task  # it holds its exception, whose trace holds this frame
        if cancelled:
            raise asyncio.CancelledError
