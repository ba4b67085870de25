"""Calls that end while the store is waited for: their clients are released all the same."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import CORO_CLOSED, getcoroutinestate

import pytest
import structlog
from tests.distributed.gate import gate
from tests.distributed.outage import until
from tests.distributed.pair import Pair
from tests.engine.site import Site
from tests.support.servicers import Call, attach, deliver

from pixied_server.delivery.hub import Hub
from pixied_server.delivery.owner import Follower


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


@pytest.mark.parametrize("begin", [attach, deliver])
async def test_a_call_that_is_cancelled_while_it_ends_holds_nobody(
    pair: Pair, begin: Callable[[Site, Call, str], Awaitable[None]]
) -> None:
    """Nobody owns its client, whose session timeout runs, and nothing more is announced to it."""
    hub = pair.here.hub = _Hub(pair.here)
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    call = Call()
    serving = asyncio.ensure_future(begin(pair.here, call, pair.here.ids["ann"]))
    async with asyncio.timeout(10):
        await until(lambda: bool(hub.owned and hub.follows))
        assert (await pair.there.look_at("ann")).expires_at is None
        with gate(pair.here, "release") as released:
            call.over.set()
            if begin is deliver:
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
