"""Faye servers on pixied, against the same servers on faye-redis and on Faye's own engine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tests.bench.contest import Contest, Measure, Scale
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
    """Two Faye servers with 50 sockets each, one channel, on pixied and on faye-redis."""
    async with AsyncExitStack() as stack:
        sites = {"pixied": await faye_on_pixied(stack, 2), "faye-redis": await faye_on_redis(stack, 2)}
        curves = {} if scale.quick else {name: await _curve(site) for name, site in sites.items()}
        contest = await _fanout(stack, sites["pixied"], sites["faye-redis"], scale)
        contest.details.update(curves)
        yield contest


@asynccontextmanager
async def fanout_vs_faye_memory(scale: Scale) -> AsyncIterator[Contest]:
    """The same on pixied, and one Faye server with all 100 sockets and its own engine, in its own process."""
    async with AsyncExitStack() as stack:
        yield await _fanout(stack, await faye_on_pixied(stack, 2), await faye_alone(stack), scale)


@asynccontextmanager
async def redis_fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two Faye servers, each on a pixied of its own, both of these on one Redis, against the two on faye-redis."""
    async with AsyncExitStack() as stack:
        sites = await asyncio.gather(faye_on_clustered_pixied(stack, 2), faye_on_redis(stack, 2))
        yield await _fanout(stack, *sites, scale)


async def _fanout(stack: AsyncExitStack, ours: Site, reference: Site, scale: Scale) -> Contest:
    """Each side with as many messages under way as it gets the most done with: that is what it can do."""
    messages = scale.of(1_200, 300)
    measures: list[Measure] = []
    windows: dict[str, list[object]] = {}
    for name, site in (("pixied", ours), ("reference", reference)):
        loaded = await stack.enter_async_context(load(site.ports, SOCKETS))
        figures = await loaded.fanouts(messages)
        windows[name] = list(figures.items())
        measures.append(partial(loaded.fanout, messages, max(figures, key=figures.__getitem__)))
    return Contest(*measures, {"under way": [windows]})


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


async def _curve(site: Site) -> list[object]:
    points: list[object] = []
    for sockets in (*CURVE, SOCKETS):
        async with load(site.ports, sockets) as loaded:
            points.append((sockets, await loaded.fanout(300)))
    return points
