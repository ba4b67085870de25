"""The wall clock of Redis is set, by an hour: sessions live and end by elapsed time."""

from collections.abc import Iterator
from time import monotonic

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.faults.stage import Pixied, reading, running
from tests.support.caller import until
from tests.support.link import attach, linked
from tests.support.redis_servers import Server, single

HOUR = 3_600
SHORT = 3
# A clock that was set is corrected to within what a call takes.
EARLY = 0.5


@pytest.fixture
def store() -> Iterator[Server]:
    """A Redis with a clock of its own."""
    with single(own_clock=True) as server:
        yield server


async def _lives(pixied: Pixied, client: str) -> bool:
    try:
        await pixied("GetClient", client_id=client)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 - either is an answer
        return False
    return True


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_sessions_go_by_elapsed_time(store: Server, jump: int) -> None:
    """Who is away lives on with its messages, who is held too; who was not pinged for 3 s is gone, and not sooner."""
    async with running(store.url, "--min-session-timeout", "1s", number=2) as [pixied, other]:
        away = await pixied.client("/a", session_timeout=Duration(seconds=600))
        await pixied.publish("/a", "before")
        async with linked(other) as link, reading(link) as seen:
            held = await other.client("/a")
            await link.send(attach(held, 1))
            await seen.until(lambda: 1 in seen.attached)
            began = monotonic()
            short = await pixied.client("/a", session_timeout=Duration(seconds=SHORT))
            store.set_clock(jump)
            await pixied.publish("/a", "after")
            # Somebody who comes when the clock is wrong already.
            late_began = monotonic()
            late = await other.client("/a", session_timeout=Duration(seconds=SHORT))
            await until(lambda: _is_over(pixied, short))
            assert monotonic() - began >= SHORT - EARLY
            await until(lambda: _is_over(other, late))
            assert monotonic() - late_began >= SHORT - EARLY
            await seen.until(lambda: seen.received[1].texts == ["after"])
            await other.publish("/a", "later")
            await seen.until(lambda: seen.received[1].texts == ["after", "later"])
            assert not seen.detached
        assert await pixied.taken(away) == ["before", "after", "later"]
        assert await _lives(pixied, held)


async def _is_over(pixied: Pixied, client: str) -> bool:
    return not await _lives(pixied, client)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_a_pixied_that_starts_later_agrees(store: Server, jump: int) -> None:
    """It sees the same sessions, which end when they should, though it never saw the clock as it was."""
    async with running(store.url) as [pixied]:
        away = await pixied.client("/a", session_timeout=Duration(seconds=600))
        await pixied.publish("/a", "1")
        store.set_clock(jump)
        await pixied.publish("/a", "2")
        async with running(store.url) as [later]:
            began = monotonic()
            short = await later.client(session_timeout=Duration(seconds=SHORT))
            await until(lambda: _is_over(later, short))
            assert monotonic() - began >= SHORT - EARLY
            assert await later.taken(away) == ["1", "2"]
