"""Telling a cancelled task from a cancelled call: grpc.aio raises CancelledError for both."""

import asyncio

__all__ = ["being_cancelled"]


def being_cancelled() -> bool:
    """Return whether a CancelledError in this task is its own. If not, grpc's side of a call was ended by someone."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
