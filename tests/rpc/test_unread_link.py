"""A front-end that sends and does not read, seen from the side of the stream's bytes."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.support.caller import within
from tests.support.link import attach, hello
from tests.support.writing import Written, writer_to

from pixied.v1 import attach_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import LinkLimits
from pixied_server.delivery.watch import Watchers
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.checks import RequestLimits, Validator

_COMMANDS = 1_000
_FRAMES = 30


@pytest.fixture(autouse=True)
def engine() -> None:
    """The memory engine stands for both: none of them is asked for anything that waits."""


class _FrontEnd(Written):
    """It sends frames of commands which all fail, and reads what comes after the welcome when it is let.

    Attributes:
        sent: how many frames the server has taken.
        reads: set when it reads.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.reads = asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        """What it sends."""
        yield wire.AttachRequest(commands=[hello()]).SerializeToString()
        for _ in range(_FRAMES):
            self.sent += 1
            commands = [attach("", handle) for handle in range(_COMMANDS)]
            yield wire.AttachRequest(commands=commands).SerializeToString()

    async def write(self, _: bytes) -> None:
        """Take what the server sends."""
        if self.sent:
            await self.reads.wait()

    async def is_stuck(self) -> None:
        """Wait until the server takes nothing more."""
        before = -1
        while before < self.sent:
            before = self.sent
            for _ in range(20):
                await asyncio.sleep(0)


async def test_who_reads_nothing_is_not_listened_to_without_end() -> None:
    """No more news waits than some frames can cause; when the front-end reads, its commands are taken again."""
    bench, front_end = MemoryBench(Limits()), _FrontEnd()
    servicer = AttachServicer(
        Hub(bench.engine, Watchers(1), bench.clock),
        Validator(Grammar(), RequestLimits(60, 0.1, 3_600, 1_000_000, _COMMANDS, 300)),
        Drain(1.0, lambda: None, Random(1)),
        LinkTerms(3_600.0, 3_600.0, LinkLimits(), "1.0"),
    )
    context: Any = front_end
    serving = asyncio.ensure_future(servicer.attach(front_end.frames(), writer_to(context)))
    await front_end.is_stuck()
    # 10,000 that are being written, and 10,000 that wait behind them.
    assert 10 <= front_end.sent <= 25
    front_end.reads.set()
    async with within():
        await serving
    assert front_end.sent == _FRAMES
