"""What the unary operations answer."""

from time import time
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.caller import message, within
from tests.support.link import linked
from tests.support.site import Site, serving

_NOBODY = "0123456789abcdefghijklmnopqrstuv"


def _seconds(at: Timestamp) -> float:
    return at.ToNanoseconds() / 1e9


async def test_a_new_client(site: Site) -> None:
    """It has what it was created with, lives for its timeout, and has nothing else; GetClient tells the same."""
    timeout = Duration(seconds=7, nanos=250_000_000)
    client = (await site("CreateClient", session_timeout=timeout, attributes={"user": "ann", "app": ""})).client
    assert len(client.client_id) == 32
    assert abs(_seconds(client.created_at) - time()) < 60
    assert _seconds(client.expires_at) - _seconds(client.created_at) == pytest.approx(7.25, abs=1e-5)
    assert (client.session_timeout, dict(client.attributes)) == (timeout, {"user": "ann", "app": ""})
    assert (client.subscriptions, client.pending, client.front_end) == (0, 0, "")
    assert (await site("GetClient", client_id=client.client_id)).client == client


async def test_what_a_client_has(site: Site) -> None:
    """GetClient counts its subscriptions and its pending messages, and names who holds it."""
    alice = await site.client("/a", "/b", "/c")
    await site.publish("/a", "1", "2")
    client = (await site("GetClient", client_id=alice)).client
    assert (client.subscriptions, client.pending, client.front_end) == (3, 2, "")
    async with linked(site, "edge-1") as link:
        await link.attach(alice, 1)
        assert (await site("GetClient", client_id=alice)).client.front_end == "edge-1"


async def test_sessions_have_a_default_timeout() -> None:
    """The setting's."""
    async with serving(default_session_timeout=12.5) as site:
        created = (await site("CreateClient")).client
    assert created.session_timeout == Duration(seconds=12, nanos=500_000_000)


async def test_a_ping_begins_the_timeout_anew(site: Site) -> None:
    """It answers the new expiry."""
    created = (await site("CreateClient")).client
    pinged = await site("PingClient", client_id=created.client_id)
    assert _seconds(created.expires_at) < _seconds(pinged.expires_at) < _seconds(created.expires_at) + 30
    assert (await site("GetClient", client_id=created.client_id)).client.expires_at == pinged.expires_at
    assert not pinged.results


async def test_many_pings_have_an_answer_each(site: Site) -> None:
    """In their order: an expiry, none where a front-end keeps the client alive, and nobody."""
    alice, bob = await site.client(), await site.client()
    async with linked(site) as link:
        await link.attach(bob, 1)
        of_alice, of_nobody, of_bob = (await site("PingClient", client_ids=[alice, _NOBODY, bob])).results
        expires_at = (await site("GetClient", client_id=alice)).client.expires_at
    assert (of_alice.known, of_alice.expires_at) == (True, expires_at)
    assert (of_bob.known, of_bob.HasField("expires_at")) == (True, False)
    assert (of_nobody.known, of_nobody.HasField("expires_at")) == (False, False)


@pytest.mark.parametrize(("fields", "reason"), [({}, "destroyed by request"), ({"reason": "bored"}, "bored")])
async def test_whoever_watches_learns_why_a_client_was_destroyed(
    site: Site, fields: dict[str, str], reason: str
) -> None:
    """The reason that was given, or that it was asked for."""
    alice = await site.client()
    watcher = site.stream("Watch", client_id=alice)
    await watcher.read()
    assert (await site("DestroyClient", client_id=alice, **fields)).destroyed
    async with within():
        assert [event.reason for event in (await watcher.read()).events] == [reason]
    watcher.cancel()


async def test_subscriptions(site: Site) -> None:
    """What is new, what there was, what there is, and whether one is among them."""
    alice = await site.client("/a")
    assert list((await site("Subscribe", client_id=alice, channels=["/b/*", "/a", "/c"])).added) == ["/b/*", "/c"]
    assert list((await site("Unsubscribe", client_id=alice, channels=["/x", "/c"])).removed) == ["/c"]
    assert sorted((await site("SubscribedTo", client_id=alice)).channels) == ["/a", "/b/*"]
    for channel, subscribed in (("/a", True), ("/b/*", True), ("/b/1", False), ("/c", False)):
        answer = await site("ClientSubscribed", client_id=alice, channel=channel)
        assert answer.subscribed == subscribed, channel


async def test_subscribers(site: Site) -> None:
    """They come in pages of 100 unless another size is asked for."""
    clients = sorted([await site.client("/a") for _ in range(101)])
    await site.client("/b")
    page = await site("SubscribersOf", channel_pattern="/a")
    assert list(page.client_ids) == clients[:100]
    rest = await site("SubscribersOf", channel_pattern="/a", page_token=page.next_page_token)
    assert (list(rest.client_ids), rest.next_page_token) == (clients[100:], "")


async def test_namespaces(site: Site) -> None:
    """They have the length that was asked for, 32 by default, and can be given back once."""
    default = (await site("GenerateNamespace")).namespace
    short = (await site("GenerateNamespace", length=12)).namespace
    assert (len(default), len(short)) == (32, 12)
    assert (await site("ReleaseNamespace", namespace=default)).released


async def test_publishes_have_an_answer_each(site: Site) -> None:
    """How many subscriptions matched; of a duplicate, how many the first attempt did."""
    await site.client("/a", "/*")
    await site.client("/a")
    messages = [message("/a", idempotency_key="k"), message("/b"), message("/c/d"), message("/a", idempotency_key="k")]
    results = (await site("Publish", messages=messages)).results
    assert [(one.matched_subscriptions, one.duplicate) for one in results] == [
        (3, False),
        (1, False),
        (0, False),
        (3, True),
    ]


async def test_a_queued_message_is_pending(site: Site) -> None:
    """QueueFor answers how many are, and how many it was given before under the same key."""
    alice = await site.client()
    queued = await site("QueueFor", client_id=alice, messages=[message("/a"), message("/a", idempotency_key="k")])
    assert (queued.pending, queued.duplicates) == (2, 0)
    queued = await site("QueueFor", client_id=alice, messages=[message("/a", idempotency_key="k")])
    assert (queued.pending, queued.duplicates) == (2, 1)


async def _counts(site: Site, client_id: str, **fields: Any) -> list[int]:
    """How many messages each answer has until one has none."""
    counts = [-1]
    while counts[-1]:
        counts.append(len(await site.taken(client_id, **fields)))
    return counts[1:]


async def test_a_dequeue_answers_a_hundred_messages_by_default(site: Site) -> None:
    """Or as many as it is asked for, at most 1,000."""
    alice = await site.client("/a")
    await site.publish("/a", *["1"] * 250)
    assert await _counts(site, alice) == [100, 100, 50, 0]
    for _ in range(2):
        await site.publish("/a", *["1"] * 1_000)
    assert await _counts(site, alice, max_messages=1_000) == [1_000, 1_000, 0]
