"""What links have confirmed, as the store has it for the case that their process dies."""

import asyncio

import pytest
from tests.distributed.gate import gate, refusing, unnotified
from tests.distributed.pair import Pair
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
