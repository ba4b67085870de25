"""Callers that give up, and callers that ask for much at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from tests.faults.stage import Pixied, receive, running
from tests.support.caller import until
from tests.support.link import linked
from tests.support.redis_servers import Server, single

CALLS = 400
_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


@asynccontextmanager
async def _one(store: Server, *flags: str) -> AsyncIterator[tuple[Pixied, str]]:
    """A pixied, and what the names of its keys begin with."""
    prefix = f"callers{next(_names)}"
    async with running(store.url, "--redis-prefix", prefix, *flags) as [pixied]:
        yield pixied, prefix


async def _holds(pixied: Pixied, **expected: int) -> bool:
    held = (await pixied("GetInfo")).holdings
    return all(getattr(held, name) == number for name, number in expected.items())


async def _is_empty(store: Server, prefix: str) -> bool:
    """Whether nobody's subscription, nor a message, is left in the store."""
    return not any(store("KEYS", f"{prefix}*:{kind}:*") for kind in ("log", "members", "subscriptions", "client"))


async def test_a_subscribe_that_is_cut_off_leaves_nothing_behind(store: Server) -> None:
    """400 Subscribes of 20 channels are cancelled at any moment, and their clients destroyed: Redis is empty again."""
    chance = random.Random(7)
    cancelled = 0
    async with _one(store) as (pixied, prefix):
        for _ in range(8):
            clients = [await pixied.client() for _ in range(CALLS // 8)]
            patterns = [f"/{chance.randrange(1_000)}/{one}" for one in range(20)]

            async def cut_off(client: str, patterns: list[str] = patterns) -> bool:
                call = asyncio.ensure_future(pixied("Subscribe", client_id=client, channels=patterns))
                await asyncio.wait([call], timeout=chance.random() * 0.05)
                return call.cancel()

            cancelled += sum(await asyncio.gather(*map(cut_off, clients)))
            await pixied.publish(patterns[0], "for nobody or some")
            await asyncio.gather(*[pixied("DestroyClient", client_id=client) for client in clients])
        assert cancelled > CALLS // 10
        await until(lambda: _holds(pixied, clients=0, subscriptions=0, channels=0, messages=0, bytes=0))
        await until(lambda: _is_empty(store, prefix))


async def test_cursors_do_not_run_out(store: Server) -> None:
    """They go up by a few with each long poll: as numbers below 2^53 they last for longer than any session."""
    async with _one(store) as (pixied, _):
        client = await pixied.client("/a")
        cursors = []
        for number in range(100):
            async with linked(pixied) as link:
                await pixied.publish("/a", str(number))
                await link.attach(client, 1)
                got = await receive(link, str(number))
                cursors += [got.cursor, int((await pixied("DequeueFor", client_id=client)).cursor, 16)]
        used = max(cursors) - min(cursors)
        years = 2**53 / (used / len(cursors)) / 1_000 / 86_400 / 365
        assert years > 100, f"at 1,000 long polls a second cursors last for {years:.1f} years"


async def test_more_than_8_000_patterns_are_unsubscribed_at_once(store: Server) -> None:
    """Lua unpacks no more than some 8,000 values: all of them go, whatever their number."""
    many = 12_000
    limits = ("--max-subscriptions-per-client", str(many), "--max-batch-items", str(many))
    async with _one(store, *limits) as (pixied, prefix):
        patterns = [f"/many/{number}" for number in range(many)]
        client = await pixied.client()
        added = await pixied("Subscribe", client_id=client, channels=patterns)
        assert len(added.added) == many
        await pixied.publish(patterns[-1], "1")
        removed = await pixied("Unsubscribe", client_id=client, channels=patterns)
        assert sorted(removed.removed) == sorted(patterns)
        assert await _holds(pixied, clients=1, subscriptions=0, channels=0, messages=0)
        await pixied("Subscribe", client_id=client, channels=patterns)
        await pixied("DestroyClient", client_id=client)
        await until(lambda: _holds(pixied, clients=0, subscriptions=0, channels=0))
        await until(lambda: _is_empty(store, prefix))


@pytest.mark.parametrize(("size", "least"), [(1, 5), (10_000, 9)])
async def test_a_large_batch_is_several_calls_of_the_store(store: Server, size: int, least: int) -> None:
    """1,000 messages in one request, small or 10 KB each: no call has more than 200 of them, nor than a megabyte."""
    async with _one(store) as (pixied, _):
        client = await pixied.client("/**")
        before = _calls(store)
        await pixied.publish("/a", *["x" * size] * 1_000)
        assert _calls(store) - before >= least
        assert (await pixied("GetClient", client_id=client)).client.pending == 1_000


def _calls(store: Server) -> int:
    calls: int = store.info("commandstats")["cmdstat_evalsha"]["calls"]
    return calls
