"""A front-end dies, and all its clients come back at once on another one."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.bench.load import ask
from tests.bench.processes import node, pixied, redis, stop
from tests.bench.tally import CheckFailed

__all__ = ["storm_vs_faye_redis"]

CLIENTS = 20_000


@asynccontextmanager
async def storm_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """20,000 clients: handshake, subscribe, attach. On pixied the dead front-end's clients have to be let go too."""
    clients = scale.of(CLIENTS, CLIENTS // 4)
    async with pixied() as server, redis() as socket:
        yield Contest(lambda: _storm("pixied", server.address, clients), lambda: _storm("redis", socket, clients))


async def _storm(kind: str, where: str, clients: int) -> float:
    """Returns the seconds until the last client is back."""
    async with (
        node("storm.js", kind, where, str(clients)) as (victim, _),
        node("storm.js", kind, where, str(clients)) as (heir, _),
    ):
        await ask(victim, "come")
        stop(victim, signal.SIGKILL)
        seconds = (await ask(heir, "come"))["seconds"]
        delivered = (await ask(heir, "check"))["delivered"]
    if delivered != clients:
        raise CheckFailed(f"{delivered} of {clients} clients got their message")
    return float(seconds)
