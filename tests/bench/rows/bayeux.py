"""`pixied bayeux` on pixied, against Faye servers on faye-redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.bench.load import Load, load
from tests.bench.processes import resident_bytes
from tests.bench.sites import Site, bayeux_on_pixied, faye_on_redis

__all__ = ["bayeux_bytes_per_socket", "bayeux_fanout_vs_faye_redis", "bayeux_latency_vs_faye_redis"]

SOCKETS = 500
RATE = 100
IDLE = 2_000


@asynccontextmanager
async def bayeux_fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two front-ends with 250 sockets each, one channel, 8 messages under way."""
    messages = scale.of(200, 100)
    async with _loads(scale) as (ours, reference):
        yield Contest(lambda: ours.fanout(messages), lambda: reference.fanout(messages))


@asynccontextmanager
async def bayeux_latency_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """100 messages a second to 500 subscribers on two front-ends: the 99th percentile from publish to delivery."""
    messages = RATE * scale.of(3, 1)

    async def p99(side: Load) -> float:
        return (await side.percentiles(messages, RATE))[99]

    async with _loads(scale) as (ours, reference):
        yield Contest(lambda: p99(ours), lambda: p99(reference))


@asynccontextmanager
async def _loads(scale: Scale) -> AsyncIterator[tuple[Load, Load]]:
    """Both sides' sockets; fewer of them if it has to be quick, which is kinder to faye-redis."""
    sockets = scale.of(SOCKETS, 150)
    async with AsyncExitStack() as stack:
        sites = await asyncio.gather(bayeux_on_pixied(stack, 2), faye_on_redis(stack, 2))
        ours, reference = [await stack.enter_async_context(load(site.ports, sockets)) for site in sites]
        yield ours, reference


@asynccontextmanager
async def bayeux_bytes_per_socket(scale: Scale) -> AsyncIterator[Contest]:
    """Resident memory of one front-end for each idle socket: a session with one subscription, its connect held."""
    sockets = scale.of(IDLE, IDLE // 10)

    async def grown(site: Site) -> float:
        async with load(site.ports, sockets // 10):
            pass
        before = resident_bytes(site.processes[0])
        async with load(site.ports, sockets, warm=1):
            return (resident_bytes(site.processes[0]) - before) / sockets

    async with AsyncExitStack() as stack:
        ours, reference = await asyncio.gather(bayeux_on_pixied(stack, 1), faye_on_redis(stack, 1))
        yield Contest(lambda: grown(ours), lambda: grown(reference))
