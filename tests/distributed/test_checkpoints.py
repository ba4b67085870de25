"""What links have confirmed, as the store has it for the case that their process dies."""

import asyncio

import pytest
from tests.distributed.gate import gate, refusing, unnotified, watching
from tests.distributed.outage import until
from tests.distributed.pair import Pair
from tests.engine.front_end import FrontEnd
from tests.engine.site import reason_of, texts

from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import EngineUnavailable, Reason


async def _write_in_vain(pair: Pair) -> None:
    assert isinstance(pair.here.engine, RedisEngine)
    with pytest.raises(EngineUnavailable):
        await pair.here.engine.checkpoints.write()


@pytest.mark.parametrize("refused", ["release", "follows_link"])
async def test_what_the_store_can_not_be_told_holds_back_one_link_alone(pair: Pair, refused: str) -> None:
    """Another link's confirmations count if the process dies, though one has lost or got a client meanwhile."""
    await pair.here.create("other", "stays")
    await pair.here.subscribe("stays", "/a")
    changing, front = pair.here.front_end("changing"), pair.here.front_end("front")
    await pair.here.attach("stays", front)
    if refused == "release":
        await pair.here.attach("other", changing)
    await pair.read(changing, front)
    assert isinstance(pair.here.engine, RedisEngine)
    await pair.here.engine.checkpoints.write()
    with refusing(pair.here, refused):
        if refused == "release":
            await changing.detach("other")
        else:
            await pair.here.attach("other", changing)
            await pair.read(changing)
        await pair.there.publish("/a", "1")
        await pair.read(front)
        await front.ack()
        await _write_in_vain(pair)
    await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    assert texts(await pair.there.dequeue("stays")) == []


async def test_a_link_confirms_nothing_for_a_client_that_can_not_be_released(pair: Pair) -> None:
    """What the link confirms after the client has left it would count for the client too, which has not got it."""
    await pair.here.create("gone", "stays")
    front = pair.here.front_end("front")
    for name in ("gone", "stays"):
        await pair.here.subscribe(name, "/a")
        await pair.here.attach(name, front)
    await pair.read(front)
    assert isinstance(pair.here.engine, RedisEngine)
    await pair.here.engine.checkpoints.write()
    with refusing(pair.here, "release"):
        await front.detach("gone")
        await pair.there.publish("/a", "1")
        await pair.read(front)
        await front.ack()
        await _write_in_vain(pair)
    await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    assert texts(await pair.there.dequeue("gone")) == ["1"]


async def test_a_link_confirms_nothing_for_a_client_whose_falling_back_can_not_be_written(pair: Pair) -> None:
    """What came to the link's live clients meanwhile has not come to the one that reads by itself."""
    await pair.here.create("slow", "stays")
    front = pair.here.front_end("front")
    for name in ("slow", "stays"):
        await pair.here.subscribe(name, "/a")
        await pair.here.attach(name, front)
    await pair.read(front)
    assert isinstance(pair.here.engine, RedisEngine)
    await pair.here.engine.checkpoints.write()
    pair.here.hub.behind(pair.here.ids["slow"])
    with refusing(pair.here, "follows_link"), refusing(pair.here, "read"):
        await pair.there.publish("/a", "1")
        await pair.read(front)
        await front.ack()
        assert front.texts("stays") == ["1"]
        assert front.texts("slow") == []
        await _write_in_vain(pair)
        await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    assert texts(await pair.there.dequeue("slow")) == ["1"]


@pytest.mark.parametrize("turns", range(3))
async def test_what_two_release_at_once_is_released(pair: Pair, turns: int) -> None:
    """Whichever is done first: an engine that is closed writes while the one that writes ten times a second does."""
    await pair.here.create("ann")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await pair.read(front)
    assert isinstance(pair.here.engine, RedisEngine)
    write = pair.here.engine.checkpoints.write
    with refusing(pair.here, "release"):
        await front.detach("ann")
    with gate(pair.here, "release", most=1) as released:
        one = asyncio.create_task(write())
        await released.reached.wait()
        released.open()
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(one, write())
    assert (await pair.there.look_at("ann")).front_end == ""


async def test_a_link_that_closed_while_the_store_was_away_leaves_nothing(pair: Pair) -> None:
    """Its checkpoint goes with it, though all others are written anew."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    engine, other = pair.here.engine, pair.there.engine
    assert isinstance(engine, RedisEngine)
    assert isinstance(other, RedisEngine)
    await engine.checkpoints.write()
    name = engine.process.name
    assert len(await other.process.home(name).checkpoints(name)) == 1
    await front.lose()
    del front
    await pair.cut()
    await pair.settle()
    await engine.checkpoints.write()
    assert await other.process.home(name).checkpoints(name) == {}


async def test_a_link_confirms_for_a_client_whose_change_its_owner_learned_late(pair: Pair) -> None:
    """Its standing was written when the store knew already of an Unsubscribe, and the owner did not."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a", "/b")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await pair.read(front)
    assert isinstance(pair.here.engine, RedisEngine)
    with refusing(pair.here, "look"), unnotified(pair.here, "U"):
        assert await reason_of(pair.there.unsubscribe("ann", "/b")) is Reason.ENGINE_UNAVAILABLE
        await pair.here.engine.checkpoints.write()
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    await front.ack()
    await pair.here.engine.checkpoints.write()
    await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    assert texts(await pair.there.dequeue("ann")) == []


_MANY = 700
"""Clients of a link that are not written all at once."""


async def _many(pair: Pair) -> FrontEnd:
    """A link with many clients."""
    names = [f"many{number}" for number in range(_MANY)]
    await pair.here.create(*names)
    front = pair.here.front_end("front")
    for name in names:
        await pair.here.attach(name, front)
    await pair.read(front)
    return front


async def test_many_clients_are_written_some_at_a_time(pair: Pair) -> None:
    """A link of any size, after a reconnect say, keeps the event loop from nothing else for long."""
    await _many(pair)
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    with gate(pair.here, "follows_link") as held:
        writing = asyncio.create_task(engine.checkpoints.write())
        await held.reached.wait()
        await until(lambda: not engine.busy)
        assert held.held <= _MANY // 2
        held.open()
        await writing
        assert held.held == _MANY


async def test_a_store_that_is_away_is_not_asked_for_each_of_many_clients(pair: Pair) -> None:
    """Where a partition does not answer the first of them, the others wait for the next time."""
    front = await _many(pair)
    assert isinstance(pair.here.engine, RedisEngine)
    with refusing(pair.here, "release"):
        await front.lose()
        with watching(pair.here, "release") as asked, pytest.raises(EngineUnavailable):
            await pair.here.engine.checkpoints.write()
    assert len(asked) <= _MANY // 2
    await pair.here.engine.checkpoints.write()
    assert (await pair.there.look_at("many0")).front_end == ""
    assert (await pair.there.look_at(f"many{_MANY - 1}")).front_end == ""


async def test_what_waits_for_a_confirmation_is_written_once(pair: Pair) -> None:
    """A front-end that does not confirm costs the store nothing, however many clients it has that read at first."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    await pair.there.publish("/a", "1")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await pair.settle()
    await front.read()
    assert isinstance(pair.here.engine, RedisEngine)
    with watching(pair.here, "follows_link") as asked:
        for _ in range(5):
            await pair.here.engine.checkpoints.write()
        assert len(asked) == 1
        await front.ack()
        for _ in range(5):
            await pair.here.engine.checkpoints.write()
        assert len(asked) == 2
    await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    assert texts(await pair.there.dequeue("ann")) == []
