"""Many clients come at once: new ones, or all of a front-end that died, to another one."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from tests.bench.contest import Contest, Scale
from tests.bench.load import ask
from tests.bench.processes import node, pixied, redis, redis_for_pixied, stop
from tests.bench.tally import CheckFailed

__all__ = ["redis_clients_vs_faye_redis", "storm_vs_faye_redis"]

CLIENTS = 20_000
CLIENTS_OF_TWO = 10_000


@asynccontextmanager
async def storm_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """20,000 clients: handshake, subscribe, attach. On pixied the dead front-end's clients have to be let go too."""
    clients = scale.of(CLIENTS, CLIENTS // 4)
    async with pixied() as server, redis() as socket:
        sides = [("pixied", [server.address]), ("redis", [socket])]
        ours, reference = [partial(_come, kind, stores, clients, back=True) for kind, stores in sides]
        yield Contest(ours, reference)


@asynccontextmanager
async def redis_clients_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """10,000 new clients, half of them through a front-end on a pixied of its own, both of these on one Redis.

    Against two processes with the same clients, each with faye-redis, on one Redis.
    """
    clients = scale.of(CLIENTS_OF_TWO, CLIENTS_OF_TWO // 10)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis_for_pixied())
        serving = (stack.enter_async_context(pixied("--engine", store)) for _ in range(2))
        addresses = [backend.address for backend in await asyncio.gather(*serving)]
        socket = await stack.enter_async_context(redis())
        sides = [("pixied", addresses), ("redis", [socket, socket])]
        ours, reference = [partial(_come, kind, stores, clients, back=False) for kind, stores in sides]
        yield Contest(ours, reference)


async def _come(kind: str, stores: Sequence[str], clients: int, *, back: bool) -> float:
    """Clients come, a share of them through a front-end of each of these stores. Returns the seconds until all are in.

    Args:
        kind: of the stores.
        stores: where they are.
        clients: how many, in all.
        back: they come back, from front-ends that have just been killed and have to be found gone.
    """
    async with AsyncExitStack() as stack:
        heirs = await _front_ends(stack, kind, stores, clients)
        if back:
            victims = await _front_ends(stack, kind, stores, clients)
            await _ask(victims, ["come"] * len(stores))
            for victim in victims:
                stop(victim, signal.SIGKILL)
        seconds = await _ask(heirs, ["come"] * len(stores))
        delivered = await _ask(heirs, ["check", *["wait"] * (len(stores) - 1)])
    if sum(one["delivered"] for one in delivered) != clients:
        raise CheckFailed(f"{delivered} of {clients} clients got their message")
    return max(float(one["seconds"]) for one in seconds)


async def _front_ends(stack: AsyncExitStack, kind: str, stores: Sequence[str], clients: int) -> Sequence[Process]:
    share = str(clients // len(stores))
    starting = (stack.enter_async_context(node("storm.js", kind, store, share)) for store in stores)
    return [process for process, _ in await asyncio.gather(*starting)]


async def _ask(front_ends: Sequence[Process], orders: Sequence[str]) -> Sequence[dict[str, Any]]:
    return await asyncio.gather(*(ask(one, order) for one, order in zip(front_ends, orders, strict=True)))
