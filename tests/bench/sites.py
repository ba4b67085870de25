"""Bayeux servers on stores of their own: what a load is for."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.bench.load import PATH
from tests.bench.processes import bayeux, node, pixied, redis, redis_for_pixied

__all__ = ["Site", "bayeux_on_pixied", "faye_alone", "faye_on_clustered_pixied", "faye_on_pixied", "faye_on_redis"]


@dataclass(frozen=True)
class Site:
    """Bayeux servers.

    Attributes:
        ports: each one's.
        processes: the same servers'.
    """

    ports: Sequence[str]
    processes: Sequence[Process]


async def faye_on_pixied(stack: AsyncExitStack, servers: int) -> Site:
    """So many Faye servers on one pixied."""
    backend = await stack.enter_async_context(pixied())
    return await _faye(stack, "pixied", [backend.address] * servers)


async def faye_on_clustered_pixied(stack: AsyncExitStack, servers: int) -> Site:
    """So many Faye servers, each on a pixied of its own, and all of these on one Redis."""
    store = await stack.enter_async_context(redis_for_pixied())
    serving = (stack.enter_async_context(pixied("--engine", store)) for _ in range(servers))
    backends = await asyncio.gather(*serving)
    return await _faye(stack, "pixied", [backend.address for backend in backends])


async def faye_on_redis(stack: AsyncExitStack, servers: int) -> Site:
    """So many Faye servers with faye-redis on one Redis."""
    return await _faye(stack, "redis", [await stack.enter_async_context(redis())] * servers)


async def faye_alone(stack: AsyncExitStack) -> Site:
    """A Faye server with its own engine, in its own process."""
    return await _faye(stack, "memory", [""])


async def bayeux_on_pixied(stack: AsyncExitStack, servers: int) -> Site:
    """So many `pixied bayeux` on one pixied."""
    backend = await stack.enter_async_context(pixied())
    serving = (stack.enter_async_context(bayeux(backend.address, PATH)) for _ in range(servers))
    started = await asyncio.gather(*serving)
    return Site([one.address.rpartition(":")[2] for one in started], [one.process for one in started])


async def _faye(stack: AsyncExitStack, engine: str, stores: Sequence[str]) -> Site:
    """A Faye server for each of the stores."""
    started = await asyncio.gather(*(stack.enter_async_context(node("server.js", engine, store)) for store in stores))
    return Site([str(said["port"]) for _, said in started], [process for process, _ in started])
