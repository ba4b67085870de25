"""What loads Bayeux servers: subscribers and a publisher in a process of their own, which checks every delivery."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.processes import node
from tests.bench.tally import CheckFailed

__all__ = ["PATH", "Load", "ask", "load"]

PATH = "/faye"
"""Where the load connects: whatever it loads has to serve there."""

WINDOW = 8
# What a busy site has under way, from a little to more than any side here is the faster for.
WINDOWS = (8, 32, 128, 512)
# So many messages go through first: Node compiles what runs often, and either side shall have that behind it.
WARM = 200
_TIMEOUT = 120


@dataclass(frozen=True)
class Load:
    """Sockets that subscribe to one channel, and one that publishes to it."""

    process: Process
    sockets: int

    async def fanout(self, messages: int, window: int = WINDOW) -> float:
        """Publish messages of 200 bytes, so many under way at a time. Returns deliveries a second."""
        answer = await ask(self.process, json.dumps({"messages": messages, "window": window}))
        return self.sockets * messages / float(answer["seconds"])

    async def fanouts(self, messages: int) -> dict[int, float]:
        """Deliveries a second with few and with many messages under way."""
        return {window: await self.fanout(messages, window) for window in WINDOWS if window <= messages}

    async def percentiles(self, messages: int, rate: int) -> dict[float, float]:
        """Publish messages, so many a second. Returns milliseconds from publish to delivery, by percentile."""
        answer = await ask(self.process, json.dumps({"messages": messages, "rate": rate}))
        return dict(answer["percentiles"])


@asynccontextmanager
async def load(ports: Sequence[str], sockets: int, warm: int = WARM) -> AsyncIterator[Load]:
    """Sockets on Bayeux servers, in turns. At the end they disconnect: no store shall go on to serve them.

    Args:
        ports: the servers'.
        sockets: how many.
        warm: so many messages have come to all of them when the context begins. With one, all connects are held.
    """
    async with node("load.js", str(sockets), *ports) as (process, _):
        loaded = Load(process, sockets)
        await loaded.fanout(warm)
        yield loaded
        await ask(process, json.dumps({"end": True}))


async def ask(process: Process, order: str) -> dict[str, Any]:
    """Tell a load to do something, and wait for what it says then.

    Raises:
        CheckFailed: its traffic did not arrive as it has to.
    """
    process.stdin.write(f"{order}\n".encode())
    async with asyncio.timeout(_TIMEOUT):
        line = await process.stdout.readline()
    answer: dict[str, Any] = json.loads(line or '{"problem": "the load has ended"}')
    if "problem" in answer:
        raise CheckFailed(answer["problem"])
    return answer
