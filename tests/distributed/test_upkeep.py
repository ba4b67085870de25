"""What a pixied does by the clock, by itself: it ends, sweeps, writes down and repairs what nobody asks it to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from time import monotonic
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs
from tests.distributed.gate import away, failing, gate, watching
from tests.distributed.outage import until
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits
from tests.engine.site import Site
from tests.faults.work import watched
from tests.support.caller import until as until_it
from tests.support.redis_servers import single

from pixied_server.delivery.events import DetachReason
from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.upkeep import upkeep
from pixied_server.errors import EngineUnavailable


def _engine(site: Site) -> RedisEngine:
    assert isinstance(site.engine, RedisEngine)
    return site.engine


@asynccontextmanager
async def _running(*sites: Site) -> AsyncIterator[None]:
    """These do their periodic work while the context lasts."""
    tasks = [asyncio.create_task(site.engine.run()) for site in sites]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _holds(pair: Pair, **expected: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        held = await pair.there.engine.holdings()
        return all(getattr(held, name) == count for name, count in expected.items())

    return holds


async def test_sessions_end_by_themselves(pair: Pair) -> None:
    """The client's owner is notified."""
    await pair.here.create("ann", timeout=1.0)
    front = pair.there.front_end()
    await pair.there.attach("ann", front, expires=True)
    await pair.read(front)
    async with _running(pair.here):
        pair.here.clock.advance(1.1)
        await until_it(_holds(pair, clients=0))
    await pair.read(front)
    assert front.detached == [("ann", DetachReason.EXPIRED, "timed out")]


async def test_clients_are_taken_up_again_by_themselves(pair: Pair) -> None:
    """A pixied that was given up, and goes on, is their owner again unless somebody else is."""
    await pair.here.create("ann")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.reap(pair.there, pair.here)
    assert (await pair.there.look_at("ann")).front_end == ""

    async def taken_up() -> bool:
        return (await pair.there.look_at("ann")).front_end == "front"

    async with _running(pair.here):
        await until_it(taken_up)


async def test_sessions_end_though_a_partition_hangs(pair: Pair) -> None:
    """Those of the other partitions end in time, and do not wait until it is given up."""
    engine = _engine(pair.here)
    await pair.here.create("ann", timeout=1.0)
    home = engine.process.home(pair.here.ids["ann"])
    hangs = next(one for one in engine.process.partitions if one is not home)
    ask, hung = hangs.ask, asyncio.Event()

    def hanging(name: str, *words: Any) -> "asyncio.Future[Any]":
        if name != "expire":
            return ask(name, *words)
        hung.set()
        return asyncio.get_running_loop().create_future()

    with patch.object(hangs, "ask", hanging):
        async with _running(pair.here):
            await hung.wait()
            pair.here.clock.advance(1.1)
            await until(lambda: engine.counters.clients_expired == 1)


async def test_what_is_too_old_goes_by_itself(store_url: str) -> None:
    """Messages after their age, also when they are many more than go in one call."""
    async with opened(store_url, Limits(log_age=400.0)) as pair:
        await pair.here.create("ann", timeout=3_600.0)
        await pair.here.subscribe("ann", "/a")
        await pair.here.publish("/a", *map(str, range(1_200)))
        pair.here.clock.advance(399.0)
        await pair.here.publish("/a", "young")
        async with _running(pair.here):
            pair.here.clock.advance(2.0)
            await until_it(_holds(pair, messages=1))


async def test_messages_of_many_channels_go_in_light_calls() -> None:
    """Of each channel the oldest message goes: no call looks at the others, of which there are a hundred times more."""
    channels = [f"/{number}" for number in range(800)]
    limits = Limits(log_age=100.0, subscriptions_per_client=800, total_bytes=30_000_000)
    with single() as server:
        async with opened(server.url, limits) as pair:
            await pair.here.create("ann", timeout=600.0)
            await pair.here.subscribe("ann", *channels)
            for channel in channels:
                await pair.here.publish(channel, "0")
            pair.here.clock.advance(50.0)
            for channel in channels:
                await pair.here.publish(channel, *map(str, range(1, 100)))
            async with watched(server) as work:
                await pair.here.elapse(51.0)
            assert (await pair.here.engine.holdings()).messages == 99 * len(channels)
    assert work.heaviest <= 2_000


async def test_what_was_cut_off_is_finished_by_itself(pair: Pair) -> None:
    """A Subscribe whose process died is undone."""
    await pair.here.create("ann", timeout=600.0)
    with gate(pair.here, "join") as joined:
        subscribing = asyncio.create_task(pair.here.subscribe("ann", "/a"))
        async with asyncio.timeout(10):
            await joined.reached.wait()
        async with _running(pair.there):
            pair.here.clock.advance(4.0)
            await until_it(_holds(pair, channels=0))
    await asyncio.wait([subscribing])


async def test_a_subscription_that_the_store_lost_is_repaired_by_itself(pair: Pair) -> None:
    """The client is a member of its pattern again."""
    await pair.here.create("ann", timeout=600.0)
    await pair.here.subscribe("ann", "/a")
    await _engine(pair.there).process.home("/a").part("/a", pair.here.ids["ann"], wild=False)

    async def is_received() -> bool:
        return (await pair.here.publish("/a", "1"))[0].matched == 1

    assert not await is_received()
    async with _running(pair.there):
        await until_it(is_received)


# A partition that does not answer; those after it do.
_AWAY = 1


async def _client_behind(pair: Pair, away: int = _AWAY) -> str:
    """Make a client in a partition after the one that does not answer; give its name."""
    layout = _engine(pair.here).process.layout
    for number in range(100):
        name = f"client{number}"
        await pair.here.create(name, timeout=3_600.0)
        if layout.of(pair.here.ids[name]) > away:
            return name
    raise AssertionError("there is no partition after it")


def _channels_behind(pair: Pair) -> tuple[str, str]:
    layout = _engine(pair.here).process.layout
    one, other, *_ = (channel for channel in map("/{}".format, range(100)) if layout.of(channel) > _AWAY)
    return one, other


async def test_one_partition_that_does_not_answer_keeps_the_others_from_nothing(store_url: str) -> None:
    """What is too old goes, what was cut off is undone, and what was lost is repaired."""
    async with opened(store_url, Limits(log_age=400.0)) as pair:
        name, (channel, cut_off) = await _client_behind(pair), _channels_behind(pair)
        await pair.here.subscribe(name, channel)
        await pair.here.publish(channel, "old")
        pair.here.clock.advance(401.0)
        with gate(pair.here, "join") as joined:
            subscribing = asyncio.create_task(pair.here.subscribe(name, cut_off))
            async with asyncio.timeout(10):
                await joined.reached.wait()
            pair.here.clock.advance(4.0)
            await _engine(pair.there).process.home(channel).part(channel, pair.here.ids[name], wild=False)
            with away(pair.there, _AWAY):
                async with _running(pair.there):
                    await until_it(_holds_behind(pair, name, channel, cut_off))
        await asyncio.wait([subscribing])


def _holds_behind(pair: Pair, name: str, channel: str, cut_off: str) -> Callable[[], Awaitable[bool]]:
    """Whether nothing old is there, the client is a member where it subscribes, and nowhere else."""
    home = _engine(pair.here).process.home

    async def holds() -> bool:
        client_id = pair.here.ids[name]
        (is_member,) = await home(channel).are_members([(channel, client_id)])
        (is_left,) = await home(cut_off).are_members([(cut_off, client_id)])
        return is_member and not is_left and (await pair.here.engine.holdings()).messages == 0

    return holds


async def test_a_dead_process_is_reaped_where_the_store_answers(pair: Pair) -> None:
    """Its clients there have no owner any more; the others follow when the rest answers, for it stays listed."""
    process = _engine(pair.here).process
    # How far its links were is known where the process has its own keys.
    number = next(one for one in (1, 2) if one != process.layout.of(process.name))
    name = await _client_behind(pair, number)
    await pair.here.attach(name, pair.here.front_end("front"))
    await pair.die(pair.here)
    with away(pair.there, number), pytest.raises(EngineUnavailable):
        await pair.reap(pair.there, pair.here)
    assert (await pair.there.look_at(name)).front_end == ""
    processes = _engine(pair.there).process.partitions[0].processes
    assert len(await processes()) == 2
    await pair.reap(pair.there, pair.here)
    assert len(await processes()) == 1


async def test_work_that_fails_is_done_again(pair: Pair) -> None:
    """A store that does not answer, or a fault, ends no periodic work."""
    await pair.here.create("ann", timeout=1.0)
    failures: list[Exception] = []
    with failing(pair.here, "sweep", failures), capture_logs() as lines:
        async with _running(pair.here):
            for failure in (RuntimeError("a fault"), EngineUnavailable("it is away"), RuntimeError("another")):
                failures.append(failure)
                await until(lambda: not failures)
            pair.here.clock.advance(1.1)
            await until_it(_holds(pair, clients=0))
    fault = "upkeep failed, and is tried again"
    assert [line["event"] for line in lines] == [fault, "store does not answer", fault]


async def test_one_of_several_leads(pair: Pair) -> None:
    """Another one takes over once it has been silent for as long as its lease."""
    with ExitStack() as stack:
        # The one that leads sweeps, and ends sessions; each one asks for the lease every second.
        here, there = [
            {name: stack.enter_context(watching(site, name)) for name in ("lease", "sweep", "expire")}
            for site in (pair.here, pair.there)
        ]
        async with _running(pair.here):
            await until(lambda: bool(here["sweep"] and here["expire"]))
            async with _running(pair.there):
                await until(lambda: len(there["lease"]) >= 2)
                assert not there["sweep"] + there["expire"]
        pair.here.clock.advance(2.1)
        async with _running(pair.there):
            await until(lambda: bool(there["sweep"] and there["expire"]))
            here["lease"].clear()
            async with _running(pair.here):
                await until(lambda: len(here["lease"]) >= 2)
                for asked in here.values():
                    asked.clear()
                await until(lambda: bool(here["lease"]))
                assert not here["sweep"] + here["expire"]


@pytest.mark.parametrize(("missed", "judges"), [(2.5, True), (3.5, False)])
async def test_who_was_away_itself_gives_the_others_time(pair: Pair, missed: float, *, judges: bool) -> None:
    """A pixied that missed its own heartbeats can't judge others: they may not have reached the store either."""
    await pair.here.create("ann")
    front = pair.there.front_end("front")
    await pair.there.attach("ann", front)
    engine = _engine(pair.here)
    with watching(pair.here, "sweep") as sweeps:
        async with _running(pair.here):
            await until(lambda: bool(sweeps))
    began = monotonic() + 100.0

    async def owner_after_beat(seconds: float) -> str:
        with patch.object(upkeep, "monotonic", lambda: began + seconds):
            await engine.upkeep.beat()
        return (await pair.here.look_at("ann")).front_end

    for seconds in (0.0, 2.5, 5.0):
        await owner_after_beat(seconds)
    # The other one has sent none for longer than it takes to be dead.
    pair.here.clock.advance(6.0)
    assert await owner_after_beat(5.0 + missed) == ("" if judges else "front")
    if not judges:
        assert await owner_after_beat(5.0 + missed + 2.5) == "front"
        assert await owner_after_beat(5.0 + missed + 5.0) == ""


@pytest.mark.parametrize("busy", ["", "sweep", "leavings", "look"])
async def test_who_runs_is_not_given_up(pair: Pair, busy: str) -> None:
    """Its heartbeats come each second, however long all else takes that it has to do."""
    judge = _engine(pair.there).process.partitions[0]
    name = _engine(pair.here).process.name
    await pair.here.create("ann", timeout=600.0)
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    pair.here.clock.advance(6.0)
    assert name in (await judge.beat(5.0, 0))[0]

    async def lives() -> bool:
        return name not in (await judge.beat(5.0, 0))[0]

    with gate(pair.here, busy) as doing:
        async with _running(pair.here):
            await until_it(lives)
            if busy == "look":
                await judge.leave(name)
            if busy:
                await until(doing.reached.is_set)
            pair.here.clock.advance(6.0)
            await until_it(lives)


async def test_who_leaves_is_gone_at_once(store_url: str) -> None:
    """A pixied that stops is no process of the store any more: nobody waits for it, or reaps it."""
    async with opened(store_url) as pair:
        processes = _engine(pair.here).process.partitions[0].processes
        assert len(await processes()) == 2
        async with opened(store_url, prefix=pair.prefix):
            assert len(await processes()) == 4
        assert len(await processes()) == 2
        await pair.reap(pair.here, pair.there)
        assert await processes() == [_engine(pair.here).process.name]
