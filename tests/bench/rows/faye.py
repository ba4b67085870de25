"""Faye servers on pixied, against the same servers on faye-redis and on Faye's own engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.bench.load import load
from tests.bench.sites import Site, faye_alone, faye_on_clustered_pixied, faye_on_pixied, faye_on_redis

__all__ = [
    "fanout_vs_faye_memory",
    "fanout_vs_faye_redis",
    "latency_vs_faye_redis",
    "redis_fanout_vs_faye_redis",
    "redis_latency_vs_faye_redis",
]

SOCKETS = 100
RATE = 200
RATE_OF_TWO = 100
CURVE = (2, 10, 30)


@asynccontextmanager
async def fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two Faye servers with 50 sockets each, one channel, 8 messages under way, on pixied and on faye-redis."""
    messages = scale.of(600, 300)
    async with AsyncExitStack() as stack:
        sites = {"pixied": await faye_on_pixied(stack, 2), "faye-redis": await faye_on_redis(stack, 2)}
        curves = {} if scale.quick else {name: await _curve(site, messages) for name, site in sites.items()}
        ours = await stack.enter_async_context(load(sites["pixied"].ports, SOCKETS))
        reference = await stack.enter_async_context(load(sites["faye-redis"].ports, SOCKETS))
        yield Contest(lambda: ours.fanout(messages), lambda: reference.fanout(messages), curves)


@asynccontextmanager
async def fanout_vs_faye_memory(scale: Scale) -> AsyncIterator[Contest]:
    """The same on pixied, and one Faye server with all 100 sockets and its own engine, in its own process."""
    messages = scale.of(600, 300)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(load((await faye_on_pixied(stack, 2)).ports, SOCKETS))
        reference = await stack.enter_async_context(load((await faye_alone(stack)).ports, SOCKETS))
        yield Contest(lambda: ours.fanout(messages), lambda: reference.fanout(messages))


@asynccontextmanager
async def redis_fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two Faye servers, each on a pixied of its own, both of these on one Redis, against the two on faye-redis."""
    messages = scale.of(600, 150)
    async with AsyncExitStack() as stack:
        sites = await asyncio.gather(faye_on_clustered_pixied(stack, 2), faye_on_redis(stack, 2))
        ours, reference = [await stack.enter_async_context(load(site.ports, SOCKETS)) for site in sites]
        yield Contest(lambda: ours.fanout(messages), lambda: reference.fanout(messages))


@asynccontextmanager
async def latency_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """200 messages a second to 100 subscribers on two Faye servers: the 99th percentile from publish to delivery."""
    async with _latency(faye_on_pixied, RATE, scale) as contest:
        yield contest


@asynccontextmanager
async def redis_latency_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """The same, with 100 messages a second, each Faye server on a pixied of its own, both of these on one Redis."""
    async with _latency(faye_on_clustered_pixied, RATE_OF_TWO, scale) as contest:
        yield contest


@asynccontextmanager
async def _latency(
    site_of: Callable[[AsyncExitStack, int], Awaitable[Site]], rate: int, scale: Scale
) -> AsyncIterator[Contest]:
    messages = rate * scale.of(3, 1)
    details: dict[str, list[object]] = {}
    async with AsyncExitStack() as stack:
        made = await asyncio.gather(site_of(stack, 2), faye_on_redis(stack, 2))
        sites = dict(zip(("pixied", "faye-redis"), made, strict=True))
        loads = {name: await stack.enter_async_context(load(site.ports, SOCKETS)) for name, site in sites.items()}

        async def p99(name: str) -> float:
            percentiles = await loads[name].percentiles(messages, rate)
            details[name] = list(percentiles.items())
            return percentiles[99]

        yield Contest(lambda: p99("pixied"), lambda: p99("faye-redis"), details)


async def _curve(site: Site, messages: int) -> list[object]:
    points: list[object] = []
    for sockets in (*CURVE, SOCKETS):
        async with load(site.ports, sockets) as loaded:
            points.append((sockets, await loaded.fanout(messages // 2)))
    return points
