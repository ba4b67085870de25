"""What watchers receive."""

from tests.engine.site import Site

from pixied_server.core.message import Message
from pixied_server.delivery.watch import Filter, Watcher
from pixied_server.engine.abc import Event, EventKind


async def seen(watcher: Watcher) -> list[Event]:
    """What a watcher was shown since it last looked."""
    await watcher.wait()
    return (await watcher.take(1_000)).events


async def test_the_life_of_a_client(site: Site) -> None:
    """All eight events of a story come in the order in which things happened."""
    async with site.watching(Filter()) as watcher:
        await site.create("ann")
        await site.subscribe("ann", "/a")
        async with site.attached("ann") as front:
            await site.publish("/a", "1", by="ann")
            await front.read()
        await site.queue_for("ann", "2")
        await site.destroy("ann", "enough")
        events = await seen(watcher)
    ann = site.ids["ann"]
    kinds = EventKind
    assert [(one.kind, one.client_id, one.channel, one.reason, one.recipients) for one in events] == [
        (kinds.CLIENT_CREATED, ann, "", "", 0),
        (kinds.CHANNEL_CREATED, "", "/a", "", 0),
        (kinds.SUBSCRIBED, ann, "/a", "", 0),
        (kinds.PUBLISHED, ann, "/a", "", 1),
        (kinds.DELIVERED, "", "/a", "", 1),
        (kinds.PUBLISHED, ann, "/service/own", "", 1),
        (kinds.UNSUBSCRIBED, ann, "/a", "", 0),
        (kinds.CHANNEL_DESTROYED, "", "/a", "", 0),
        (kinds.CLIENT_DESTROYED, ann, "", "enough", 0),
    ]
    assert events[4].front_end == "front"
    assert all(one.at == site.clock() for one in events)


async def test_the_end_of_a_session_is_announced(site: Site) -> None:
    """A session that timed out is reported as that."""
    await site.create("ann", timeout=1.0)
    async with site.watching(Filter(client_id=site.ids["ann"])) as watcher:
        await site.elapse(1.1)
        (event,) = await seen(watcher)
    assert (event.kind, event.reason) == (EventKind.CLIENT_DESTROYED, "timed out")


async def test_a_channel_is_created_once(site: Site) -> None:
    """CHANNEL_CREATED is for the first subscriber, CHANNEL_DESTROYED for the last; no change, no event."""
    await site.create("ann", "bob")
    kinds = frozenset({EventKind.CHANNEL_CREATED, EventKind.CHANNEL_DESTROYED})
    async with site.watching(Filter(kinds=kinds)) as watcher:
        for name in ("ann", "bob", "ann"):
            await site.subscribe(name, "/a")
        await site.unsubscribe("ann", "/a", "/b")
        await site.subscribe("bob", "/b")
        await site.unsubscribe("bob", "/a")
        events = await seen(watcher)
    assert [(one.kind.name, one.channel) for one in events] == [
        ("CHANNEL_CREATED", "/a"),
        ("CHANNEL_CREATED", "/b"),
        ("CHANNEL_DESTROYED", "/a"),
    ]


async def test_a_duplicate_is_not_published_again(site: Site) -> None:
    """A retried publish is no event."""
    async with site.watching(Filter(pattern="/a/*")) as watcher:
        for _ in range(2):
            await site.engine.publish([Message("/a/b", b"1", id="7", key="k")])
        await site.publish("/b", "1")
        (event,) = await seen(watcher)
    assert (event.kind, event.message_id) == (EventKind.PUBLISHED, "7")


async def test_events_bear_the_time_at_which_they_happened(site: Site) -> None:
    """All of them, those of an Unsubscribe too."""
    async with site.watching(Filter()) as watcher:
        await site.engine.watch()
        now = site.clock()
        await site.create("ann")
        await site.subscribe("ann", "/a", "/b")
        await site.publish("/a", "1")
        await site.unsubscribe("ann", "/a")
        await site.destroy("ann")
        await site.bench.settle()
        events = (await watcher.take(100)).events
    assert {EventKind.UNSUBSCRIBED, EventKind.CHANNEL_DESTROYED} < {event.kind for event in events}
    assert {event.at for event in events} == {now}
