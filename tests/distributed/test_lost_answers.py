"""The store has done what it was asked for, or not, and this process does not know: it is put right later."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.distributed.gate import failing, not_asked, refusing, unnotified
from tests.distributed.pair import Pair
from tests.engine.benches import Clock, Limits, open_redis
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, reason_of
from tests.support.redis_servers import single
from tests.support.store_proxy import StoreProxy, proxied_store

from pixied_server.delivery.events import DetachReason
from pixied_server.errors import EngineUnavailable, Reason

_AWAY = EngineUnavailable("it is away")


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Pair, StoreProxy]]:
    """Two sites over a store; `here` reaches it through a proxy."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(single())
        proxy, url = await stack.enter_async_context(proxied_store(server))
        clock = Clock()
        here, there = [
            Site(await stack.enter_async_context(open_redis(address, prefix="lost", clock=clock)(Limits())))
            for address in (url, server.url)
        ]
        yield Pair(here, there, "lost"), proxy


async def test_a_claim_whose_answer_was_lost_is_given_back(proxied: tuple[Pair, StoreProxy]) -> None:
    """The store lists an owner that does not know of it: the client is released, with all of its messages."""
    pair, proxy = proxied
    await pair.there.create("ann")
    await pair.there.subscribe("ann", "/a")
    await pair.there.publish("/a", "1")
    front = pair.here.front_end("front")
    proxy.lose_answer(b"claim")
    await pair.here.attach("ann", front)
    await front.read()
    assert front.failed["ann"].reason is Reason.ENGINE_UNAVAILABLE
    assert (await pair.there.look_at("ann")).front_end == "front"
    await pair.here.elapse(0.0)
    client = await pair.there.look_at("ann")
    assert (client.front_end, client.expires_at is None) == ("", False)
    other = pair.there.front_end("other")
    await pair.there.attach("ann", other)
    await pair.read(other)
    assert other.texts("ann") == ["1"]
    # It is given back once: the owner that the client has now keeps it.
    with not_asked(pair.here, "look"):
        await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == "other"


async def test_a_claim_whose_answer_was_lost_ends_the_one_before(proxied: tuple[Pair, StoreProxy]) -> None:
    """The link that had the client is notified, and what it has confirmed by then does not come again."""
    pair, proxy = proxied
    await pair.there.create("ann")
    await pair.there.subscribe("ann", "/a")
    old, new, other = pair.here.front_end("old"), pair.here.front_end("new"), pair.there.front_end("other")
    await pair.here.attach("ann", old)
    await pair.read(old)
    proxy.lose_answer(b"claim")
    await pair.here.attach("ann", new)
    await new.read()
    assert new.failed["ann"].reason is Reason.ENGINE_UNAVAILABLE
    # Until then the old link goes on as if nothing had been.
    await pair.there.publish("/a", "1")
    await pair.read(old)
    await pair.there.publish("/a", "2")
    await pair.settle()
    await old.read()
    await pair.here.elapse(0.0)
    await old.read()
    assert [(name, reason) for name, reason, _ in old.detached] == [("ann", DetachReason.TAKEN_OVER)]
    await pair.there.publish("/a", "3")
    await pair.there.attach("ann", other)
    await pair.read(other)
    assert other.texts("ann") == ["2", "3"]
    assert other.marked("ann") == ["2"]


async def test_a_claim_that_was_lost_and_found_is_not_given_back(proxied: tuple[Pair, StoreProxy]) -> None:
    """A second attempt gets the client, and keeps it."""
    pair, proxy = proxied
    await pair.there.create("ann")
    front = pair.here.front_end("front")
    proxy.lose_answer(b"claim")
    await pair.here.attach("ann", front)
    await front.read()
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == "front"
    await pair.there.queue_for("ann", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_a_client_that_is_gone_need_not_be_given_back(proxied: tuple[Pair, StoreProxy]) -> None:
    """Nor does it keep others from being given back."""
    pair, proxy = proxied
    await pair.there.create("ann", "bob")
    front = pair.here.front_end("front")
    for name in ("ann", "bob"):
        proxy.lose_answer(b"claim")
        await pair.here.attach(name, front)
        await front.read()
    await pair.there.destroy("ann")
    await pair.here.elapse(0.0)
    assert (await pair.there.look_at("bob")).front_end == ""


async def test_a_claim_whose_answer_was_lost_ends_with_its_process() -> None:
    """A process that stops before it has noticed leaves no session that nobody would ever end."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(single())
        proxy, url = await stack.enter_async_context(proxied_store(server))
        clock = Clock()
        there = Site(await stack.enter_async_context(open_redis(server.url, prefix="lost", clock=clock)(Limits())))
        async with open_redis(url, prefix="lost", clock=clock)(Limits()) as bench:
            here = Site(bench)
            await here.create("ann", timeout=5.0)
            proxy.lose_answer(b"claim")
            await here.attach("ann", here.front_end())
        there.ids = here.ids
        assert (await there.look_at("ann")).front_end == ""
        await there.elapse(5.1)
        assert not await there.lives("ann")


async def _left(pair: Pair, name: str) -> None:
    """A link has got "1" and "2", has confirmed "1", and is gone; the store does not take that."""
    await pair.here.create(name)
    await pair.here.subscribe(name, "/a")
    front = pair.here.front_end("old")
    await pair.here.attach(name, front)
    await pair.read(front)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    await pair.there.publish("/a", "2")
    await pair.settle()
    await front.read()
    with refusing(pair.here, "release"):
        await front.lose()
    assert (await pair.there.look_at(name)).front_end == "old"


async def test_a_release_that_failed_is_done_later(pair: Pair) -> None:
    """The client is nobody's then, and what its link had confirmed is known."""
    await _left(pair, "ann")
    await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == ""
    assert (await pair.there.look_at("ann")).pending == 1
    new = pair.there.front_end("new")
    await pair.there.attach("ann", new)
    await pair.read(new)
    assert new.texts("ann") == new.marked("ann") == ["2"]
    with not_asked(pair.here, "release"):
        await pair.here.elapse(0.0)


async def test_a_release_that_fails_again_is_not_forgotten(pair: Pair) -> None:
    """It is done when the store answers."""
    await _left(pair, "ann")
    with refusing(pair.here, "release"), pytest.raises(EngineUnavailable):
        await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == "old"
    await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == ""


@pytest.mark.parametrize("by", ["here", "there"])
async def test_who_is_not_released_yet_can_be_attached(pair: Pair, by: str) -> None:
    """With what is known of it: nothing that was confirmed comes again, what was sent comes marked."""
    await _left(pair, "ann")
    await pair.there.publish("/a", "3")
    new = getattr(pair, by).front_end("new")
    await getattr(pair, by).attach("ann", new)
    await pair.read(new)
    assert (new.texts("ann"), new.marked("ann")) == (["2", "3"], ["2"])
    # The release that was due concerns a claim that is over.
    with not_asked(pair.here, "release"):
        await pair.here.elapse(0.0)
    assert (await pair.there.look_at("ann")).front_end == "new"


async def test_what_could_not_be_confirmed_is_confirmed_later(pair: Pair) -> None:
    """A client's own confirmation that the store did not take is written when it answers."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front, explicit=True)
    await pair.read(front)
    await pair.there.queue_for("ann", "1", "2")
    await pair.read(front)
    with refusing(pair.here, "confirm"):
        await front.client_ack("ann")
        await pair.settle()
        with pytest.raises(EngineUnavailable):
            await pair.here.elapse(0.0)
    assert (await pair.there.engine.holdings()).messages == 2
    await pair.here.elapse(0.0)
    assert (await pair.there.engine.holdings()).messages == 0


async def _attached(pair: Pair, *, expires: bool = False) -> FrontEnd:
    """The client ann is attached at `here`."""
    await pair.here.create("ann", timeout=5.0)
    front = pair.here.front_end()
    await pair.here.attach("ann", front, expires=expires)
    await pair.read(front)
    return front


async def test_a_subscribe_whose_answer_was_lost_reaches_the_owner(proxied: tuple[Pair, StoreProxy]) -> None:
    """A second one finds that there is nothing to do; the client gets what is published all the same."""
    pair, proxy = proxied
    front = await _attached(pair)
    proxy.lose_answer(b"subscribe")
    assert await reason_of(pair.here.subscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
    assert await pair.here.subscribe("ann", "/a") == []
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_an_unsubscribe_whose_answer_was_lost_reaches_the_owner(proxied: tuple[Pair, StoreProxy]) -> None:
    """The client gets nothing more, though others of its link do."""
    pair, proxy = proxied
    front = await _attached(pair)
    await pair.here.create("bob")
    await pair.here.attach("bob", front)
    for name in ("ann", "bob"):
        await pair.here.subscribe(name, "/a")
    await pair.read(front)
    proxy.lose_answer(b"unsubscribe")
    assert await reason_of(pair.here.unsubscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    assert (front.texts("ann"), front.texts("bob")) == ([], ["1"])


async def test_the_owner_learns_of_an_end_whose_answer_was_lost(proxied: tuple[Pair, StoreProxy]) -> None:
    """No link keeps a client whose session it has destroyed itself."""
    pair, proxy = proxied
    front = await _attached(pair)
    proxy.lose_answer(b"destroy")
    assert await reason_of(pair.here.destroy("ann")) is Reason.ENGINE_UNAVAILABLE
    await pair.here.elapse(0.0)
    await pair.read(front)
    assert [name for name, *_ in front.detached] == ["ann"]


async def test_the_owner_learns_of_ended_sessions_whose_names_were_lost(proxied: tuple[Pair, StoreProxy]) -> None:
    """No link keeps a client whose session it has seen run out itself."""
    pair, proxy = proxied
    front = await _attached(pair, expires=True)
    proxy.lose_answer(b"expire")
    assert await reason_of(pair.here.elapse(6.0)) is Reason.ENGINE_UNAVAILABLE
    await pair.here.elapse(0.0)
    await pair.read(front)
    assert [name for name, *_ in front.detached] == ["ann"]


async def test_a_change_is_looked_at_until_the_store_answers(pair: Pair) -> None:
    """An owner that is notified of a subscription, and can't read it at that moment, reads it later."""
    front = await _attached(pair)
    with failing(pair.here, "look", [_AWAY]):
        await pair.there.subscribe("ann", "/a")
        await pair.settle()
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_changes_that_were_missed_are_looked_at_until_the_store_answers(pair: Pair) -> None:
    """An owner that received nothing for a while reads its clients' records, if not at once then later."""
    front = await _attached(pair)
    pair.store.silence()
    await pair.there.subscribe("ann", "/a")
    with failing(pair.here, "look", [_AWAY]):
        await pair.cut()
        await pair.settle()
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_a_process_that_was_given_up_takes_its_clients_up_when_the_store_answers(pair: Pair) -> None:
    """It is told once; clients whose records it can't read at that moment it takes up later."""
    front = await _attached(pair)
    await pair.beat()
    await pair.reap(pair.there, pair.here)
    with failing(pair.here, "look", [_AWAY]):
        await pair.beat()
    await pair.here.elapse(0.0)
    client = await pair.there.look_at("ann")
    assert (client.front_end, client.expires_at) == ("front", None)
    await pair.there.queue_for("ann", "1")
    await pair.read(front)
    assert front.texts("ann") == ["1"]


async def test_an_owner_that_can_not_look_does_not_say_that_it_knows(pair: Pair) -> None:
    """An Unsubscribe through another process is refused until the owner has read it."""
    front = await _attached(pair)
    await pair.here.subscribe("ann", "/a")
    await pair.read(front)
    with refusing(pair.here, "look"), unnotified(pair.here, "U"):
        assert await reason_of(pair.there.unsubscribe("ann", "/a")) is Reason.ENGINE_UNAVAILABLE
    await pair.here.elapse(0.0)
    await pair.there.unsubscribe("ann", "/a")
