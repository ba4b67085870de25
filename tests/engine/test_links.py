"""Links: live messages for many clients on one stream."""

import asyncio
import gc
import weakref

import pytest
from tests.engine.conftest import OpenSite
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, reason_of, texts
from tests.support.memory import traced

from pixied_server.delivery import catch_up, link
from pixied_server.delivery.events import Attached, Delivery, DetachReason, Heartbeat
from pixied_server.delivery.link import AttachTerms
from pixied_server.errors import LimitClients, Reason, StreamProtocol


async def test_a_message_goes_to_a_link_once(site: Site) -> None:
    """All subscribers of a link get one batch with one copy of the message."""
    names = [f"client {number}" for number in range(50)]
    await site.create(*names)
    for name in names:
        await site.subscribe(name, "/a")
    async with site.attached(*names) as front:
        await site.publish("/a", "1", "2")
        await front.read()
        (delivery,) = front.deliveries
        (batch,) = delivery.batches
        assert len(batch.entries) == 2
        assert len(batch.audience) == 50
        assert all(front.texts(name) == ["1", "2"] for name in names)
    assert site.hub.counters.delivered == 100


async def test_a_link_that_is_gone_is_kept_by_nobody(site: Site) -> None:
    """What waited on it for its reader goes with it, whatever is remembered of its clients."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end(window=1)
    await site.attach("ann", front)
    await site.queue_for("ann", "own")
    await front.read()
    await site.queue_for("ann", "own")
    await site.publish("/a", *map(str, range(100)))
    await site.bench.settle()
    link = weakref.ref(front.link)
    gc.disable()
    try:
        await front.lose()
        await site.bench.settle()
        del front
        assert link() is None, "the collector hardly ever looks"
    finally:
        gc.enable()
    assert len(texts(await site.dequeue("ann"))) == 102


async def test_pending_messages_come_before_live_ones(site: Site) -> None:
    """A client gets what waited for it, then what is published, in order and once."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1", "2")
    front = site.front_end()
    await site.attach("ann", front)
    await site.publish("/a", "3")
    await front.read()
    await site.publish("/a", "4")
    await front.read()
    assert front.texts("ann") == ["1", "2", "3", "4"]
    assert front.marked("ann") == []


async def test_attached_comes_before_messages(site: Site) -> None:
    """The answer to an attach precedes the client's messages."""
    await site.create("ann")
    await site.queue_for("ann", "1")
    front = site.front_end()
    await site.attach("ann", front)
    kinds = [type(event) for event in await front.take()]
    assert kinds == [Attached, Delivery]


async def test_one_copy_however_many_patterns_match(site: Site) -> None:
    """A client with several matching subscriptions gets one copy, live and when it catches up."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a/b", "/a/*", "/**")
    await site.subscribe("bob", "/a/**")
    await site.publish("/a/b", "pending")
    async with site.attached("ann", "bob") as front:
        for number in range(3):
            await site.publish("/a/b", str(number))
        await front.read()
        assert front.texts("ann") == front.texts("bob") == ["pending", "0", "1", "2"]


async def test_a_link_learns_of_subscriptions_as_they_change(site: Site) -> None:
    """A live client gets what is published from Subscribe's answer to Unsubscribe's, and nothing else."""
    await site.create("ann", "bob")
    await site.subscribe("bob", "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "before")
        await site.subscribe("ann", "/a")
        await site.publish("/a", "during")
        await front.read()
        await site.publish("/a", "given up")
        await site.unsubscribe("ann", "/a")
        await site.publish("/a", "after")
        await site.subscribe("ann", "/a")
        await site.publish("/a", "anew")
        await front.read()
        assert front.texts("ann") == ["during", "anew"]
        assert front.texts("bob") == ["before", "during", "given up", "after", "anew"]


async def test_what_another_subscription_has_is_not_given_up(site: Site) -> None:
    """Unsubscribe leaves live messages that wait if another subscription matched them."""
    await site.create("ann")
    await site.subscribe("ann", "/a/*", "/a/b")
    async with site.attached("ann") as front:
        await site.publish("/a/b", "both")
        await site.publish("/a/c", "one")
        await site.unsubscribe("ann", "/a/*")
        await front.read()
        assert front.texts("ann") == ["both"]


async def test_the_publisher_may_be_left_out_of_live_messages(site: Site) -> None:
    """`exclude_publisher` leaves the publisher out and no one else."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "1", by="ann", exclude=True)
        await site.publish("/a", "2", by="ann")
        await front.read()
        assert front.texts("ann") == ["2"]
        assert front.texts("bob") == ["1", "2"]


async def test_no_more_than_the_window(site: Site) -> None:
    """Beyond the window nothing is sent; each confirmation lets one more delivery through."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=2) as front:
        for number in range(5):
            await site.publish("/a", str(number))
            await front.read()
        assert front.texts("ann") == ["0", "1"]
        await front.ack(1)
        await front.read()
        assert front.texts("ann") == ["0", "1", "2", "3", "4"]
        assert front.number == 3


async def test_a_slow_link_stops_no_one(open_site: OpenSite) -> None:
    """While one link confirms nothing, others get everything, and little waits in memory for the slow one."""
    site = await open_site(outbox=10)
    await site.create("slow", "quick")
    for name in ("slow", "quick"):
        await site.subscribe(name, "/a")
    async with site.attached("slow", window=1) as slow, site.attached("quick") as quick:
        for number in range(200):
            await site.publish("/a", str(number))
            await quick.drain()
        assert quick.texts("quick") == [str(number) for number in range(200)]
        await slow.drain()
        assert slow.texts("slow") == [str(number) for number in range(200)]


async def test_a_handle_in_use_breaks_the_protocol(site: Site) -> None:
    """STREAM_PROTOCOL for a second client under a handle, and the client stays with its owner."""
    await site.create("ann", "bob")
    front = site.front_end()
    await front.link.attach(site.ids["ann"], 7, AttachTerms(explicit=False, expires=False, cursor=0))
    with pytest.raises(StreamProtocol, match="handle 7"):
        await front.link.attach(site.ids["bob"], 7, AttachTerms(explicit=False, expires=False, cursor=0))
    assert (await site.look_at("bob")).front_end == ""


async def test_a_handle_is_free_again(site: Site) -> None:
    """Under a handle that was given up the next client gets its own messages and none of its predecessor's."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    async with site.attached("ann") as front:
        await site.publish("/a", "for ann")
        await site.queue_for("ann", "for ann too")
        await front.detach("ann")
        await front.read()
        assert front.detached == [("ann", DetachReason.REQUESTED, "")]
        assert await site.attach("bob", front) == 1
        await site.publish("/a", "for ann later")
        await site.publish("/b", "for bob")
        await front.read()
        assert front.texts("bob") == ["for bob"]
        assert front.texts("ann") == []
    assert texts(await site.dequeue("ann")) == ["for ann", "for ann too", "for ann later"]


async def test_to_detach_or_confirm_for_a_lost_client_is_no_error(site: Site) -> None:
    """A front-end may not know yet that it has lost a client."""
    await site.create("ann")
    front, other = site.front_end(), site.front_end()
    await site.attach("ann", front)
    await site.attach("ann", other)
    await front.detach("ann")
    await front.client_ack("ann", 0)
    assert (await site.look_at("ann")).front_end != ""


async def test_to_confirm_what_was_not_sent_breaks_the_protocol(site: Site) -> None:
    """STREAM_PROTOCOL for a number beyond the last delivery's, of the link and of a client."""
    await site.create("ann")
    await site.queue_for("ann", "1")
    async with site.attached("ann") as front:
        await front.ack(1)
        await front.ack(1)
        await front.ack(0)
        with pytest.raises(StreamProtocol, match="delivery 2"):
            await front.ack(2)
        with pytest.raises(StreamProtocol, match="delivery 2"):
            await front.client_ack("ann", 2)


async def test_an_attach_that_fails_changes_nothing(open_site: OpenSite) -> None:
    """CLIENT_UNKNOWN and LIMIT_CLIENTS come as events; the client stays where it is, the handle is free."""
    site = await open_site(clients=1)
    await site.create("ann", "bob")
    site.ids["nobody"] = "nobody"
    front, other = site.front_end(), site.front_end("other")
    await site.attach("nobody", front)
    await site.attach("ann", front)
    await site.attach("bob", other)
    await site.attach("bob", front)
    await front.read()
    assert front.failed["nobody"].reason is Reason.CLIENT_UNKNOWN
    assert isinstance(front.failed["bob"], LimitClients)
    assert (await site.look_at("bob")).front_end == "other"
    assert front.attached == {2: "ann"}


async def test_a_destroyed_client_gets_nothing_more(site: Site) -> None:
    """After DestroyClient nothing that waited is delivered, and the front-end is notified of why."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "1")
        await site.queue_for("ann", "2")
        await site.destroy("ann", "banned")
        await site.publish("/a", "3")
        await front.read()
        assert front.texts("ann") == []
        assert front.texts("bob") == ["1", "3"]
        assert front.detached == [("ann", DetachReason.DESTROYED, "banned")]


async def test_what_a_link_confirmed_is_pending_no_more(site: Site) -> None:
    """GetClient counts what is not confirmed, of a client that is attached too."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1")
        await site.queue_for("ann", "2")
        await front.drain()
        await front.detach("ann")
        assert (await site.look_at("ann")).pending == 0


async def test_queued_messages_are_forgotten_once_they_are_confirmed(site: Site) -> None:
    """What was queued for a client does not stay in memory after its link has confirmed it."""
    await site.create("ann", "bob")
    async with site.attached("ann", "bob") as front:
        for number in range(100):
            await site.queue_for("ann", str(number))
            await front.drain()
            assert (await site.engine.holdings()).messages == 0
        assert front.texts("ann") == [str(number) for number in range(100)]


async def test_a_client_that_confirms_by_itself_keeps_queued_messages(site: Site) -> None:
    """In explicit mode only the client's own confirmation forgets its messages."""
    await site.create("ann")
    front = site.front_end()
    await site.attach("ann", front, explicit=True)
    await front.read()
    await site.queue_for("ann", "1")
    await front.drain()
    assert (await site.engine.holdings()).messages == 1
    await front.client_ack("ann")
    assert (await site.engine.holdings()).messages == 0


async def test_errors_of_single_callers(site: Site) -> None:
    """A Deliver that lost its client to a link ends with TAKEN_OVER, one whose client died with CLIENT_UNKNOWN."""
    await site.create("ann", "bob")
    async with site.tapped("ann") as one, site.tapped("bob") as two:
        await site.attach("ann", site.front_end())
        await site.destroy("bob")
        for tap, reason in ((one, Reason.TAKEN_OVER), (two, Reason.CLIENT_UNKNOWN)):
            async with asyncio.timeout(30):
                assert await reason_of(tap.wait()) is reason
            assert await reason_of(tap.take(messages=1, size=1)) is reason


@pytest.mark.parametrize("owner_died", [True, False])
async def test_a_client_confirms_on_another_link_than_it_was_sent_on(site: Site, *, owner_died: bool) -> None:
    """Attached with the position that it has got, a client is sent what comes after it, marked, and nothing before."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    old = site.front_end()
    await site.attach("ann", old, explicit=True)
    await old.read()
    for text in "123":
        await site.publish("/a", text)
        await old.read()
    cursor = old.deliveries[1].batches[0].cursor
    if owner_died:
        await old.lose()
    new = site.front_end()
    await site.attach("ann", new, explicit=True, cursor=cursor)
    await new.read()
    assert new.texts("ann") == new.marked("ann") == ["3"]
    await new.lose()
    await old.lose()


async def test_a_client_can_not_confirm_what_it_was_not_sent(site: Site) -> None:
    """An attach that names a later position fails, and the client's owner keeps it."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as owner, site.attached() as other:
        await site.attach("ann", other, cursor=5)
        await other.read()
        assert other.failed["ann"].reason is Reason.FIELD_INVALID
        await site.publish("/a", "1")
        await owner.read()
        assert owner.texts("ann") == ["1"]


@pytest.mark.parametrize("explicit", [True, False])
async def test_a_session_that_is_over_ends_nothing_but_itself(site: Site, *, explicit: bool) -> None:
    """A confirmation for a client whose time has just come is no mistake of the link that has it."""
    await site.create("ann", timeout=2.0)
    await site.create("bob")
    front = site.front_end()
    await site.attach("ann", front, explicit=explicit, expires=True)
    await site.attach("bob", front)
    await front.read()
    await site.queue_for("ann", "1")
    await front.read()
    site.clock.advance(5.0)
    await front.ack()
    await front.client_ack("ann")
    await site.queue_for("bob", "2")
    await site.elapse(0.0)
    await front.read()
    assert front.texts("bob") == ["2"]
    assert [(name, reason) for name, reason, _ in front.detached] == [("ann", DetachReason.EXPIRED)]
    await front.lose()


async def test_falling_back_forgets_no_confirmation(open_site: OpenSite) -> None:
    """A client that has to read by itself, for its link is full, has still confirmed what it had confirmed before."""
    site = await open_site(outbox=2)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        for number in range(20):
            await site.publish("/a", str(number))
            await front.drain()
        await site.publish("/a", *"xyz")
        await site.queue_for("ann", "own")
        assert (await site.look_at("ann")).pending == 4
    async with site.attached("ann") as after:
        assert after.texts("ann") == [*"xyz", "own"]


async def test_what_a_stalled_link_keeps_does_not_grow(open_site: OpenSite) -> None:
    """Clients that fall back, and clients that come and go while nothing is confirmed, leave nothing behind."""
    site = await open_site(outbox=1)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")

    async def fall_back(front: FrontEnd) -> None:
        await site.publish("/a", *"12")
        await site.queue_for("ann", "own")
        await front.drain()
        front.deliveries.clear()

    async def come_and_go(front: FrontEnd) -> None:
        await site.attach("bob", front)
        await front.detach("bob")
        await front.read()

    with traced() as kept:
        async with site.attached("ann", window=1) as front:
            for _ in range(10):
                await fall_back(front)
            before = kept("delivery")
            for _ in range(40):
                await fall_back(front)
            assert kept("delivery") - before < 2_000
            await site.publish("/a", *"12")
            await front.read()
            before = kept("delivery")
            for _ in range(40):
                await come_and_go(front)
            assert kept("delivery") - before < 2_000


async def test_a_link_that_never_confirms_remembers_no_messages(open_site: OpenSite) -> None:
    """However many are queued for its clients: of those it has it knows which delivery their inboxes wait for."""
    site = await open_site()
    await site.create("ann", "bob")

    async def queue(front: FrontEnd) -> None:
        await site.queue_for("ann", *["1"] * 100)
        await site.attach("bob", front)
        await front.read()
        await site.queue_for("bob", "1")
        await front.read()
        await front.detach("bob")
        front.deliveries.clear()

    with traced() as kept:
        async with site.attached("ann", window=1_000) as front:
            for _ in range(10):
                await queue(front)
            before = kept("delivery/link.py")
            for _ in range(40):
                await queue(front)
            assert kept("delivery/link.py") - before < 5_000


async def test_inboxes_are_trimmed_as_deliveries_are_confirmed(open_site: OpenSite) -> None:
    """Those of clients that got more since as well, once that is confirmed; those of clients that left are not."""
    site = await open_site()
    await site.create("ann", "bob")
    async with site.attached("ann", "bob") as front:
        left = []
        for name in ("ann", "bob", "ann"):
            await site.queue_for(name, "1")
            await front.read()
        for number in (1, 2, 3):
            await front.ack(number)
            left.append((await site.engine.holdings()).messages)
        assert left == [2, 1, 0]
        await site.queue_for("ann", "2")
        await front.read()
        await front.detach("ann")
        await front.ack()
        assert (await site.engine.holdings()).messages == 1


async def test_a_front_end_that_reads_nothing_can_cause_no_more_news(site: Site) -> None:
    """Its commands wait once so much is to be told; heartbeats do not add up."""
    front = site.front_end()
    for handle in range(10_001):
        front.link.refuse(handle, LimitClients("at all", 1))
    for _ in range(5):
        front.link.beat()
    waiting = asyncio.ensure_future(front.link.hold_back())
    await site.bench.settle()
    assert not waiting.done()
    assert len(await front.link.take()) == 10_002
    await site.bench.settle()
    assert waiting.done()
    await front.link.hold_back()
    for handle in range(10_001):
        front.link.refuse(handle, LimitClients("at all", 1))
    async with asyncio.timeout(30):
        waiting = asyncio.ensure_future(front.link.hold_back())
        await site.bench.settle()
    assert not waiting.done()
    await front.link.take()
    await waiting


async def test_a_link_that_ends_gives_others_a_turn(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets go of its clients by and by, and waits for nothing else."""
    monkeypatch.setattr(link, "_SLICE", 1)
    names = ("ann", "bob", "cid")
    await site.create(*names)
    front = site.front_end()
    for name in names:
        await site.attach(name, front)
    closing = asyncio.ensure_future(front.lose())
    await asyncio.sleep(0)
    assert site.hub.owned > 0
    async with asyncio.timeout(30):
        while site.hub.owned:  # noqa: ASYNC110 - the link does it by itself
            await asyncio.sleep(0)
    await site.bench.settle()
    assert closing.done()


async def test_so_many_clients_catch_up_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery has messages of so many of the clients that are behind, and the next one those of others."""
    monkeypatch.setattr(catch_up, "_SLICE", 2)
    names = ["ann", "bob", "cid", "dan", "eve"]
    await site.create(*names)
    front = site.front_end()
    for name in names:
        await site.queue_for(name, "1")
        await site.attach(name, front)
    await front.read()
    assert [
        [front.name_of(handle) for batch in one.batches for handle in batch.audience.handles]
        for one in front.deliveries
    ] == [
        ["ann", "bob"],
        ["cid", "dan"],
        ["eve"],
    ]


async def test_audiences_that_are_kept_ready_are_bounded(open_site: OpenSite) -> None:
    """Of channels that match several patterns so many audiences are kept as have no more handles than the bound."""
    site = await open_site(ready_handles=100)
    names = [f"client {number}" for number in range(30)]
    await site.create(*names)
    for name in names:
        await site.subscribe(name, "/**", "/room/*")
    rooms = [f"/room/{number}" for number in range(20)]
    async with site.attached(*names) as front:
        for room in rooms + rooms[::-1]:
            await site.publish(room, "1")
            await front.drain()
        audiences = [batch.audience for delivery in front.deliveries for batch in delivery.batches]
        kept = [first is again for first, again in zip(audiences[:20], audiences[:19:-1], strict=True)]
        assert 1 <= sum(kept) <= 3
        assert all(len(front.got[name]) == 40 for name in names)


async def test_a_front_end_is_asked_for_a_sign_of_life(site: Site) -> None:
    """A heartbeat is an event of the link."""
    front = site.front_end()
    front.link.beat()
    assert await front.take() == [Heartbeat()]
