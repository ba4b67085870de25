"""Faye servers on pixied, against the same servers on faye-redis and on Faye's own engine."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.bench.processes import node, pixied, redis
from tests.bench.tally import CheckFailed

__all__ = ["ask", "fanout_vs_faye_memory", "fanout_vs_faye_redis", "latency_vs_faye_redis"]

SOCKETS = 100
WINDOW = 8
RATE = 200
CURVE = (2, 10, 30)
_PATIENCE = 120


@asynccontextmanager
async def fanout_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """Two Faye servers with 50 sockets each, one channel, 8 messages under way, on pixied and on faye-redis."""
    messages = scale.of(600, 200)
    async with AsyncExitStack() as stack:
        sites = {name: await _site(stack, name) for name in ("pixied", "redis")}
        contest = Contest(
            lambda: _fanout(sites["pixied"], SOCKETS, messages), lambda: _fanout(sites["redis"], SOCKETS, messages // 4)
        )
        if not scale.quick:
            for name, site in sites.items():
                contest.details["pixied" if name == "pixied" else "faye-redis"] = await _curve(site, messages)
        yield contest


@asynccontextmanager
async def fanout_vs_faye_memory(scale: Scale) -> AsyncIterator[Contest]:
    """The same on pixied, and one Faye server with all 100 sockets and its own engine, in its own process."""
    messages = scale.of(600, 200)
    async with AsyncExitStack() as stack:
        ours, reference = await _site(stack, "pixied"), await _site(stack, "memory", servers=1)
        yield Contest(
            lambda: _fanout(ours, SOCKETS, messages),
            lambda: _fanout(reference, SOCKETS, messages),
        )


@asynccontextmanager
async def latency_vs_faye_redis(scale: Scale) -> AsyncIterator[Contest]:
    """200 messages a second to 100 subscribers on two Faye servers: the 99th percentile from publish to delivery."""
    messages = RATE * scale.of(5, 2)
    async with AsyncExitStack() as stack:
        ours, reference = await _site(stack, "pixied"), await _site(stack, "redis")
        contest = Contest(lambda: p99("pixied"), lambda: p99("faye-redis"))
        sites = {"pixied": ours, "faye-redis": reference}

        async def p99(name: str) -> float:
            async with _load(sites[name], SOCKETS) as load:
                answer = await ask(load, json.dumps({"messages": messages, "rate": RATE}))
            contest.details[name] = list(answer["percentiles"])
            return float(dict(answer["percentiles"])[99])

        yield contest


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
    async with node("load.js", str(sockets), *ports) as (process, _):
        yield process


async def _curve(ports: list[str], messages: int) -> list[object]:
    return [(sockets, await _fanout(ports, sockets, messages // 2)) for sockets in (*CURVE, SOCKETS)]


async def _fanout(ports: list[str], sockets: int, messages: int) -> float:
    """Returns deliveries a second."""
    async with _load(ports, sockets) as load:
        await ask(load, json.dumps({"messages": messages // 4, "window": WINDOW}))  # the servers' code gets warm
        answer = await ask(load, json.dumps({"messages": messages, "window": WINDOW}))
    return sockets * messages / float(str(answer["seconds"]))


async def ask(process: Process, order: str) -> dict[str, object]:
    """Tell a load to do something, and wait for what it says then.

    Raises:
        CheckFailed: its traffic did not arrive as it has to.
    """
    process.stdin.write(f"{order}\n".encode())
    async with asyncio.timeout(_PATIENCE):
        line = await process.stdout.readline()
    answer: dict[str, object] = json.loads(line or '{"problem": "the load has ended"}')
    if "problem" in answer:
        raise CheckFailed(answer["problem"])
    return answer
