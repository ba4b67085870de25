"""Faye servers on pixied, against the same servers on faye-redis and on Faye's own engine."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.bench.contest import Contest, Scale
from tests.bench.processes import node, pixied, redis
from tests.bench.tally import CheckFailed

__all__ = ["ask", "fanout_vs_faye_memory", "fanout_vs_faye_redis", "latency_vs_faye_redis"]

SOCKETS = 100
WINDOW = 8
# So many messages go through first: Node compiles what runs often, and either side shall have that behind it.
WARM = 200
RATE = 200
CURVE = (2, 10, 30)
_PATIENCE = 120


@asynccontextmanager
async def fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two Faye servers with 50 sockets each, one channel, 8 messages under way, on pixied and on faye-redis."""
    messages = scale.of(600, 300)
    async with AsyncExitStack() as stack:
        sites = {"pixied": await _site(stack, "pixied"), "faye-redis": await _site(stack, "redis")}
        curves = {} if scale.quick else {name: await _curve(site, messages) for name, site in sites.items()}
        loads = {name: await stack.enter_async_context(_load(site, SOCKETS)) for name, site in sites.items()}
        yield Contest(
            lambda: _fanout(loads["pixied"], SOCKETS, messages),
            lambda: _fanout(loads["faye-redis"], SOCKETS, messages),
            curves,
        )


@asynccontextmanager
async def fanout_vs_faye_memory(scale: Scale) -> AsyncIterator[Contest]:
    """The same on pixied, and one Faye server with all 100 sockets and its own engine, in its own process."""
    messages = scale.of(600, 300)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_load(await _site(stack, "pixied"), SOCKETS))
        reference = await stack.enter_async_context(_load(await _site(stack, "memory", servers=1), SOCKETS))
        yield Contest(lambda: _fanout(ours, SOCKETS, messages), lambda: _fanout(reference, SOCKETS, messages))


@asynccontextmanager
async def latency_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """200 messages a second to 100 subscribers on two Faye servers: the 99th percentile from publish to delivery."""
    messages = RATE * scale.of(3, 2)
    details: dict[str, list[object]] = {}
    async with AsyncExitStack() as stack:
        sites = {"pixied": await _site(stack, "pixied"), "faye-redis": await _site(stack, "redis")}
        loads = {name: await stack.enter_async_context(_load(site, SOCKETS)) for name, site in sites.items()}

        async def p99(name: str) -> float:
            answer = await ask(loads[name], json.dumps({"messages": messages, "rate": RATE}))
            details[name] = percentiles = answer["percentiles"]
            return float(dict(percentiles)[99])

        yield Contest(lambda: p99("pixied"), lambda: p99("faye-redis"), details)


async def _site(stack: AsyncExitStack, engine: str, *, servers: int = 2) -> list[str]:
    """Faye servers on a store of their own. Returns their ports."""
    where = ""
    if engine == "pixied":
        where = (await stack.enter_async_context(pixied())).address
    elif engine == "redis":
        where = await stack.enter_async_context(redis())
    started = [await stack.enter_async_context(node("server.js", engine, where)) for _ in range(servers)]
    return [str(said["port"]) for _, said in started]


@asynccontextmanager
async def _load(ports: list[str], sockets: int) -> AsyncIterator[Process]:
    """Sockets on Faye servers, warm. At the end they disconnect: no store shall go on to serve them."""
    async with node("load.js", str(sockets), *ports) as (process, _):
        await ask(process, json.dumps({"messages": WARM, "window": WINDOW}))
        yield process
        await ask(process, json.dumps({"end": True}))


async def _curve(ports: list[str], messages: int) -> list[object]:
    points: list[object] = []
    for sockets in (*CURVE, SOCKETS):
        async with _load(ports, sockets) as load:
            points.append((sockets, await _fanout(load, sockets, messages // 2)))
    return points


async def _fanout(load: Process, sockets: int, messages: int) -> float:
    """Returns deliveries a second."""
    answer = await ask(load, json.dumps({"messages": messages, "window": WINDOW}))
    return sockets * messages / float(answer["seconds"])


async def ask(process: Process, order: str) -> dict[str, Any]:
    """Tell a load to do something, and wait for what it says then.

    Raises:
        CheckFailed: its traffic did not arrive as it has to.
    """
    process.stdin.write(f"{order}\n".encode())
    async with asyncio.timeout(_PATIENCE):
        line = await process.stdout.readline()
    answer: dict[str, Any] = json.loads(line or '{"problem": "the load has ended"}')
    if "problem" in answer:
        raise CheckFailed(answer["problem"])
    return answer
