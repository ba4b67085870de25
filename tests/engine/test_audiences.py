"""Who on a link gets a message: in the order of its channel, one copy each, however subscriptions change."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, texts

from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.delivery.audience import AudienceLimits, Audiences

Leave = Callable[[Site, FrontEnd], Awaitable[None]]

# Whether messages wait for the link in memory or have to be read from the logs.
OUTBOXES = pytest.mark.parametrize("outbox", [1, 10_000])


@OUTBOXES
async def test_a_message_for_some_keeps_its_place_among_those_for_all(open_site: OpenSite, outbox: int) -> None:
    """Messages of a channel arrive in order though one in the middle is not for its publisher."""
    site = await open_site(outbox=outbox)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "1", by="ann")
        await site.publish("/a", "2", by="ann", exclude=True)
        await site.publish("/a", "3", by="ann")
        await site.bench.settle()
        await front.drain()
        assert front.texts("ann") == ["1", "3"]
        assert front.texts("bob") == ["1", "2", "3"]


async def test_a_message_for_one_keeps_its_place_among_those_for_all(site: Site) -> None:
    """A client's own messages arrive where they were announced between those of its channels."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        for number in range(0, 6, 2):
            await site.publish("/a", str(number))
            await site.bench.settle()
            await site.queue_for("ann", str(number + 1))
            await site.bench.settle()
        await front.drain()
        assert front.texts("ann") == ["0", "1", "2", "3", "4", "5"]
        assert front.texts("bob") == ["0", "2", "4"]


@OUTBOXES
async def test_messages_of_several_channels_keep_their_order(open_site: OpenSite, outbox: int) -> None:
    """A client of two channels gets their messages as they were announced, those of one channel apart or not."""
    site = await open_site(outbox=outbox)
    await site.create("both", "one", "all")
    await site.subscribe("both", "/a", "/b")
    await site.subscribe("one", "/a")
    await site.subscribe("all", "/**")
    async with site.attached("both", "one", "all") as front:
        for number in range(3):
            for channel in ("/a", "/b"):
                await site.publish(channel, f"{channel} {number}")
                await site.bench.settle()
        await front.drain()
        expected = ["/a 0", "/b 0", "/a 1", "/b 1", "/a 2", "/b 2"]
        assert front.texts("both") == front.texts("all") == expected
        assert front.texts("one") == expected[::2]


async def test_two_subscriptions_that_overlap_bring_one_copy(site: Site) -> None:
    """A client whose two subscriptions match gets one copy, and so does each of those who have one of them."""
    await site.create("both", "exact", "wild")
    await site.subscribe("both", "/a/b", "/a/*")
    await site.subscribe("exact", "/a/b")
    await site.subscribe("wild", "/a/*")
    async with site.attached("both", "exact", "wild") as front:
        await site.publish("/a/b", "1", "2")
        await front.drain()
        await site.publish("/a/b", "3")
        await front.drain()
        assert all(front.texts(name) == ["1", "2", "3"] for name in ("both", "exact", "wild"))
    assert site.hub.counters.delivered == 9


@OUTBOXES
async def test_overlapping_subscriptions_bring_one_copy_while_others_come(open_site: OpenSite, outbox: int) -> None:
    """The same of messages that wait while someone subscribes: the newcomer gets none of them, the others one copy."""
    site = await open_site(outbox=outbox)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a/b", "/a/*")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a/b", "1", "2")
        await site.subscribe("bob", "/a/b", "/a/**")
        await site.bench.settle()
        await site.publish("/a/b", "3")
        await site.bench.settle()
        await front.drain()
        assert front.texts("ann") == ["1", "2", "3"]
        assert front.texts("bob") == ["3"]
    assert site.hub.counters.delivered == 4


async def test_a_further_subscription_brings_no_second_copy(site: Site) -> None:
    """A client that subscribes once more while messages wait gets each of them once."""
    await site.create("ann")
    await site.subscribe("ann", "/a/b")
    async with site.attached("ann") as front:
        await site.publish("/a/b", "1")
        await site.subscribe("ann", "/a/*")
        await site.bench.settle()
        await site.publish("/a/b", "2")
        await site.publish("/a/c", "3")
        await site.bench.settle()
        await front.drain()
        assert front.numbers("ann") == [1, 2, 3]
        await site.unsubscribe("ann", "/a/b")
        await site.publish("/a/b", "4")
        await front.drain()
        assert front.numbers("ann") == [1, 2, 3, 4]


@pytest.mark.parametrize("patterns", [["/a/b"], ["/a/b", "/a/*"], ["/a/*", "/**"]])
async def test_recipients_change_between_deliveries(site: Site, patterns: list[str]) -> None:
    """Who subscribes after a delivery gets the next one; who unsubscribes or is detached does not."""
    await site.create("ann", "bob", "cid")
    for name in ("ann", "bob"):
        await site.subscribe(name, *patterns)
    async with site.attached("ann", "bob", "cid") as front:
        await site.publish("/a/b", "1")
        await front.drain()
        await site.subscribe("cid", *patterns)
        await site.bench.settle()
        await site.publish("/a/b", "2")
        await front.drain()
        await site.unsubscribe("bob", *patterns)
        await site.publish("/a/b", "3")
        await front.drain()
        await front.detach("ann")
        await site.publish("/a/b", "4")
        await front.drain()
        assert front.texts("ann") == ["1", "2", "3"]
        assert front.texts("bob") == ["1", "2"]
        assert front.texts("cid") == ["2", "3", "4"]
    assert texts(await site.dequeue("ann")) == ["4"]


async def test_recipients_come_and_go_through_a_further_pattern(site: Site) -> None:
    """Who gets a channel through a pattern of its own gets what is published from then on, until it unsubscribes."""
    await site.create("ann", "bob", "cid")
    await site.subscribe("ann", "/a/b")
    await site.subscribe("bob", "/a/*")
    async with site.attached("ann", "bob", "cid") as front:
        for number in range(3):
            await site.publish("/a/b", f"without {number}")
            await front.drain()
            await site.subscribe("cid", "/a/**")
            await site.bench.settle()
            await site.publish("/a/b", f"with {number}")
            await front.drain()
            await site.unsubscribe("cid", "/a/**")
        everything = [f"{how} {number}" for number in range(3) for how in ("without", "with")]
        assert front.texts("ann") == front.texts("bob") == everything
        assert front.texts("cid") == everything[1::2]


def test_a_message_is_for_those_who_subscribed_before_it() -> None:
    """In whatever order they are added: a link may learn of an older subscription later."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    for handle, since in enumerate([4, 6, 5, 2]):
        audiences.add("/a", handle, (since,))
    found = [set(audiences.of(Entry(sequence, 0.0, Message("/a", b""))).handles) for sequence in range(2, 8)]
    assert found == [set(), {3}, {3}, {0, 3}, {0, 2, 3}, {0, 1, 2, 3}]


@asynccontextmanager
async def _held(site: Site, name: str, by: str) -> AsyncIterator[FrontEnd | None]:
    """A client that is held by nobody, by Deliver or by a link of another front-end."""
    async with AsyncExitStack() as stack:
        if by == "Deliver":
            await stack.enter_async_context(site.tapped(name))
        yield await stack.enter_async_context(site.attached(name)) if by == "another link" else None


@pytest.mark.parametrize("by", ["nobody", "Deliver", "another link"])
async def test_a_publisher_that_is_not_on_the_link_leaves_no_one_out(site: Site, by: str) -> None:
    """`exclude_publisher` leaves out the publisher alone, not whoever has its handle on another link."""
    await site.create("ann", "publisher")
    for name in ("ann", "publisher"):
        await site.subscribe(name, "/a")
    async with site.attached("ann") as front, _held(site, "publisher", by) as other:
        await site.publish("/a", "1", by="publisher", exclude=True)
        await site.publish("/a", "2", by="publisher")
        await front.drain()
        assert front.texts("ann") == ["1", "2"]
        if other is not None:
            assert other.handle_of("publisher") == front.handle_of("ann")
            await other.drain()
            assert other.texts("publisher") == ["2"]
    if by == "nobody":
        assert texts(await site.dequeue("publisher")) == ["2"]


@pytest.mark.parametrize("known", [True, False])
async def test_a_publisher_that_is_no_subscriber_leaves_no_one_out(site: Site, *, known: bool) -> None:
    """`exclude_publisher` of a client on the link that does not subscribe, or of nobody's id, changes nothing."""
    await site.create("ann", "bob")
    site.ids["stranger"] = "stranger"
    await site.subscribe("ann", "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "1", by="bob" if known else "stranger", exclude=True)
        await site.publish("/a", "2")
        await site.bench.settle()
        await front.drain()
        assert front.texts("ann") == ["1", "2"]
        assert [len(delivery.batches) for delivery in front.deliveries] == [1]
        assert front.texts("bob") == []


async def test_who_takes_the_handle_of_a_publisher_is_not_left_out(site: Site) -> None:
    """A message of a publisher that has left is for the client that has its handle now."""
    await site.create("ann", "publisher")
    for name in ("ann", "publisher"):
        await site.subscribe(name, "/a")
    async with site.attached("publisher") as front:
        await front.detach("publisher")
        await front.read()
        assert await site.attach("ann", front) == 1
        await front.read()
        await site.publish("/a", "1", by="publisher", exclude=True)
        await front.drain()
        assert front.texts("ann") == ["1"]
    assert texts(await site.dequeue("publisher")) == []


async def _unsubscribes(site: Site, _front: FrontEnd) -> None:
    await site.unsubscribe("ann", "/a")
    await site.subscribe("ann", "/a")


async def _is_detached(site: Site, front: FrontEnd) -> None:
    await front.detach("ann")
    await front.read()
    await site.attach("ann", front)


async def _is_destroyed(site: Site, front: FrontEnd) -> None:
    await site.destroy("ann")
    await front.read()
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.attach("ann", front)


async def _goes_to_another_link(site: Site, front: FrontEnd) -> None:
    async with site.attached("ann"):
        await front.read()
    await site.attach("ann", front)


WAYS = pytest.mark.parametrize("leave", [_unsubscribes, _is_detached, _is_destroyed, _goes_to_another_link])


@WAYS
async def test_a_pattern_that_had_no_recipient_for_a_while_has_one_again(site: Site, leave: Leave) -> None:
    """After its last recipient on a link has left, whoever comes next gets what is published, time and again."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        for number in range(3):
            await leave(site, front)
            await front.read()
            await site.publish("/a", str(number))
            await front.drain()
            assert front.texts("ann")[-1:] == [str(number)]
        assert front.texts("ann") == ["0", "1", "2"]


@WAYS
async def test_what_waited_for_the_last_recipient_is_not_for_the_next(open_site: OpenSite, leave: Leave) -> None:
    """Of messages that a full link had yet to read, and of those lost, the next subscriber gets and is told nothing."""
    site = await open_site(Limits(log_messages=3), outbox=2)
    await site.create("ann", "stays")
    await site.subscribe("ann", "/a")
    await site.subscribe("stays", "/b")
    async with site.attached("ann", "stays", window=1) as front:
        await site.publish("/b", "b0")
        await front.read()
        await site.publish("/a", *"123456789")
        await site.publish("/b", "b1")
        await site.unsubscribe("ann", "/a")
        await leave(site, front)
        await site.subscribe("ann", "/a")
        await site.bench.settle()
        await site.publish("/a", "x")
        await front.drain()
        assert front.texts("ann") == ["x"]
        assert front.texts("stays") == ["b0", "b1"]
        assert not front.lost


async def test_what_nobody_wants_any_more_is_not_read(open_site: OpenSite) -> None:
    """A full link has to read the logs of a pattern until its last recipient has left, and no longer."""
    site = await open_site(outbox=1)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b")
    await site.subscribe("bob", "/a")
    async with site.attached("ann", "bob", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"123")
        await site.publish("/b", "4")
        await site.bench.settle()
        for leaves in (site.unsubscribe("ann", "/a"), front.detach("bob")):
            await leaves
        await site.unsubscribe("ann", "/b")
        await front.ack()
        await front.read()
        assert front.link.progress == site.hub.head
        await site.subscribe("ann", "/b")
        await site.bench.settle()
        await site.publish("/b", "5")
        await front.drain()
        assert front.texts("ann") == ["0", "5"]
    assert texts(await site.dequeue("bob")) == ["0", "1", "2", "3"]
