"""Clients that go from one link to another in the midst of whatever else happens to them."""

import asyncio
from collections.abc import Awaitable

import pytest
from tests.distributed.gate import failing, gate, late_barriers, late_requests, not_asked, refusing, unnotified
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import Pair
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, reason_of, texts

from pixied_server.delivery.events import DetachReason
from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.connection.store import Script
from pixied_server.errors import EngineUnavailable, Reason


async def _live(site: Site, pair: Pair, name: str = "front") -> FrontEnd:
    """A front-end with ann, who subscribes to /a and has caught up."""
    front = site.front_end(name)
    await site.attach("ann", front)
    await pair.read(front)
    return front


async def _ann(pair: Pair) -> None:
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")


async def _beat(site: Site) -> None:
    assert isinstance(site.engine, RedisEngine)
    await site.engine.upkeep.beat()


async def _soon(operation: Awaitable[object]) -> None:
    async with asyncio.timeout(TIMEOUT):
        await operation


async def test_what_is_sent_while_a_client_changes_links_is_marked(pair: Pair) -> None:
    """The old link sends on until it is notified; what it has sent by then comes marked, and only that."""
    await _ann(pair)
    old, new = await _live(pair.here, pair, "old"), pair.here.front_end("new")
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", new))
        await _soon(claimed.reached.wait())
        await pair.there.publish("/a", "1")
        await pair.settle()
        await old.read()
        assert old.texts("ann") == ["1"]
        claimed.open()
        await _soon(attaching)
    await pair.there.publish("/a", "2")
    await pair.read(new, old)
    assert new.texts("ann") == ["1", "2"]
    assert new.marked("ann") == ["1"]
    assert [reason for _, reason, _ in old.detached] == [DetachReason.TAKEN_OVER]


@pytest.mark.parametrize("by", ["here", "there"])
async def test_an_unsubscribe_while_a_client_is_claimed_counts(pair: Pair, by: str) -> None:
    """What is published after the answer does not come, on whichever pixied it was asked for."""
    await _ann(pair)
    await pair.here.subscribe("ann", "/b")
    front = pair.here.front_end()
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", front))
        await _soon(claimed.reached.wait())
        await getattr(pair, by).unsubscribe("ann", "/a")
        await pair.settle()
        claimed.open()
        await _soon(attaching)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    await pair.read(front)
    await pair.there.publish("/a", "1")
    await pair.there.publish("/b", "2")
    await pair.read(front)
    assert front.texts("ann") == ["2"]


@pytest.mark.parametrize("by", ["here", "there"])
async def test_a_subscribe_while_a_client_is_claimed_counts(pair: Pair, by: str) -> None:
    """What is published after the answer comes, on whichever pixied it was asked for."""
    await _ann(pair)
    front = pair.here.front_end()
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", front))
        await _soon(claimed.reached.wait())
        await getattr(pair, by).subscribe("ann", "/b")
        await pair.settle()
        claimed.open()
        await _soon(attaching)
    await pair.read(front)
    await pair.there.publish("/b", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_a_client_that_is_destroyed_while_it_is_claimed_is_gone(pair: Pair) -> None:
    """The attach fails: no link holds who is no more."""
    await _ann(pair)
    front = pair.here.front_end()
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", front))
        await _soon(claimed.reached.wait())
        await pair.there.destroy("ann")
        await pair.settle()
        claimed.open()
        await _soon(attaching)
    await front.read()
    assert front.failed["ann"].reason is Reason.CLIENT_UNKNOWN
    assert pair.here.hub.owned == 0


async def test_of_two_that_claim_at_once_one_gets_the_client(pair: Pair) -> None:
    """Whose claim was taken before it knew of it does not go on as if it had the client."""
    await _ann(pair)
    await pair.here.publish("/a", "0")
    first, last = pair.here.front_end("first"), pair.there.front_end("last")
    with gate(pair.here, "claim") as claimed, gate(pair.there, "claim") as wanted:
        attaching = asyncio.create_task(pair.here.attach("ann", first))
        await _soon(claimed.reached.wait())
        taking = asyncio.create_task(pair.there.attach("ann", last))
        await _soon(wanted.reached.wait())
        await pair.settle()  # the first one is asked to give the client up, and does not know yet that it has it
        wanted.open()
        claimed.open()
        await _soon(attaching)
        await _soon(taking)
    await pair.there.publish("/a", "1")
    await pair.read(first, last)
    assert first.texts("ann") == []
    assert first.failed["ann"].reason is Reason.TAKEN_OVER
    assert last.texts("ann") == ["0", "1"]
    assert last.marked("ann") == []
    assert (await pair.here.look_at("ann")).front_end == "last"


async def test_of_two_links_of_one_pixied_the_later_one_gets_the_client(pair: Pair) -> None:
    """Though the store's answer to it comes first: the earlier one is told that it was taken over."""
    await _ann(pair)
    first, last = pair.here.front_end("first"), pair.here.front_end("last")
    with gate(pair.here, "claim", most=1) as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", first))
        await _soon(claimed.reached.wait())
        await _soon(pair.here.attach("ann", last))
        claimed.open()
        await _soon(attaching)
    await pair.there.publish("/a", "1")
    await pair.read(first, last)
    assert first.failed["ann"].reason is Reason.TAKEN_OVER
    assert (first.texts("ann"), last.texts("ann")) == ([], ["1"])
    assert (await pair.there.look_at("ann")).front_end == "last"


async def test_a_claim_that_was_taken_before_its_answer_came_is_void(pair: Pair) -> None:
    """However late the answer comes: the other one did not wait for ever."""
    await _ann(pair)
    first, last = pair.here.front_end("first"), pair.there.front_end("last")
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", first))
        await _soon(claimed.reached.wait())
        await _soon(pair.there.attach("ann", last))
        await pair.settle()
        claimed.open()
        await _soon(attaching)
    await pair.there.publish("/a", "1")
    await pair.read(first, last)
    assert first.texts("ann") == []
    assert first.failed["ann"].reason is Reason.TAKEN_OVER
    assert last.texts("ann") == ["1"]


async def test_a_claim_that_is_lost_while_it_begins_to_follow_says_so(pair: Pair) -> None:
    """It does not say that the store is away, and does not wait for a timeout."""
    await _ann(pair)
    first, last = pair.here.front_end("first"), pair.here.front_end("last")
    pair.here.engine.subscriber.barriers.timeout = 2 * TIMEOUT  # type: ignore[attr-defined]
    pair.store.silence()
    attaching = asyncio.create_task(pair.here.attach("ann", first))
    await until(lambda: pair.store.unconfirmed)
    taking = asyncio.create_task(pair.here.attach("ann", last))
    await _soon(attaching)
    pair.store.resume()
    await _soon(taking)
    await pair.there.publish("/a", "1")
    await pair.read(first, last)
    assert first.failed["ann"].reason is Reason.TAKEN_OVER
    assert last.texts("ann") == ["1"]


@pytest.mark.parametrize(("stage", "owner"), [("checkpoints", "front"), ("barrier", "")])
async def test_a_claim_that_fails_half_way_leaves_nothing_behind(pair: Pair, stage: str, owner: str) -> None:
    """What a dead pixied may have sent comes marked, though the first attempt to go on from there failed."""
    await _ann(pair)
    old = await _live(pair.here, pair)
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.settle()
    await old.read()
    assert old.texts("ann") == ["1"]
    await pair.die(pair.here)
    new = pair.there.front_end("new")
    with refusing(pair.there, stage):
        await pair.there.attach("ann", new)
    await new.read()
    assert new.failed["ann"].reason is Reason.ENGINE_UNAVAILABLE
    await pair.there.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == owner
    await pair.there.attach("ann", new)
    await new.read()
    assert new.texts("ann") == new.marked("ann") == ["1"]


async def test_what_was_read_for_a_client_that_is_lost_meanwhile_is_not_sent(pair: Pair) -> None:
    """A read that was under way when the client was taken over gives its old link nothing."""
    await _ann(pair)
    await pair.here.publish("/a", "1")
    old, new = pair.here.front_end("old"), pair.there.front_end("new")
    await pair.here.attach("ann", old)
    with gate(pair.here, "read") as reading:
        taking = asyncio.create_task(old.link.take())
        await _soon(reading.reached.wait())
        await _soon(pair.there.attach("ann", new))
        reading.open()
        await _soon(taking)
    old.send(taking.result())
    old.receive()
    await pair.read(new)
    assert old.texts("ann") == []
    assert new.texts("ann") == ["1"]


async def test_what_was_taken_for_a_client_that_is_lost_meanwhile_is_not_handed_out(pair: Pair) -> None:
    """The same of Deliver and DequeueFor."""
    await _ann(pair)
    await pair.here.publish("/a", "1")
    with gate(pair.here, "read") as reading:
        taking = asyncio.create_task(reason_of(pair.here.dequeue("ann", explicit=True)))
        await _soon(reading.reached.wait())
        assert texts(await pair.there.dequeue("ann")) == ["1"]
        reading.open()
        await _soon(taking)
    assert taking.result() is Reason.TAKEN_OVER


async def test_what_is_known_of_a_claim_that_never_got_a_link_is_kept(pair: Pair) -> None:
    """A client that was taken from a claim that had just begun still gets marked what was sent before that."""
    await _ann(pair)
    old = await _live(pair.here, pair, "old")
    await pair.there.publish("/a", "1")
    await pair.settle()
    await old.read()
    second, last = pair.here.front_end("second"), pair.there.front_end("last")
    with late_barriers(pair.here) as synced, gate(pair.here, "release") as released:
        released.open()
        attaching = asyncio.create_task(pair.here.attach("ann", second))
        await _soon(synced.reached.wait())
        taking = asyncio.create_task(pair.there.attach("ann", last))
        await _soon(released.reached.wait())
        synced.open()
        await _soon(attaching)
        await _soon(taking)
    await pair.read(second, last)
    assert last.texts("ann") == last.marked("ann") == ["1"]


@pytest.mark.parametrize("again", ["here", "there"])
async def test_an_unsubscribe_is_answered_when_the_owner_knows_of_it(pair: Pair, again: str) -> None:
    """An owner that receives nothing now would still deliver what it reads later: until then it is refused."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    front = await _live(pair.here, pair)
    pair.store.silence()
    for _ in range(2):
        assert await reason_of(pair.there.unsubscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
    if again == "here":
        assert await pair.here.unsubscribe("ann", "/a") == []
        await pair.there.publish("/a", "1")
    pair.store.resume()
    if again == "there":
        assert await pair.there.unsubscribe("ann", "/a") == []
        await pair.there.publish("/a", "1")
    await pair.read(front)
    assert front.texts("ann") == []


async def test_an_unsubscribe_does_not_wait_for_who_has_lost_the_client(pair: Pair) -> None:
    """Once another pixied has taken the clients of a dead one, they can give up what they want."""
    await _ann(pair)
    await _live(pair.here, pair)
    await pair.die(pair.here)
    assert await reason_of(pair.there.unsubscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
    new = pair.there.front_end("new")
    await pair.there.attach("ann", new)
    assert await pair.there.unsubscribe("ann", "/a") == []


async def test_a_client_whose_owner_has_died_can_be_destroyed(pair: Pair) -> None:
    """Nobody delivers to it any more: there is nobody to wait for."""
    await _ann(pair)
    await _live(pair.here, pair)
    await pair.die(pair.here)
    await pair.there.destroy("ann")
    assert not await pair.there.lives("ann")
    assert (await pair.there.publish("/a", "1"))[0].matched == 0


async def test_changes_of_which_the_owner_was_not_notified_are_read(pair: Pair) -> None:
    """Subscriptions that changed while the owner's connection was broken are those of the client afterwards."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    front = await _live(pair.here, pair)
    pair.store.silence()
    await reason_of(pair.there.unsubscribe("ann", "/a"))
    await pair.there.subscribe("ann", "/b")
    await pair.cut()
    await pair.settle()
    await pair.there.publish("/a", "1")
    await pair.there.publish("/b", "2")
    await pair.read(front)
    assert front.texts("ann") == ["2"]


async def test_a_claim_that_was_given_up_for_dead_goes_on(pair: Pair) -> None:
    """A pixied that hung and was given up takes its clients up again, if nobody else has."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    front, other = await _live(pair.here, pair), pair.there.front_end("other")
    await pair.here.attach("bob", front)
    await pair.read(front)
    await pair.here.engine.upkeep.beat()  # type: ignore[attr-defined]
    await pair.reap(pair.there, pair.here)
    await pair.there.attach("bob", other)
    assert [(await pair.there.look_at(name)).front_end for name in ("ann", "bob")] == ["", "other"]
    await pair.here.engine.upkeep.beat()  # type: ignore[attr-defined]
    assert [(await pair.there.look_at(name)).front_end for name in ("ann", "bob")] == ["front", "other"]
    assert (await pair.there.look_at("ann")).expires_at is None
    await pair.there.publish("/a", "1")
    await pair.read(front, other)
    assert (front.texts("ann"), front.texts("bob"), other.texts("bob")) == (["1"], [], ["1"])
    assert [(name, reason) for name, reason, _ in front.detached] == [("bob", DetachReason.TAKEN_OVER)]


async def test_what_is_queued_for_a_client_that_was_given_up_comes(pair: Pair) -> None:
    """Its pixied has hung, and goes on: what it confirms covers nothing that it has not got."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    await pair.beat()
    await pair.reap(pair.there, pair.here)
    await pair.there.queue_for("ann", "1")
    await pair.there.publish("/a", "2")
    await pair.read(front)
    await front.ack()
    await pair.here.elapse(0.0)
    await pair.beat()
    await pair.read(front)
    assert (sorted(front.texts("ann")), front.marked("ann")) == (["1", "2"], [])
    assert (await pair.there.look_at("ann")).pending == 0


@pytest.mark.parametrize("change", ["claimed", "destroyed", "unsubscribed"])
async def test_who_was_given_up_is_notified_all_the_same(pair: Pair, change: str) -> None:
    """A pixied that hung, and goes on, delivers nothing to a client that has gone elsewhere, or that has left."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    front, other = await _live(pair.here, pair), pair.there.front_end("other")
    await pair.here.attach("bob", front)
    await pair.read(front)
    await pair.beat()
    await pair.reap(pair.there, pair.here)
    match change:
        case "claimed":
            await pair.there.attach("ann", other)
        case "destroyed":
            await pair.there.destroy("ann")
        case _:
            await pair.there.unsubscribe("ann", "/a")
    await pair.settle()
    await pair.there.publish("/a", "1")
    await pair.read(front, other)
    assert (front.texts("ann"), front.texts("bob")) == ([], ["1"])
    reasons = {"claimed": [DetachReason.TAKEN_OVER], "destroyed": [DetachReason.DESTROYED], "unsubscribed": []}
    assert [reason for _, reason, _ in front.detached] == reasons[change]


async def test_a_change_that_is_made_while_a_claim_goes_on_is_read(pair: Pair) -> None:
    """Whoever subscribes a client that has no owner notifies none: the owner that takes it up again looks."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    await pair.reap(pair.there, pair.here)
    with gate(pair.here, "look") as look:
        beating = asyncio.create_task(_beat(pair.here))
        await _soon(look.reached.wait())
        await pair.there.subscribe("ann", "/b")
        look.open()
        await _soon(beating)
    await pair.read(front)
    await pair.there.publish("/b", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_a_claim_that_goes_on_is_confirmed_by_its_link(pair: Pair) -> None:
    """What a link confirms after its pixied was given up, and went on, is known when that dies in the end."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    await pair.here.engine.upkeep.beat()  # type: ignore[attr-defined]
    await pair.reap(pair.there, pair.here)
    await pair.here.engine.upkeep.beat()  # type: ignore[attr-defined]
    # From now on its link speaks for it.
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.settle()
    await front.drain()
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "2")
    await pair.settle()
    await front.read()
    await pair.die(pair.here)
    await pair.reap(pair.there, pair.here)
    last = pair.there.front_end("last")
    await pair.there.attach("ann", last)
    await last.read()
    assert (front.texts("ann"), last.texts("ann"), last.marked("ann")) == (["1", "2"], ["2"], ["2"])


async def test_a_notification_that_was_lost_is_made_up_for(pair: Pair) -> None:
    """Unsubscribe is answered when the owner knows: it looks, and does not take it that it was notified."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a")
    front = await _live(pair.here, pair)
    with unnotified(pair.here, "U"):
        await pair.there.unsubscribe("ann", "/a")
        await pair.there.publish("/a", "1")
        await pair.read(front)
    assert front.texts("ann") == []


async def test_an_owner_knows_the_changes_that_it_makes_itself(pair: Pair) -> None:
    """It does not read the client's record for them."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    with not_asked(pair.here, "look"):
        await pair.here.subscribe("ann", "/b")
        await pair.here.unsubscribe("ann", "/a")
        await pair.here.subscribe("ann", "/c")
        await pair.settle()
    for channel in ("/a", "/b", "/c"):
        await pair.there.publish(channel, channel)
    await pair.read(front)
    assert sorted(front.texts("ann")) == ["/b", "/c"]


@pytest.mark.parametrize("by", ["here", "there"])
async def test_what_was_published_before_a_subscribe_does_not_come(pair: Pair, by: str) -> None:
    """Though the owner receives it only later: it follows the channel for another client."""
    await _ann(pair)
    await pair.here.create("bob")
    front = await _live(pair.here, pair)
    await pair.here.attach("bob", front)
    await pair.read(front)
    pair.store.silence()
    await pair.there.publish("/a", "1")
    await getattr(pair, by).subscribe("bob", "/a")
    await pair.there.publish("/a", "2")
    taking = asyncio.create_task(front.link.take())
    await asyncio.sleep(0)
    pair.store.resume()
    await pair.settle()
    front.send(await taking)
    front.receive()
    await pair.read(front)
    await pair.there.publish("/a", "3")
    await pair.read(front)
    assert front.texts("ann") == ["1", "2", "3"]
    assert front.texts("bob") == ["2", "3"]
    assert front.marked("bob") == []


@pytest.mark.parametrize("by", ["here", "there"])
async def test_a_further_subscription_brings_no_second_copy(pair: Pair, by: str) -> None:
    """What a client got through one pattern does not come again through another that it subscribes to meanwhile."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    with late_barriers(pair.here) as synced:
        subscribing = asyncio.create_task(getattr(pair, by).subscribe("ann", "/**"))
        await _soon(synced.reached.wait())
        await _soon(subscribing)
        await pair.there.publish("/a", "1")
        await pair.there.publish("/b", "2")
        await _arrives(front, "1")
        synced.open()
    await pair.read(front)
    await pair.there.publish("/a", "3")
    await pair.read(front)
    # It has to read once more.
    await getattr(pair, by).subscribe("ann", "/c")
    await pair.there.publish("/a", "4")
    await pair.read(front)
    assert front.numbers("ann") == [1, 2, 3, 4]


async def _arrives(front: FrontEnd, text: str) -> None:
    """Wait until a message has come, without waiting for all else that is under way."""
    async with asyncio.timeout(TIMEOUT):
        while text not in front.texts("ann"):
            front.send(await front.link.take())
            front.receive()


@pytest.mark.parametrize("by", ["here", "there"])
async def test_each_of_several_new_subscriptions_begins_where_it_was_made(pair: Pair, by: str) -> None:
    """What is published before the owner follows their channels comes, though the client is further by then."""
    await _ann(pair)
    await pair.here.create("bob")
    await pair.here.subscribe("bob", "/a", "/b", "/c", "/d")
    front = await _live(pair.here, pair)
    with late_barriers(pair.here) as barred:
        await getattr(pair, by).subscribe("ann", "/b", "/c", "/d", "/*", "/**")
        await _soon(barred.reached.wait())
        for number, channel in enumerate(["/b", "/c", "/d", "/e", "/f", "/g", "/a"] * 3):
            await pair.there.publish(channel, str(number))
        await _arrives(front, "20")
        barred.open()
    await pair.read(front)
    assert front.numbers("ann") == list(range(21))
    assert front.marked("ann") == []


@pytest.mark.parametrize("how", ["released", "confirmed"])
@pytest.mark.parametrize("claimed", [False, True])
async def test_what_was_confirmed_counts_though_the_owner_was_given_up(pair: Pair, how: str, *, claimed: bool) -> None:
    """A process that the others have given up has more to say of a client; not if somebody has claimed it since."""
    await _ann(pair)
    front, new = pair.here.front_end("front"), pair.there.front_end("new")
    await pair.here.attach("ann", front, explicit=how == "confirmed")
    await pair.there.publish("/a", "1")
    await pair.read(front)
    await pair.reap(pair.there, pair.here)
    if claimed:
        await pair.there.attach("ann", new)
        await new.read()
    await (front.detach("ann") if how == "released" else front.client_ack("ann"))
    assert (await pair.there.look_at("ann")).pending == int(claimed)
    assert new.texts("ann") == new.marked("ann") == (["1"] if claimed else [])


async def test_what_came_through_a_subscription_that_ended_comes_again_only_marked(pair: Pair) -> None:
    """A client that catches up has read it; it belongs to another subscription too, whose log is followed only then."""
    bodies = [f"{number:0100000}" for number in range(10)]
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a/b")
    await pair.here.publish("/a/b", *bodies[:4])
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    await _arrives(front, bodies[0])
    with late_barriers(pair.here) as barred:
        await pair.there.subscribe("ann", "/a/*")
        await _soon(barred.reached.wait())
        await pair.there.publish("/a/b", *bodies[4:])
        await _arrives(front, bodies[7])
        barred.open()
    await until(lambda: not pair.here.engine.busy)  # type: ignore[attr-defined]
    await pair.there.unsubscribe("ann", "/a/b")
    await pair.read(front)
    assert _complete(front)


@pytest.mark.parametrize("live", [True, False])
async def test_what_came_through_a_subscription_that_ends_comes_again_only_marked(pair: Pair, *, live: bool) -> None:
    """The same where it ends before the other one's log is followed."""
    bodies = [f"{number:0100000}" for number in range(10)]
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a/b")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    if live:
        await pair.read(front)
    await pair.here.publish("/a/b", *bodies[:4])
    await _arrives(front, bodies[0])
    with late_barriers(pair.here) as barred:
        await pair.there.subscribe("ann", "/a/*")
        await _soon(barred.reached.wait())
        await pair.there.publish("/a/b", *bodies[4:])
        await _arrives(front, bodies[7])
        await pair.there.unsubscribe("ann", "/a/b")
        barred.open()
    await pair.read(front)
    assert _complete(front)


@pytest.mark.parametrize("reads", [0, 1])
@pytest.mark.parametrize("live", [True, False])
async def test_what_was_sent_is_marked_though_its_client_reads_on_from_earlier(
    pair: Pair, reads: int, *, live: bool
) -> None:
    """A new subscription has a client read from its begin; another front-end takes it over before that is done."""
    bodies = [f"{number:0100000}" for number in range(7)]
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a/b")
    await pair.here.publish("/a/b", bodies[0])
    front, new = pair.here.front_end("front"), pair.there.front_end("new")
    await pair.here.attach("ann", front)
    if live:
        await pair.read(front)
    with late_barriers(pair.here) as barred:
        await pair.there.subscribe("ann", "/a/*")
        await _soon(barred.reached.wait())
        for body in bodies[1:4]:
            await pair.there.publish("/a/c", body)
        for body in bodies[4:]:
            await pair.there.publish("/a/b", body)
        # Who has not got the last one is still catching up.
        await _arrives(front, bodies[6 if live else 5])
        barred.open()
    await until(lambda: not pair.here.engine.busy)  # type: ignore[attr-defined]
    before = len(front.texts("ann"))
    for _ in range(reads):
        front.send(await front.link.take())
        front.receive()
    assert (len(front.texts("ann")) > before) == bool(reads)
    await pair.there.attach("ann", new)
    await pair.read(new)
    assert sorted(new.texts("ann")) == bodies[live:]
    assert set(new.marked("ann")) >= set(front.texts("ann")) - set(bodies[:live])


@pytest.mark.parametrize("explicit", [False, True])
async def test_what_was_handed_out_is_marked_though_a_new_subscription_is_read_first(
    pair: Pair, *, explicit: bool
) -> None:
    """Deliver and DequeueFor go back to where a subscription begins, and may end before they are where they were."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a/b")
    async with pair.here.tapped("ann", explicit=explicit) as tap:
        with late_requests(pair.there, "subscribe") as late:
            subscribing = asyncio.create_task(pair.there.subscribe("ann", "/a/*"))
            await _soon(late.reached.wait())
            # In the same partition, and none of these is one of /a/b.
            other = next(name for name in map("/a/{}".format, range(100)) if _is_near(pair, name, "/a/b"))
            await pair.there.publish(other, "1", "2")
            await pair.there.publish("/a/b", "3")
            await pair.settle()
            assert texts(await tap.take(messages=10, size=100_000)) == ["3"]
            tap.all_taken()
            late.open()
            await subscribing
        await pair.settle()
        assert texts(await tap.take(messages=1, size=100_000)) == ["1"]
        tap.all_taken()
    taken = await pair.there.dequeue("ann")
    assert sorted(texts(taken)) == (["1", "2", "3"] if explicit else ["2", "3"])
    assert "3" in texts(taken)[: taken.redelivered]


def _is_near(pair: Pair, channel: str, other: str) -> bool:
    """Whether two channels are in the same partition."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    return engine.process.layout.of(channel) == engine.process.layout.of(other)


def _complete(front: FrontEnd) -> bool:
    """Whether ann got ten messages in their order, and nothing again that is not marked."""
    seen: list[str] = []
    for one in front.got["ann"]:
        if one.text not in seen:
            seen.append(one.text)
        elif not one.redelivered:
            return False
    return [text[-1] for text in seen] == list("0123456789")


async def _ann_and_bob(pair: Pair) -> FrontEnd:
    """Both subscribe to /a, and the same link has them: the store knows that it confirms for them."""
    await pair.here.create("ann", "bob")
    for name in ("ann", "bob"):
        await pair.here.subscribe(name, "/a")
    front = pair.here.front_end("old")
    for name in ("ann", "bob"):
        await pair.here.attach(name, front)
    await pair.read(front)
    await front.drain()
    for _ in range(2):
        await pair.here.elapse(0.0)
    return front


async def _taken(pair: Pair, front: FrontEnd) -> None:
    """`here` puts what it has received into deliveries, and its front-end confirms them."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    await engine.subscriber.barrier()
    while front.link.ready:
        front.send(await front.link.take())
        front.receive()
    await front.ack()


async def test_what_a_link_confirms_without_a_client_says_nothing_of_the_client(pair: Pair) -> None:
    """Its owner was too slow to yield it, and goes on with others before the new one knows how far the client is."""
    old, new = await _ann_and_bob(pair), pair.there.front_end("new")
    pair.store.silence()
    with gate(pair.there, "claim", first=1) as claimed:
        attaching = asyncio.create_task(pair.there.attach("ann", new))
        async with asyncio.timeout(TIMEOUT):
            await claimed.reached.wait()
        pair.store.resume()
        await pair.here.bench.settle()
        await pair.there.publish("/a", "1")
        await _taken(pair, old)
        await pair.here.elapse(0.0)
    await attaching
    await pair.read(new)
    assert (old.texts("bob"), old.texts("ann"), new.texts("ann")) == (["1"], [], ["1"])


async def test_a_link_confirms_nothing_for_a_client_whose_release_is_under_way(pair: Pair) -> None:
    """The store does not know yet that it has left: what others of the link confirm would count for it too."""
    old, new = await _ann_and_bob(pair), pair.there.front_end("new")
    with late_requests(pair.here, "release") as released:
        attaching = asyncio.create_task(pair.there.attach("ann", new))
        async with asyncio.timeout(TIMEOUT):
            await released.reached.wait()
        await pair.there.publish("/a", "1")
        await _taken(pair, old)
        writing = asyncio.create_task(pair.here.elapse(0.0))
        await attaching
    await writing
    await pair.read(new)
    assert (old.texts("bob"), old.texts("ann"), new.texts("ann")) == (["1"], [], ["1"])


async def test_who_was_given_up_confirms_nothing_of_a_subscription_that_it_does_not_know(pair: Pair) -> None:
    """It goes on where it was, and releases a client that another process has subscribed meanwhile."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    same = next(name for name in (f"/{number}" for number in range(100)) if of(name) == of("/b"))
    await pair.here.create("ann", "bob")
    await pair.here.subscribe("bob", same)
    front = pair.here.front_end()
    for name in ("ann", "bob"):
        await pair.here.attach(name, front)
    await pair.read(front)
    await pair.reap(pair.there, pair.here)
    pair.store.silence()
    await pair.there.subscribe("ann", "/b")
    await pair.there.publish("/b", "1")
    await pair.there.publish(same, "2")
    pair.store.resume()
    await _taken(pair, front)
    assert front.texts("bob") == ["2"]
    await front.lose()
    assert texts(await pair.there.dequeue("ann")) == ["1"]


@pytest.mark.parametrize("by", ["here", "there"])
async def test_a_subscription_after_one_that_redis_has_lost_is_read(pair: Pair, by: str) -> None:
    """A failover took a change away that the owner knows; the next one is another, and reaches it."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.here.subscribe("ann", "/a")
    await pair.read(front)
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    script = Script(
        "#!lua\nlocal base, id = string.sub(KEYS[1], 1, -5), ARGV[1]\n"
        "redis.call('DEL', base .. 'subscriptions:' .. id)\n"
        "redis.call('HDEL', base .. 'client:' .. id, 'changes', 'cap')\n"
        "redis.call('HSET', base .. 'client:' .. id, 'subscriptions', 0)"
    )
    await pair.store.run([engine.process.home(pair.here.ids["ann"]).key], script, [pair.here.ids["ann"]])
    await pair.cut()
    await pair.settle()
    await getattr(pair, by).subscribe("ann", "/b")
    await pair.there.publish("/b", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("answered", [False, True])
async def test_what_is_queued_before_a_lost_claim_is_resumed_comes(pair: Pair, *, live: bool, answered: bool) -> None:
    """A failover took the claim away: until its owner resumes it nobody is notified of what comes for the client."""
    await pair.here.create("ann")
    if not live:
        await pair.here.queue_for("ann", "0")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    if live:
        await pair.read(front)
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    client_id = pair.here.ids["ann"]
    script = Script(
        "#!lua\nlocal key = string.sub(KEYS[1], 1, -5) .. 'client:' .. ARGV[1]\n"
        "redis.call('HSET', key, 'claim', 0, 'process', '', 'front_end', '', 'expires', 1)\n"
        "redis.call('HDEL', key, 'last')"
    )
    await pair.store.run([engine.process.home(client_id).key], script, [client_id])
    with late_requests(pair.here, "resume") as late:
        await pair.cut()
        await _soon(late.reached.wait())
        await pair.there.queue_for("ann", "1")
        await engine.subscriber.barrier()
    if not answered:
        # The claim is resumed, which the process learns when it looks again.
        with failing(pair.here, "read", [EngineUnavailable("it is away")]):
            await pair.settle()
    await _taken(pair, front)
    await pair.here.elapse(0.0)
    await pair.read(front)
    await pair.there.queue_for("ann", "2")
    await pair.read(front)
    # What it may have read by itself comes again, marked.
    assert list(dict.fromkeys(front.texts("ann"))) == (["1", "2"] if live else ["0", "1", "2"])
    assert sorted(front.texts("ann")) == sorted({*front.texts("ann")}) or front.marked("ann") == ["1"]
    assert (await pair.there.look_at("ann")).pending == 0


async def test_who_destroys_a_client_waits_until_its_owner_knows(pair: Pair) -> None:
    """A notification may be late, or lost: when the call is answered nothing more is delivered."""
    await _ann(pair)
    front = await _live(pair.here, pair)
    with unnotified(pair.here, "G"):
        await _soon(pair.there.destroy("ann"))
    await front.read()
    assert [(name, reason) for name, reason, _ in front.detached] == [("ann", DetachReason.DESTROYED)]
