"""Clocks that jump: the wall clock of Redis, and the idea that a pixied has of the time."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import time
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs
from tests.distributed.outage import until
from tests.engine.benches import Limits
from tests.support.redis_servers import Server, single

from pixied_server.core.message import Message
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.tap import parse_cursor, tapped
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.redis import RedisEngine, process
from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.store import Store
from pixied_server.engine.redis.partition.clock import ElapsedClock, elapsed
from pixied_server.engine.redis.partition.layout import Layout

HOUR = 3_600
_JUMPED = "the store's clock has jumped: sessions go by elapsed time"
_FOLLOWS = "other processes agree with the store's clock: this one follows"


@pytest.fixture
def server() -> Iterator[Server]:
    """A Redis with a clock of its own."""
    with single(own_clock=True) as started:
        yield started


@asynccontextmanager
async def _engines(server: Server, number: int, limits: Limits | None = None) -> AsyncIterator[list[RedisEngine]]:
    """Engines over one partition, which go by real time."""
    prefix = "clock"
    async with AsyncExitStack() as stack:
        engines = []
        for _ in range(number):
            store = Store(Address.parse(server.url), timeout=5.0)
            await store.open()
            stack.push_async_callback(store.close)
            engine = RedisEngine(store, Layout(prefix, 1), (limits or Limits()).of_store, timeout=2.0)
            await engine.open()
            stack.push_async_callback(engine.close)
            Hub(engine, Watchers(10), time)
            engines.append(engine)
        yield engines


async def _now(engine: RedisEngine) -> float:
    """The time of the store, as a new session begins."""
    return (await engine.create_client(60.0, {})).created_at


def _logged(lines: list[dict[str, object]], event: str) -> int:
    return sum(line["event"] == event for line in lines)


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_sessions_go_on_when_the_clock_of_redis_is_set(server: Server, jump: int) -> None:
    """No session begins or ends an hour early or late, whoever asks; the log says once what has happened."""
    async with _engines(server, 2) as (here, there):
        client = await here.create_client(60.0, {})
        await _now(there)
        with capture_logs() as lines:
            server.set_clock(jump)
            for engine in (here, there, here, there):
                assert await _now(engine) == pytest.approx(time(), abs=5.0)
            await until(lambda: _logged(lines, _JUMPED) > 0)
            for engine in (here, there, here, there):
                assert await _now(engine) == pytest.approx(time(), abs=5.0)
        assert (_logged(lines, _JUMPED), _logged(lines, _FOLLOWS)) in {(1, 0), (2, 0)}
        # Who comes later goes by the corrected clock.
        async with _engines(server, 1) as [other]:
            await _now(other)
        assert await there.ping_client(client.client_id) == pytest.approx(time() + 60.0, abs=5.0)
        for engine in (here, there):
            await engine.tick()
        assert (await there.get_client(client.client_id)).expires_at == pytest.approx(time() + 60.0, abs=5.0)


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR], ids=["ahead", "back"])
async def test_cursors_are_good_when_the_clock_of_redis_is_set(server: Server, jump: int) -> None:
    """One that was handed out before confirms what it did, whoever is asked, and whenever that process was started."""
    async with _engines(server, 1) as [here]:
        client_id = (await here.create_client(60.0, {})).client_id
        await here.queue_for(client_id, [Message("/own", text) for text in (b"1", b"2", b"3")])
        cursor = await _taken(here, client_id, "", [b"1"])
        await _set_clock(server, jump, here)
        async with _engines(server, 1) as [there]:
            cursor = await _taken(there, client_id, cursor, [b"2"])
            await _set_clock(server, 0, here)
            await _taken(here, client_id, cursor, [b"3"])


async def _set_clock(server: Server, seconds: int, engine: RedisEngine) -> None:
    """Set it, and wait until an engine that runs has noticed that."""
    with capture_logs() as lines:
        server.set_clock(seconds)
        await _now(engine)
        await until(lambda: _logged(lines, _JUMPED) > 0)


async def _taken(engine: RedisEngine, client_id: str, cursor: str, expected: list[bytes]) -> str:
    """The next message of a client, after the one for which the cursor stands."""
    hub = engine.listener
    assert isinstance(hub, Hub)
    async with tapped(hub, client_id, "Deliver", explicit=True, cursor=parse_cursor(cursor)) as tap:
        taken = await tap.take(messages=1, size=1_000)
    assert [entry.message.body for entry in taken.entries] == expected
    return taken.cursor


async def test_rates_go_on_when_the_clock_of_a_pixied_is_set_back(server: Server) -> None:
    """Nobody has to wait for an hour until as many may be published again as a second ago."""
    off = 0.0
    limits = Limits(publishes_per_second=1_000.0, creates_per_second=1_000.0)
    with patch.object(process, "time", lambda: time() + off):
        async with _engines(server, 1, limits) as (engine,):
            await engine.create_client(60.0, {})
            await engine.publish([Message("/a", b"1")])
            off = -HOUR
            await engine.create_client(60.0, {})
            await engine.publish([Message("/a", b"2")])


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_a_process_whose_own_time_is_off_follows_the_others(server: Server, off: int) -> None:
    """It does not set the clock for all: another process has found that right a moment ago."""
    async with _engines(server, 2) as (here, there):
        wrong = [0.0]
        here.process.partitions[0]._elapsed = ElapsedClock(lambda: elapsed() + wrong[0])
        for engine in (here, there):
            await _now(engine)
        wrong[0] = float(off)
        with capture_logs() as lines:
            await there.upkeep.end_sessions()
            assert await _now(here) == pytest.approx(time(), abs=5.0)
            await until(lambda: _logged(lines, _FOLLOWS) > 0)
            for engine in (here, there, here):
                await there.upkeep.end_sessions()
                assert await _now(engine) == pytest.approx(time(), abs=5.0)
        assert (_logged(lines, _FOLLOWS), _logged(lines, _JUMPED)) == (1, 0)


class _Now:
    """Elapsed seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_what_a_clock_should_show() -> None:
    """The first answer says it; from then on time passes; nothing is expected before."""
    now = _Now()
    clock = ElapsedClock(now)
    assert clock.expected() is None
    assert clock.saw(5_000.0, None)
    now.seconds += 2.5
    assert clock.expected() == 5_002.5
    # Asked for before the first answer came, and answered after: there was no expectation.
    assert clock.saw(7_000.0, None)
    assert clock.expected() == 7_000.0
    clock.trust(9_000.0)
    now.seconds += 1.0
    assert clock.expected() == 9_001.0


@pytest.mark.parametrize(
    ("shown", "right", "expected"),
    [
        # Between sending and receiving it may have been read at any time.
        (5_000.0, True, 5_001.0),
        (5_000.5, True, 5_001.0),
        (5_001.0, True, 5_001.0),
        # A little outside: a tenth of that is corrected.
        (4_999.96, True, 5_000.996),
        (5_001.04, True, 5_001.004),
        (4_999.94, False, 5_001.0),
        (5_001.06, False, 5_001.0),
    ],
)
def test_a_clock_that_differs(shown: float, right: bool, expected: float) -> None:  # noqa: FBT001
    """Small differences are those of two clocks, and are evened out; larger ones change nothing."""
    now = _Now()
    clock = ElapsedClock(now)
    clock.saw(5_000.0, None)
    sent = clock.expected()
    now.seconds += 1.0
    assert clock.saw(shown, sent) is right
    assert clock.expected() == pytest.approx(expected, abs=1e-6)
