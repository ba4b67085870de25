"""Publish, QueueFor and DequeueFor."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, reason_of, texts

from pixied_server.core.message import Message
from pixied_server.errors import FieldInvalid, IdempotencyKeyReused, LimitMemory, RateLimited, Reason


def keyed(key: str, body: str = "1", channel: str = "/a") -> Message:
    """A message with an idempotency key."""
    return Message(channel, body.encode(), key=key)


async def test_a_publish_tells_how_many_subscriptions_it_matched(site: Site) -> None:
    """A client with two matching subscriptions counts twice and gets one copy."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/**", "/a/*")
    await site.subscribe("bob", "/*")
    (outcome,) = await site.publish("/a", "1")
    assert (outcome.matched, outcome.duplicate) == (3, False)
    assert texts(await site.dequeue("ann")) == ["1"]
    assert texts(await site.dequeue("bob")) == ["1"]
    assert (await site.publish("/nobody/here", "2"))[0].matched == 1
    assert site.engine.counters.published == 2


async def test_messages_are_merged_in_order(site: Site) -> None:
    """Messages of several patterns and queued ones come in the order in which they were sent."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b/*", "/**")
    for number, channel in enumerate(["/a", "/b/x", "/c", "/a", "/b/y"]):
        await site.publish(channel, str(2 * number))
        await site.queue_for("ann", str(2 * number + 1))
    assert (await site.look_at("ann")).pending == 10
    assert texts(await site.dequeue("ann")) == [str(number) for number in range(10)]


async def test_the_publisher_may_be_left_out(site: Site) -> None:
    """With `exclude_publisher` the publisher gets no copy; without it it does."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    await site.publish("/a", "to others", by="ann", exclude=True)
    await site.publish("/a", "to all", by="ann")
    assert texts(await site.dequeue("ann")) == ["to all"]
    assert texts(await site.dequeue("bob")) == ["to others", "to all"]


async def test_queued_messages_reach_one_client_alone(site: Site) -> None:
    """QueueFor reaches the client whatever it subscribes to, and tells what is pending."""
    await site.create("ann", "bob")
    await site.subscribe("bob", "/**")
    assert (await site.queue_for("ann", "1", "2")).pending == 2
    assert (await site.queue_for("ann", "3")).pending == 3
    assert texts(await site.dequeue("bob")) == []
    assert texts(await site.dequeue("ann")) == ["1", "2", "3"]
    assert site.engine.counters.queued == 3


async def test_dequeue_removes_what_it_returns(site: Site) -> None:
    """In automatic mode each message comes once, unmarked, as many at a time as asked for."""
    await site.create("ann")
    await site.queue_for("ann", "1", "2", "3")
    first = await site.dequeue("ann", 2)
    assert (texts(first), first.redelivered) == (["1", "2"], 0)
    assert (await site.look_at("ann")).pending == 1
    second = await site.dequeue("ann", 2)
    assert (texts(second), second.redelivered) == (["3"], 0)
    assert texts(await site.dequeue("ann")) == []
    assert (await site.engine.holdings()).messages == 0


async def test_explicit_messages_stay_until_their_cursor_is_named(site: Site) -> None:
    """In explicit mode messages come again, marked, until a call names its cursor."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1", "2", "3")
    first = await site.dequeue("ann", 2, explicit=True)
    again = await site.dequeue("ann", explicit=True)
    assert (texts(again), again.redelivered) == (["1", "2", "3"], 2)
    rest = await site.dequeue("ann", explicit=True, cursor=first.cursor)
    assert (texts(rest), rest.redelivered) == (["3"], 1)
    assert texts(await site.dequeue("ann", cursor=rest.cursor)) == []


async def test_a_cursor_that_was_not_handed_out_is_refused(site: Site) -> None:
    """It confirms nothing, and does not take the client from its owner."""
    await site.create("ann")
    await site.queue_for("ann", "1")
    async with site.tapped("ann") as tap:
        for cursor in ("fff", "x", "-1", "0x1", "1" * 40):
            with pytest.raises(FieldInvalid, match="ack_cursor"):
                await site.dequeue("ann", cursor=cursor)
        assert texts(await tap.take(messages=10, size=1_000)) == ["1"]


async def test_a_cursor_below_pending_messages_is_refused_too(site: Site) -> None:
    """A number that names a message of the client, which no answer has carried yet, confirms none of them."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1", "2", "3")
    for cursor in ("1", "2", "3"):
        with pytest.raises(FieldInvalid, match="ack_cursor"):
            await site.dequeue("ann", cursor=cursor)
    assert texts(await site.dequeue("ann")) == ["1", "2", "3"]


async def test_a_cursor_of_a_stream_that_still_holds_the_client_is_good(site: Site) -> None:
    """A client may name what it got from a Deliver whose end no one has noticed yet."""
    await site.create("ann")
    await site.queue_for("ann", "1")
    async with site.tapped("ann", explicit=True) as tap:
        taken = await tap.take(messages=10, size=1_000)
        assert texts(taken) == ["1"]
        assert texts(await site.dequeue("ann", explicit=True, cursor=taken.cursor)) == []


async def test_a_key_publishes_once(site: Site) -> None:
    """The same key and message within 5 minutes is a duplicate and tells what the first time matched."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    first, same_request = await site.engine.publish([keyed("k"), keyed("k")])
    assert (first.matched, first.duplicate) == (1, False)
    assert (same_request.matched, same_request.duplicate) == (1, True)
    await site.subscribe("ann", "/**")
    (again,) = await site.engine.publish([keyed("k")])
    assert (again.matched, again.duplicate) == (1, True)
    assert texts(await site.dequeue("ann")) == ["1"]
    assert site.engine.counters.duplicates == 2
    await site.ping("ann")
    await site.bench.elapse(30.0)
    assert (await site.engine.publish([keyed("k")]))[0].duplicate
    await site.bench.elapse(270.0)
    assert not (await site.engine.publish([keyed("k")]))[0].duplicate


async def test_a_key_queues_once(site: Site) -> None:
    """QueueFor counts its duplicates; the keys of other clients and of Publish are others."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    ann = site.ids["ann"]
    assert (await site.engine.queue_for(ann, [keyed("k"), keyed("l"), keyed("k")])).duplicates == 1
    assert (await site.engine.queue_for(ann, [keyed("l")])).duplicates == 1
    assert (await site.engine.queue_for(site.ids["bob"], [keyed("k")])).duplicates == 0
    assert not (await site.engine.publish([keyed("k")]))[0].duplicate
    assert (await site.look_at("ann")).pending == 3


async def test_a_key_belongs_to_its_channel(site: Site) -> None:
    """On another channel the same key is another one, with whatever message, in the same request as well."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b")
    await site.engine.publish([keyed("k")])
    assert not (await site.engine.publish([keyed("k", body="2", channel="/b")]))[0].duplicate
    both = [keyed("k"), keyed("k", body="2", channel="/b"), keyed("k", body="3", channel="/c")]
    assert [outcome.duplicate for outcome in await site.engine.publish(both)] == [True, True, False]
    with pytest.raises(IdempotencyKeyReused):
        await site.engine.publish([keyed("k", channel="/b")])
    assert texts(await site.dequeue("ann")) == ["1", "2"]


async def test_keys_of_clients_are_apart_however_they_are_spelt(site: Site) -> None:
    """A publish whose key begins with a client's id is no duplicate of a message queued for that client."""
    await site.create("ann")
    await site.engine.queue_for(site.ids["ann"], [keyed("7")])
    (outcome,) = await site.engine.publish([keyed(site.ids["ann"] + "7")])
    assert not outcome.duplicate


async def test_a_key_with_another_body_is_refused(site: Site) -> None:
    """IDEMPOTENCY_KEY_REUSED names the message, and nothing of the request is done."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.engine.publish([keyed("k")])
    with pytest.raises(IdempotencyKeyReused) as refused:
        await site.engine.publish([keyed("new"), keyed("k", body="2")])
    assert refused.value.field == "messages[1].idempotency_key"
    with pytest.raises(IdempotencyKeyReused):
        await site.engine.queue_for(site.ids["ann"], [keyed("q"), keyed("q", body="2")])
    assert texts(await site.dequeue("ann")) == ["1"]
    assert not (await site.engine.publish([keyed("new")]))[0].duplicate


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "alone"])
@pytest.mark.parametrize(
    "other",
    [{"body": b"2"}, {"publisher": "bob"}, {"exclude_publisher": True}],
    ids=["body", "publisher", "exclude_publisher"],
)
async def test_a_key_stands_for_all_of_a_message(site: Site, other: dict[str, Any], *, batch: bool) -> None:
    """A retry says the same again: with another body, publisher or wish for a copy it is another message."""
    first = Message("/a", b"1", publisher="ann", key="k")
    await site.engine.publish([first])
    more = [keyed("l")] if batch else []
    assert (await site.engine.publish([replace(first, id="another"), *more]))[0].duplicate
    with pytest.raises(IdempotencyKeyReused):
        await site.engine.publish([replace(first, **other), *more])


async def test_publishes_that_are_begun_at_once_keep_their_order(site: Site) -> None:
    """With keys, without, and beside some that are refused for their keys: each comes after the one before it."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.engine.publish([keyed("k", body="first")])
    messages = [keyed(("", f"key {number}", "k")[number % 3], body=str(number)) for number in range(60)]
    outcomes = await asyncio.gather(*(site.engine.publish([one]) for one in messages), return_exceptions=True)
    refused = [isinstance(outcome, IdempotencyKeyReused) for outcome in outcomes]
    assert refused == [False, False, True] * 20
    assert texts(await site.dequeue("ann")) == ["first", *(str(number) for number in range(60) if number % 3 < 2)]


async def test_no_room_for_keys(open_site: OpenSite) -> None:
    """LIMIT_MEMORY rather than to forget a key too early."""
    site = await open_site(Limits(idempotency_keys=1))
    await site.engine.publish([keyed("k")])
    with pytest.raises(LimitMemory, match="max_idempotency_keys"):
        await site.engine.publish([keyed("l")])
    assert (await site.engine.publish([keyed("k"), keyed("")]))[0].duplicate


async def test_no_room_for_a_message(open_site: OpenSite) -> None:
    """LIMIT_MEMORY for what does not fit even into empty logs; what is there stays."""
    site = await open_site(Limits(total_bytes=2_000, log_bytes=2_000))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    for refused in (site.publish("/a", "x" * 2_000), site.queue_for("ann", "y" * 1_000, "z" * 1_000)):
        assert await reason_of(refused) is Reason.LIMIT_MEMORY
    assert texts(await site.dequeue("ann")) == ["1"]


async def test_no_more_publishes_a_second_than_the_limit(open_site: OpenSite) -> None:
    """RATE_LIMITED publishes nothing of the request and says when to come back."""
    site = await open_site(Limits(publishes_per_second=2.0))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    with pytest.raises(RateLimited, match="2 publishes") as refused:
        await site.publish("/a", "2", "3")
    assert refused.value.retry_after == pytest.approx(0.5)
    await site.elapse(refused.value.retry_after)
    await site.publish("/a", "4", "5")
    assert texts(await site.dequeue("ann")) == ["1", "4", "5"]


async def test_what_is_too_large_does_not_count_for_the_rate(open_site: OpenSite) -> None:
    """Who was refused for the size of a request may publish smaller ones at once."""
    site = await open_site(Limits(total_bytes=2_000, log_bytes=2_000, publishes_per_second=2.0))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    with pytest.raises(LimitMemory):
        await site.publish("/a", "x" * 1_000, "x" * 1_000)
    await site.publish("/a", "1", "2")
    assert texts(await site.dequeue("ann")) == ["1", "2"]


async def test_what_is_too_large_is_named(open_site: OpenSite) -> None:
    """The refusal says which field it is about."""
    site = await open_site(Limits(total_bytes=2_000, log_bytes=2_000))
    await site.create("ann")
    with pytest.raises(LimitMemory) as refused:
        await site.publish("/a", "x" * 2_000)
    assert refused.value.field == "messages"


async def test_a_caller_that_is_gone_is_told_of_nothing_more(site: Site) -> None:
    """Once a client was let go of, messages wake nobody: they stay in the log."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.tapped("ann") as tap:
        await tap.take(messages=1, size=1)
    waiting = asyncio.ensure_future(tap.wait())
    await site.publish("/a", "1")
    await site.bench.settle()
    assert not waiting.done()
    waiting.cancel()
    assert texts(await site.dequeue("ann")) == ["1"]


async def test_no_more_is_taken_than_was_asked_for(site: Site) -> None:
    """However many channels the messages are on, one at a time are one at a time."""
    await site.create("ann")
    await site.subscribe("ann", "/**")
    for number in range(12):
        await site.publish(f"/{number}", str(number))
    taken = [texts(await site.dequeue("ann", 1)) for _ in range(12)]
    assert sorted(taken) == sorted([str(number)] for number in range(12))
