"""Operations that wait for the same thing, such as a store."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from pixied_server.errors import PixiedError

__all__ = ["together"]

T = TypeVar("T")


async def together(operations: Iterable[Awaitable[T]]) -> list[T | PixiedError]:
    """Begin operations in their order, and wait for all of them.

    Returns:
        What each has returned or, where that was a `PixiedError`, raised.

    Raises:
        BaseException: what an operation has raised that is no `PixiedError`; all of them are over then.
    """
    outcomes: list[T | PixiedError] = []
    for outcome in await asyncio.gather(*operations, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, PixiedError):
            raise outcome
        outcomes.append(outcome)
    return outcomes
