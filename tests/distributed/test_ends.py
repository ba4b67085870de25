"""Calls that end while the store is waited for: their clients are released all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import CORO_CLOSED, getcoroutinestate
from random import Random
from typing import Any

import pytest
import structlog
from tests.distributed.gate import gate
from tests.distributed.outage import until
from tests.distributed.pair import Pair
from tests.engine.site import Site

from pixied.v1 import attach_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import LinkLimits
from pixied_server.delivery.owner import Follower
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.checks import RequestLimits, Validator
from pixied_server.rpc.deliver import DeliverServicer

_VALID = Validator(Grammar(), RequestLimits(60.0, 0.1, 3_600.0, 1 << 20, 1_000, 300.0))


class _Hub(Hub):
    """A hub that shows who follows what."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.engine, site.watchers, site.clock)
        self.follows: set[tuple[str, Follower]] = set()

    def follow(self, pattern: str, follower: Follower) -> None:
        """See `Hub`."""
        super().follow(pattern, follower)
        self.follows.add((pattern, follower))

    def unfollow(self, pattern: str, follower: Follower) -> None:
        """See `Hub`."""
        super().unfollow(pattern, follower)
        self.follows.discard((pattern, follower))


class _Call:
    """Stands for a call whose peer ends it: what is written goes nowhere, and nothing more comes once it is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Take a frame."""

    async def requests(self, frame: bytes) -> AsyncIterator[bytes]:
        """One frame, and the end."""
        yield frame
        await self.over.wait()


def _attach(site: Site, call: Any, client_id: str) -> Awaitable[None]:
    commands = [
        wire.AttachCommand(hello=wire.Hello(front_end="front")),
        wire.AttachCommand(attach=wire.AttachClient(client_id=client_id, handle=1)),
    ]
    servicer = AttachServicer(site.hub, _VALID, _drain(), LinkTerms(60.0, 300.0, LinkLimits(), "1"))
    return servicer.attach(call.requests(wire.AttachRequest(commands=commands).SerializeToString()), call)


def _deliver(site: Site, call: Any, client_id: str) -> Awaitable[None]:
    request = ops.DeliverRequest(client_id=client_id)
    return DeliverServicer(site.hub, _VALID, _drain()).deliver(request.SerializeToString(), call)


def _drain() -> Drain:
    return Drain(1.0, lambda: None, Random(1))


@pytest.mark.parametrize("begin", [_attach, _deliver])
async def test_a_call_that_is_cancelled_while_it_ends_holds_nobody(
    pair: Pair, begin: Callable[[Site, Any, str], Awaitable[None]]
) -> None:
    """Nobody owns its client, whose session timeout runs, and nothing more is announced to it."""
    hub = pair.here.hub = _Hub(pair.here)
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    call = _Call()
    serving = asyncio.ensure_future(begin(pair.here, call, pair.here.ids["ann"]))
    async with asyncio.timeout(10):
        await until(lambda: bool(hub.owned and hub.follows))
        assert (await pair.there.look_at("ann")).expires_at is None
        with gate(pair.here, "release") as released:
            call.over.set()
            if begin is _deliver:
                serving.cancel()
            await released.reached.wait()
            # Its front-end is gone, and that is noticed a second time.
            serving.cancel()
            for _ in range(10):  # turns of the loop: it would end in one or two
                await asyncio.sleep(0)
            assert not serving.done()
            released.open()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert (hub.owned, hub.follows) == (0, set())
    client = await pair.there.look_at("ann")
    assert (client.front_end, client.expires_at is None) == ("", False)


async def test_background_work_that_fails_is_told(pair: Pair) -> None:
    """Nobody waits for it: a defect in it would be seen by nobody but in the log."""

    async def work() -> None:
        raise RuntimeError("a defect")

    process = pair.here.engine.process  # type: ignore[attr-defined]
    with structlog.testing.capture_logs() as lines:
        process.spawn(work())
        await process.finish()
    assert [(one["log_level"], one["exc_info"]) for one in lines] == [("error", True)]


async def test_work_that_is_given_up_before_it_began_is_closed(pair: Pair) -> None:
    """A process that stops leaves no coroutine behind of which Python would say that it was never awaited."""

    async def work() -> None:
        raise AssertionError("it began")

    working = work()
    process = pair.here.engine.process  # type: ignore[attr-defined]
    process.spawn(working)
    await process.close()
    await asyncio.sleep(0)
    assert getcoroutinestate(working) == CORO_CLOSED
