"""Showing that something left a server as it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.site import Site

__all__ = ["nothing_changes"]


@asynccontextmanager
async def nothing_changes(site: Site) -> AsyncIterator[str]:
    """A client with messages that must be as it was when the context is left, as must be all that the server holds."""
    alice = await site.client("/alice", "/alice/**")
    await site.publish("/alice", "1", "2")
    before = await _state(site, alice)
    yield alice
    # A stream that was refused is counted out a moment after its client has learned of it.
    for _ in range(100):
        if (after := await _state(site, alice)) == before:
            break
        await asyncio.sleep(0.01)
    assert after == before
    await site.publish("/alice", "3")
    assert await site.taken(alice) == ["1", "2", "3"]


async def _state(site: Site, client_id: str) -> tuple[Any, ...]:
    described = await site("GetClient", client_id=client_id)
    return described, await site("SubscribedTo", client_id=client_id), await site("GetInfo")
