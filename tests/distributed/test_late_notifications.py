"""Notifications that come late: what they ask for, or tell, may be over by then."""

import asyncio

import pytest
from tests.distributed.gate import gate
from tests.distributed.pair import Pair, opened
from tests.engine.front_end import FrontEnd

from pixied_server.engine.redis import RedisEngine


async def test_a_process_that_was_asked_to_yield_long_ago_keeps_its_later_claim(pair: Pair) -> None:
    """A process that is asked late to yield a client to another one keeps the claim that it has made since."""
    await pair.here.create("ann")
    old, other, new = pair.here.front_end("old"), pair.there.front_end("other"), pair.here.front_end("new")
    await pair.here.attach("ann", old)
    await pair.read(old)
    pair.store.silence()
    await pair.there.attach("ann", other)
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", new))
        await claimed.reached.wait()
        pair.store.resume()
        await pair.settle()
    await attaching
    await pair.there.queue_for("ann", "1")
    await pair.read(old, other, new)
    assert new.texts("ann") == ["1"]
    assert (await pair.there.look_at("ann")).front_end == "new"


async def test_a_message_that_is_missing_comes_though_others_came_since(pair: Pair) -> None:
    """The next message of its channel, or for its client, shows that it is missing, whatever came meanwhile."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    await pair.here.create("ann")
    home = of(pair.here.ids["ann"])
    one, other = [name for name in (f"/{number}" for number in range(100)) if of(name) == home][:2]
    await pair.here.subscribe("ann", one, other)
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.there.publish(one, "1")
    await pair.there.queue_for("ann", "1")
    await pair.read(front)
    pair.store.drops = b"missing"
    await pair.there.publish(one, "missing")
    await pair.there.queue_for("ann", "missing")
    await pair.read(front)
    pair.store.drops = b""
    await pair.there.publish(other, "1")
    await pair.read(front)
    await pair.there.publish(one, "2")
    await pair.there.queue_for("ann", "2")
    await pair.read(front)
    got: dict[str, list[str]] = {}
    for receipt in front.got["ann"]:
        got.setdefault(receipt.channel, []).append(receipt.text)
    assert got == {one: ["1", "missing", "2"], other: ["1"], "/service/own": ["1", "missing", "2"]}
    assert front.marked("ann") == []


def _restored(pair: Pair) -> list[object]:
    """The partitions of which `here` reads from now on what it has missed."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    done: list[object] = []
    restored = engine.restored

    def noted(partition: int) -> None:
        done.append(partition)
        restored(partition)

    engine.restored = noted  # type: ignore[method-assign]
    return done


async def test_what_is_queued_before_a_claim_is_answered_is_not_missing(pair: Pair) -> None:
    """A message comes before the process knows that it owns the client: the next one does not look like a gap."""
    await pair.here.create("ann")
    await pair.there.queue_for("ann", "1")
    restored = _restored(pair)
    front = pair.here.front_end()
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", front))
        await claimed.reached.wait()
        await pair.there.queue_for("ann", "2")
        await pair.settle()
    await attaching
    await pair.there.queue_for("ann", "3")
    await pair.read(front)
    assert front.texts("ann") == ["1", "2", "3"]
    assert restored == []


async def test_what_came_before_a_wildcard_was_followed_is_not_missing(pair: Pair) -> None:
    """Its log is named with messages of another channel, before those of all its channels are received."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    one, other = [name for name in (f"/{number}" for number in range(100)) if of(name) == of("/0")][:2]
    await pair.here.create("ann", "bob")
    await pair.here.subscribe("ann", one)
    front = pair.here.front_end()
    for name in ("ann", "bob"):
        await pair.here.attach(name, front)
    await pair.read(front)
    restored = _restored(pair)
    with pair.store.late_subscriptions():
        await pair.here.subscribe("bob", "/*")
        await pair.there.publish(one, "1")
        await pair.there.publish(other, "2")
        await pair.there.publish(one, "3")
        await engine.subscriber.barrier([of(one)])
    await pair.read(front)
    await pair.there.publish(other, "4")
    await pair.there.publish(one, "5")
    await pair.read(front)
    assert front.texts("ann") == ["1", "3", "5"]
    assert front.numbers("bob") == [1, 2, 3, 4, 5]
    assert restored == []


async def test_the_first_message_of_a_channel_that_is_missing_comes(pair: Pair) -> None:
    """The second one shows that it is missing, though none was received before."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    pair.store.drops = b"missing"
    await pair.there.publish("/a", "missing")
    await pair.read(front)
    pair.store.drops = b""
    await pair.there.publish("/a", "next")
    await pair.read(front)
    assert front.texts("ann") == ["missing", "next"]


async def test_the_first_message_of_an_inbox_that_is_missing_comes(pair: Pair) -> None:
    """The second one shows that it is missing, though nothing was queued for the client before."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    pair.store.drops = b"missing"
    await pair.there.queue_for("ann", "missing")
    await pair.read(front)
    pair.store.drops = b""
    await pair.there.queue_for("ann", "next")
    await pair.read(front)
    assert front.texts("ann") == ["missing", "next"]


async def _missing(pair: Pair, *, queued: bool) -> tuple[FrontEnd, str, str]:
    """A front-end of ann, who was not brought a message of one channel, and was brought three of another one since.

    Nothing of that was read yet. Returns both channels, which are in one partition.
    """
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    await pair.here.create("ann")
    home = of(pair.here.ids["ann"])
    one, other = [name for name in (f"/{number}" for number in range(100)) if of(name) == home][:2]
    await pair.here.subscribe("ann", one, other)
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    pair.store.drops = b"missing"
    await _send(pair, one, "missing", queued=queued)
    await pair.settle()
    pair.store.drops = b""
    await pair.there.publish(other, "1", "2", "3")
    await pair.settle()
    return front, one, other


async def _send(pair: Pair, channel: str, text: str, *, queued: bool) -> None:
    if queued:
        await pair.there.queue_for("ann", text)
    else:
        await pair.there.publish(channel, text)
    await pair.settle()


@pytest.mark.parametrize("queued", [False, True], ids=["published", "queued"])
@pytest.mark.parametrize("outbox", [2, 3, 4, 5])
async def test_a_message_that_came_late_repeats_no_other(store_url: str, outbox: int, *, queued: bool) -> None:
    """Nor is it lost, where the link has no room for it or for what comes next, and has to read that from the logs."""
    async with opened(store_url, outbox=outbox) as pair:
        front, one, other = await _missing(pair, queued=queued)
        await _send(pair, one, "next", queued=queued)
        await pair.there.publish(other, "4")
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["1", "2", "3", "4", "missing", "next"]
        # Who has to read the late one by itself can't know that it was not sent.
        assert set(front.marked("ann")) <= {"missing"}


@pytest.mark.parametrize("taken", [0, 1])
async def test_a_message_that_came_late_is_read_by_who_falls_back(pair: Pair, taken: int) -> None:
    """Who has to read by itself before the late message went out reads it, and what it got beyond that comes marked."""
    front, one, _ = await _missing(pair, queued=False)
    if taken:
        front.send(await front.link.take())
    await _send(pair, one, "next", queued=False)
    pair.here.hub.behind(pair.here.ids["ann"])
    await pair.read(front)
    unmarked = [receipt.text for receipt in front.got["ann"] if not receipt.redelivered]
    assert set(front.texts("ann")) == {"1", "2", "3", "missing", "next"}
    assert sorted(unmarked) == sorted({*unmarked, "next"})


async def test_a_message_that_came_late_holds_back_what_a_link_confirms(pair: Pair) -> None:
    """Until it went out, what went out beyond it does not count as all that there was."""
    front, one, _ = await _missing(pair, queued=False)
    front.send(await front.link.take())
    front.receive()
    await _send(pair, one, "next", queued=False)
    await front.ack()
    await front.lose()
    later = pair.there.front_end()
    await pair.there.attach("ann", later)
    await pair.read(later)
    assert [text for text in later.texts("ann") if text not in later.marked("ann")] == ["next"]
    assert "missing" in later.texts("ann")


@pytest.mark.parametrize("behind", [False, True])
async def test_a_message_that_is_missing_comes_though_its_link_is_behind(store_url: str, *, behind: bool) -> None:
    """It is older than what the link reads from the logs later; and none of that comes twice."""
    async with opened(store_url, outbox=2) as pair:
        engine = pair.here.engine
        assert isinstance(engine, RedisEngine)
        of = engine.process.layout.of
        one, other = [name for name in (f"/{number}" for number in range(100)) if of(name) == of("/0")][:2]
        await pair.here.create("ann")
        await pair.here.subscribe("ann", one, other)
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish(one, "1")
        await pair.read(front)
        pair.store.drops = b"missing"
        await pair.there.publish(one, "missing")
        await pair.settle()
        pair.store.drops = b""
        for number in range(5):
            await pair.there.publish(other, str(number))
            if not behind:
                await pair.read(front)
        await pair.there.publish(one, "2")
        await pair.there.publish(one, "3")
        await pair.read(front)
        got: dict[str, list[str]] = {}
        for receipt in front.got["ann"]:
            got.setdefault(receipt.channel, []).append(receipt.text)
        assert got == {one: ["1", "missing", "2", "3"], other: list("01234")}
        assert front.lost == {}
