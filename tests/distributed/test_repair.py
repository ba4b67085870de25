"""What a process left half done when it died over it is put right, and what others are doing is let be."""

import asyncio
from unittest.mock import patch

import pytest
from tests.distributed.gate import not_asked
from tests.distributed.pair import Pair
from tests.engine.site import Site, page, texts

from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.upkeep import repair


def _engine(site: Site) -> RedisEngine:
    assert isinstance(site.engine, RedisEngine)
    return site.engine


async def _repaired(pair: Pair) -> None:
    """Walk over everything, more than once."""
    for _ in range(40):
        await _engine(pair.here).repair.step()


async def _subscribers(pair: Pair, pattern: str) -> list[str]:
    names = {client_id: name for name, client_id in pair.here.ids.items()}
    return [names[one] for one in (await pair.here.engine.subscribers_of(pattern, page())).items]


async def _left_half_done(pair: Pair, name: str, pattern: str) -> None:
    """A process has made a client a member of a pattern, and died before the client knew."""
    process = _engine(pair.there).process
    home = process.partitions[process.layout.of(pattern)]
    await home.join(pattern, pair.there.ids[name], wild=False)


async def test_a_member_that_does_not_subscribe_is_removed(pair: Pair) -> None:
    """After ten seconds, in which a Subscribe would have been over; the channel goes with its last member."""
    await pair.here.create("ann")
    await _left_half_done(pair, "ann", "/a")
    await _repaired(pair)
    pair.here.clock.advance(9.0)
    await pair.here.ping("ann")
    await _repaired(pair)
    assert (await pair.here.publish("/a", "1"))[0].matched == 1
    pair.here.clock.advance(1.1)
    await _repaired(pair)
    assert (await pair.here.publish("/a", "2"))[0].matched == 0
    assert (await pair.here.engine.holdings()).channels == 0


async def test_who_subscribes_in_time_is_let_be(pair: Pair) -> None:
    """What looked left half done was under way."""
    await pair.here.create("ann", timeout=600.0)
    await _left_half_done(pair, "ann", "/a")
    await _repaired(pair)
    await pair.there.subscribe("ann", "/a")
    pair.here.clock.advance(120.0)
    await _repaired(pair)
    assert await _subscribers(pair, "/a") == ["ann"]
    await pair.there.publish("/a", "1")
    assert texts(await pair.there.dequeue("ann")) == ["1"]


async def test_what_was_under_way_is_no_suspect_for_ever(pair: Pair) -> None:
    """However many Subscribes the walk has met in the middle, it has room for a member that does not subscribe."""
    await pair.here.create("ann", "bob", timeout=600.0)
    process = _engine(pair.here).process
    with patch.object(repair, "_MOST_SUSPECTS", 1):
        await _left_half_done(pair, "ann", "/a")
        await _repaired(pair)
        await process.home("/a").part("/a", pair.here.ids["ann"], wild=False)
        await _left_half_done(pair, "bob", "/b")
        await _repaired(pair)
        pair.here.clock.advance(10.1)
        await _repaired(pair)
    assert (await pair.here.engine.holdings()).channels == 0


async def test_a_subscription_that_the_store_lost_is_made_again(pair: Pair) -> None:
    """Messages come again, and what may be missing is a gap; who reads a log that others kept has lost nothing."""
    await pair.here.create("ann", "bob", "cid")
    await pair.here.subscribe("ann", "/a")
    await pair.here.subscribe("bob", "/b", "/b/*")
    await pair.here.subscribe("cid", "/b", "/b/*")
    await pair.here.publish("/a", "1")
    await pair.here.dequeue("ann")
    process = _engine(pair.here).process
    for name, pattern in (("ann", "/a"), ("bob", "/b"), ("bob", "/b/*")):
        await process.partitions[process.layout.of(pattern)].part(
            pattern, pair.here.ids[name], wild=pattern.endswith("*")
        )
    await pair.here.publish("/a", "lost")
    await pair.here.publish("/b", "kept")
    await pair.here.publish("/b/c", "kept too")
    await _repaired(pair)
    await pair.here.publish("/a", "2")
    taken = await pair.there.dequeue("ann")
    assert (texts(taken), [(loss.pattern, loss.count) for loss in taken.losses]) == (["2"], [("/a", 1)])
    taken = await pair.there.dequeue("bob")
    assert (sorted(texts(taken)), taken.losses) == (["kept", "kept too"], [])
    assert sorted(await _subscribers(pair, "/b/c")) == ["bob", "cid"]


@pytest.mark.parametrize("lives", [False, True])
async def test_who_claims_after_it_was_given_up_is_given_up_again(pair: Pair, *, lives: bool) -> None:
    """A pixied that dies before its next heartbeat is no process any more: its clients' sessions end all the same."""
    await pair.here.create("ann", timeout=5.0)
    await pair.beat()
    await pair.reap(pair.there, pair.here)
    await pair.here.attach("ann", pair.here.front_end("front"))
    if not lives:
        await pair.die(pair.here)
    engine = _engine(pair.there)
    for seconds in (0.0, 9.0, 1.1, 5.1):
        pair.there.clock.advance(seconds)
        for _ in range(40):
            await engine.repair.step()
        await engine.upkeep.reap_strays()
        await engine.upkeep.end_sessions()
        if lives:
            assert (await pair.there.look_at("ann")).front_end == "front"
            await _engine(pair.here).upkeep.beat()
    assert await pair.there.lives("ann") == lives


async def test_changes_of_one_client_are_made_in_turn(pair: Pair) -> None:
    """Subscribe and Unsubscribe of a client at the same time leave its subscriptions and the members as one."""
    await pair.here.create("ann")
    for number in range(30):
        steps = [pair.here.subscribe("ann", "/a"), pair.here.unsubscribe("ann", "/a"), pair.here.subscribe("ann", "/a")]
        await asyncio.gather(*steps)
        assert (await pair.here.publish("/a", str(number)))[0].matched == 1


async def _declared(pair: Pair, pattern: str, channel: str, members: int) -> None:
    """A failover of the partition of a channel took away what it knew of a wildcard, or brought that back."""
    partition = _engine(pair.here).process.home(channel)
    version, _ = await partition.declared(pattern)
    await partition.declare(pattern, version + 1, members)


def _elsewhere(pair: Pair, pattern: str) -> str:
    """A channel of a wildcard that is in another partition than its members."""
    of = _engine(pair.here).process.layout.of
    names = (pattern.replace("*", str(number)) for number in range(100))
    return next(name for name in names if of(name) != of(pattern))


async def test_a_wildcard_that_a_partition_has_lost_is_declared_again(pair: Pair) -> None:
    """Its log begins anew there, and what may be missing is a gap."""
    await pair.here.create("ann", timeout=600.0)
    await pair.here.subscribe("ann", "/a/*")
    channel = _elsewhere(pair, "/a/*")
    await _declared(pair, "/a/*", channel, 0)
    assert (await pair.here.publish(channel, "lost"))[0].matched == 0
    await _repaired(pair)
    assert (await pair.here.publish(channel, "1"))[0].matched == 1
    taken = await pair.there.dequeue("ann")
    assert (texts(taken), [(loss.pattern, loss.count) for loss in taken.losses]) == (["1"], [("/a/*", 1)])


async def test_a_wildcard_of_nobody_ends_in_all_partitions(pair: Pair) -> None:
    """A partition that has lost the end of a pattern keeps no log for nobody."""
    channel = _elsewhere(pair, "/a/*")
    await _declared(pair, "/a/*", channel, 1)
    assert (await pair.here.publish(channel, "1"))[0].matched == 1
    await _repaired(pair)
    assert (await pair.here.publish(channel, "2"))[0].matched == 0
    assert (await pair.here.engine.holdings()).messages == 0


async def test_a_dead_process_that_the_store_has_forgotten_is_reaped(pair: Pair) -> None:
    """Its clients are released after ten seconds, in which it would have said again that it lives; then they expire."""
    await pair.there.create("ann", timeout=60.0)
    front = pair.there.front_end()
    await pair.there.attach("ann", front)
    await pair.read(front)
    gone = _engine(pair.there).process.name
    # As a server that was started again without its files.
    await _engine(pair.here).process.partitions[0].leave(gone)
    await pair.die(pair.there)
    await _mended(pair)
    pair.here.clock.advance(9.0)
    await _mended(pair)
    assert (await pair.here.look_at("ann")).expires_at is None
    pair.here.clock.advance(1.1)
    await _mended(pair)
    assert (await pair.here.look_at("ann")).front_end == ""
    await pair.here.elapse(60.1)
    assert not await pair.here.lives("ann")
    with not_asked(pair.here, "reap"):
        await _mended(pair)


async def test_a_process_that_was_forgotten_and_lives_is_let_be(pair: Pair) -> None:
    """It says again that it lives, before it is taken for dead."""
    await pair.there.create("ann", timeout=60.0)
    front = pair.there.front_end()
    await pair.there.attach("ann", front)
    await pair.read(front)
    await _engine(pair.here).process.partitions[0].leave(_engine(pair.there).process.name)
    await _mended(pair)
    await pair.beat()
    await _mended(pair)
    pair.here.clock.advance(11.0)
    await _mended(pair)
    assert (await pair.here.look_at("ann")).front_end == "front"


async def _mended(pair: Pair) -> None:
    for _ in range(40):
        await _engine(pair.here).repair.step()
    await _engine(pair.here).upkeep.reap_strays()
