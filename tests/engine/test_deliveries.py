"""How much goes into one delivery, and what is no delivery at all."""

import gc
import weakref

import pytest
from tests.engine.conftest import OpenSite
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site

from pixied_server.core.message import Message
from pixied_server.delivery.events import Delivery

ROOM = 10_000
"""About so many bytes go into one delivery of these tests."""
LARGE = [str(number).zfill(3_000) for number in range(20)]
"""Messages of which three fit into a delivery."""


def _size(delivery: Delivery) -> int:
    """What the messages of a delivery take, each counted once."""
    return sum(entry.message.size for batch in delivery.batches for entry in batch.entries)


def _assert_filled(front: FrontEnd) -> None:
    """Each delivery ends with the message that fills it, or with the last one that fits in."""
    one = Message("/service/own", LARGE[0].encode()).size
    sizes = [_size(delivery) for delivery in front.deliveries]
    assert max(sizes) < ROOM + one
    assert min(sizes[:-1]) > ROOM - one


@pytest.mark.parametrize("outbox", [1, 1_000], ids=["from the logs", "from memory"])
async def test_large_live_messages_are_spread_over_deliveries(open_site: OpenSite, outbox: int) -> None:
    """What waits for a link goes out in order, in deliveries of about their size."""
    site = await open_site(outbox=outbox, delivery_bytes=ROOM)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", *LARGE)
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == front.texts("bob") == LARGE
        _assert_filled(front)


async def test_a_large_backlog_is_spread_over_deliveries(open_site: OpenSite) -> None:
    """What a client catches up with comes in deliveries of about their size, its own messages too."""
    site = await open_site(delivery_bytes=ROOM)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    for text in LARGE[:10]:
        await site.publish("/a", text)
    await site.queue_for("ann", *LARGE[10:])
    async with site.attached("ann") as front:
        assert sorted(front.texts("ann")) == LARGE
        _assert_filled(front)


async def test_backlogs_share_the_room_of_a_delivery(open_site: OpenSite) -> None:
    """Clients that catch up together are served in turns, and not each with a delivery's worth at once."""
    site = await open_site(delivery_bytes=ROOM)
    names = [f"client {number}" for number in range(10)]
    await site.create(*names)
    for name in names:
        await site.queue_for(name, *LARGE[:9])
    async with site.attached(*names) as front:
        assert all(front.texts(name) == LARGE[:9] for name in names)
        _assert_filled(front)
        first = max(front.got[name][0].number for name in names)
        assert first < min(front.got[name][-1].number for name in names)


async def test_who_waits_for_room_misses_nothing(open_site: OpenSite) -> None:
    """What is published or queued while a client waits for a large message comes too, once."""
    site = await open_site(delivery_bytes=ROOM)
    names = [f"client {number}" for number in range(10)]
    await site.create(*names, "live")
    for name in names:
        await site.subscribe(name, "/a")
        await site.queue_for(name, LARGE[0])
    await site.subscribe("live", "/a")
    async with site.attached("live") as front:
        for name in names:
            await site.attach(name, front)
        for number in range(8):
            await front.take()
            front.receive()
            await site.publish("/a", f"a {number}")
            for name in names:
                await site.queue_for(name, f"own {number}")
            await site.bench.settle()
        await front.read()
        channel, own = ([f"{what} {number}" for number in range(8)] for what in ("a", "own"))
        assert front.texts("live") == channel
        for name in names:
            assert sorted(front.texts(name)) == [LARGE[0], *channel, *own]
            assert front.marked(name) == []


async def test_who_leaves_while_it_waits_for_room_takes_all_with_it(open_site: OpenSite) -> None:
    """What was read for a client and not sent before it went to another link is sent there, unmarked."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.queue_for(name, *LARGE[:2])
    async with site.attached() as old, site.attached() as new:
        for name in ("ann", "bob"):
            await site.attach(name, old)
        await old.take()
        old.receive()
        assert (old.texts("ann"), old.texts("bob")) == (LARGE[:1], [])
        await site.attach("bob", new)
        await old.read()
        await new.read()
        assert (old.texts("ann"), old.texts("bob")) == (LARGE[:2], [])
        assert new.texts("bob") == LARGE[:2]
        assert new.marked("bob") == []


async def test_a_link_that_ends_while_clients_wait_for_room_is_kept_by_nobody(open_site: OpenSite) -> None:
    """What was read for them goes with it, and comes again where they are attached next."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann", "bob")
    front = site.front_end()
    for name in ("ann", "bob"):
        await site.queue_for(name, "1")
        await site.attach(name, front)
    await front.take()
    link = weakref.ref(front.link)
    gc.disable()
    try:
        await front.lose()
        await site.bench.settle()
        del front
        assert link() is None
    finally:
        gc.enable()
    async with site.attached("ann", "bob") as after:
        assert after.texts("ann") == after.texts("bob") == ["1"]
        assert (after.marked("ann"), after.marked("bob")) == (["1"], [])


async def test_catching_up_takes_room_from_live_messages(open_site: OpenSite) -> None:
    """A delivery with messages of a client that is behind has that much less room for those of the others."""
    site = await open_site(delivery_bytes=ROOM)
    await site.create("behind", "live")
    await site.queue_for("behind", *LARGE)
    await site.subscribe("live", "/a")
    async with site.attached("live") as front:
        await site.attach("behind", front)
        await site.publish("/a", *LARGE)
        await site.bench.settle()
        await front.read()
        assert front.texts("behind") == front.texts("live") == LARGE
        _assert_filled(front)


async def test_handles_take_room_too(open_site: OpenSite) -> None:
    """A batch for many clients counts with their handles, though its message is small."""
    site = await open_site(delivery_bytes=800)
    names = [f"client {number}" for number in range(50)]
    await site.create(*names)
    for name in names:
        await site.subscribe(name, "/a", "/b")
    async with site.attached(*names) as front:
        for number in range(6):
            await site.publish(("/a", "/b")[number % 2], str(number))
            await site.bench.settle()
        await front.read()
        assert [len(delivery.batches) for delivery in front.deliveries] == [2, 2, 2]


@pytest.mark.parametrize(("more", "messages"), [(0, [1, 1]), (1, [2])])
async def test_a_delivery_is_full_to_the_byte(open_site: OpenSite, more: int, messages: list[int]) -> None:
    """A live message goes in as long as a byte is left; a batch takes 3 bytes for each handle, about."""
    site = await open_site(delivery_bytes=Message("/a", b"1").size + 3 + more)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", *"12")
        await site.bench.settle()
        await front.read()
        assert [sum(len(batch.entries) for batch in one.batches) for one in front.deliveries] == messages


async def test_a_delivery_that_a_backlog_fills_takes_no_other(open_site: OpenSite) -> None:
    """To the byte."""
    site = await open_site(delivery_bytes=Message("/service/own", b"1").size)
    await site.create("ann", "bob")
    front = site.front_end()
    for name in ("ann", "bob"):
        await site.queue_for(name, "1")
        await site.attach(name, front)
    await front.read()
    assert [len(delivery.batches) for delivery in front.deliveries] == [1, 1]
    assert front.texts("ann") == front.texts("bob") == ["1"]


async def test_a_message_larger_than_a_delivery_goes_alone(open_site: OpenSite) -> None:
    """Live, from the logs or when a client catches up, a message that is too large for a delivery still arrives."""
    site = await open_site(outbox=1, delivery_bytes=10)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *LARGE[:2])
    async with site.attached("ann") as front:
        await site.publish("/a", *LARGE[2:5])
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == LARGE[:5]
        assert len(front.deliveries) == 5


async def test_what_nobody_gets_is_not_delivered(site: Site) -> None:
    """A message whose recipients are gone when it is their turn takes no place in the window."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b")
    await site.subscribe("bob", "/c")
    async with site.attached("ann", "bob", window=1) as front:
        await site.publish("/a", "its own", by="ann", exclude=True)
        await front.read()
        await site.publish("/b", "given up")
        await site.unsubscribe("ann", "/b")
        await front.read()
        await site.publish("/a", "for who comes next")
        await site.queue_for("ann", "for who comes next")
        await front.detach("ann")
        await front.read()
        assert front.deliveries == []
        await site.publish("/c", "1")
        await front.read()
        assert front.texts("bob") == ["1"]
        assert front.number == 1


async def test_what_nobody_gets_fills_no_delivery(open_site: OpenSite) -> None:
    """Between messages that somebody gets, however many that nobody does take no room."""
    site = await open_site(delivery_bytes=ROOM)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "first")
        await site.publish("/a", *LARGE, by="ann", exclude=True)
        await site.publish("/a", "last")
        await site.bench.settle()
        await front.read()
        (delivery,) = front.deliveries
        assert [len(batch.entries) for batch in delivery.batches] == [2]
