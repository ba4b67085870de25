"""The account of what is written to callers: who waits for room, whom it is given, and whose connection makes room."""

import asyncio

import pytest
from tests.support.caller import within

from pixied_server.errors import NotReceived
from pixied_server.rpc.writes import Charge, WriteLimits, Writes

_SIZE = 100
# A frame is held twice.
_COST = 200


@pytest.fixture(autouse=True)
def engine() -> None:
    """No engine, and no server."""


class _Account:
    """An account whose time a test moves, and what it has cut."""

    def __init__(self, *, total: int = 10, connection: int = 2, timeout: float = 3_600.0) -> None:
        self.now = 0.0
        self.cut: list[str] = []
        self.limits = WriteLimits(timeout, total * _COST, connection * _COST, stuck=0.01)
        self.writes = Writes(self.limits, self.cut.append, lambda: self.now)

    async def fill(self, *peers: str) -> list[Charge]:
        """One frame for each of these, which all have room."""
        async with within():
            return [await self.writes.room(peer, _SIZE) for peer in peers]

    def wait(self, peer: str, size: int = _SIZE) -> "asyncio.Task[Charge]":
        """Ask for room in a task."""
        return asyncio.create_task(self.writes.room(peer, size))


async def _some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_frame_counts_twice_until_it_is_released() -> None:
    """For all, and for its connection; what it takes in the end replaces what was expected."""
    account = _Account()
    one, other = await account.fill("one", "other")
    assert (account.writes.held, account.writes.held_by("one")) == (2 * _COST, _COST)
    one.resize(10)
    assert (account.writes.held, account.writes.held_by("one")) == (_COST + 20, 20)
    one.release()
    one.release()
    other.release()
    assert (account.writes.held, account.writes.held_by("one"), account.writes.held_by("other")) == (0, 0, 0)


async def test_who_has_its_share_waits_and_others_do_not() -> None:
    """Until something of its own is received; those that wait come in their order."""
    account = _Account()
    first, _ = await account.fill("one", "one")
    waiting = [account.wait("one"), account.wait("one")]
    await _some_turns()
    assert not any(task.done() for task in waiting)
    await account.fill("other", "other")
    first.release()
    await _some_turns()
    assert [task.done() for task in waiting] == [True, False]
    (await waiting[0]).release()
    async with within():
        await waiting[1]
    assert (account.writes.held_by("one"), account.cut) == (2 * _COST, [])


async def test_who_comes_later_and_needs_less_does_not_come_first() -> None:
    """A frame that needs much room would wait for ever if smaller ones went before it."""
    account = _Account()
    first, second = await account.fill("one", "one")
    first.resize(_SIZE - 10)
    large, small = account.wait("one"), account.wait("one", 5)
    await _some_turns()
    assert not small.done()
    second.release()
    async with within():
        await large
        await small


async def test_what_never_fits_is_written_when_nothing_else_is() -> None:
    """A frame larger than the connection's share."""
    account = _Account()
    first, *_ = await account.fill("one")
    large = account.wait("one", 10_000)
    await _some_turns()
    assert not large.done()
    first.release()
    async with within():
        await large


async def test_who_waits_too_long_is_told_why() -> None:
    """And those behind it wait no longer for it."""
    account = _Account(timeout=0.01)
    await account.fill("one", "one")
    with pytest.raises(NotReceived, match=r"^this connection has not received 400 bytes"):
        await account.wait("one")
    assert account.writes.held_by("one") == 2 * _COST


async def test_who_is_cancelled_while_it_waits_takes_no_room() -> None:
    """Not even if room was given to it in the same turn."""
    account = _Account()
    first, second = await account.fill("one", "one")
    cancelled, given, last = account.wait("one"), account.wait("one"), account.wait("one")
    await _some_turns()
    cancelled.cancel()
    first.release()
    second.release()
    given.cancel()
    async with within():
        await asyncio.wait([cancelled, given, last])
    assert (cancelled.cancelled(), given.cancelled()) == (True, True)
    (await last).release()
    assert account.writes.held == 0


async def test_with_no_room_at_all_the_connection_that_has_most_is_cut() -> None:
    """If it received nothing for a while; what it held makes room."""
    account = _Account(total=4, connection=3)
    held = await account.fill("most", "most", "most", "least")
    account.now = 1.0
    waiting = account.wait("polite")
    await _some_turns()
    assert (account.cut, waiting.done()) == (["most"], False)
    for charge in held[:3]:
        charge.release()
    async with within():
        await waiting
    assert account.cut == ["most"]


async def test_who_receives_is_not_cut() -> None:
    """Though it has most: the next one that received nothing is."""
    account = _Account(total=4, connection=3)
    most, *_ = await account.fill("most", "most", "most", "least")
    account.now = 1.0
    most.resize(_SIZE - 1)
    waiting = account.wait("polite")
    await _some_turns()
    assert account.cut == ["least"]
    waiting.cancel()


async def test_nobody_is_cut_for_who_only_waits_for_itself() -> None:
    """Its own connection has no room, and all together have."""
    account = _Account(total=4, connection=2)
    await account.fill("one", "one", "other")
    account.now = 1.0
    waiting = account.wait("one")
    await _some_turns()
    assert account.cut == []
    waiting.cancel()


async def test_it_is_looked_again_for_whom_to_cut() -> None:
    """Where nobody was stuck long enough at first, somebody may be later."""
    account = _Account(total=2, connection=1)
    await account.fill("one", "other")
    waiting = account.wait("polite")
    await _some_turns()
    assert account.cut == []
    account.now = 1.0
    async with within():
        while not account.cut:  # noqa: ASYNC110 - a timer of the account's own
            await asyncio.sleep(0.001)
    waiting.cancel()
