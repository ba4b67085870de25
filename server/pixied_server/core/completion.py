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
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        return task.result()
    finally:
        if cancelled is not None:
            raise cancelled
