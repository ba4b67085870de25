"""Watchers: what one of them is shown, and what it is told that it missed."""

import asyncio

from tests.engine.site import Site

from pixied_server.delivery.watch import Filter, Watcher, Watchers
from pixied_server.engine.abc import Event, EventKind


def event(number: int) -> Event:
    """An event that bears a number."""
    return Event(EventKind.PUBLISHED, float(number), channel="/a")


def taken(watcher: Watcher, most: int) -> tuple[list[int], int]:
    """The numbers of events that a watcher gets now, and how many it missed before them."""
    sighting = watcher.take(most)
    return [int(one.at) for one in sighting.events], sighting.missed


async def waits(watcher: Watcher) -> bool:
    """Whether there is nothing for a watcher to take."""
    waiting = asyncio.ensure_future(watcher.wait())
    await asyncio.sleep(0)
    done = waiting.done()
    waiting.cancel()
    return not done


async def test_a_watcher_is_told_where_it_missed_how_many() -> None:
    """So many events wait for one that does not keep up; those that were missed come between these and the next."""
    watchers = Watchers(room=3)
    with watchers.watching(Filter()) as watcher:
        assert await waits(watcher)
        for number in range(6):
            watchers.happened(event(number))
        assert taken(watcher, 2) == ([0, 1], 0)
        watchers.happened(event(6))
        assert taken(watcher, 2) == ([2], 0)
        assert not await waits(watcher)
        watchers.happened(event(7))
        watchers.happened(event(8))
        assert taken(watcher, 1) == ([7], 4)
        assert not await waits(watcher)
        assert taken(watcher, 5) == ([8], 0)
        assert await waits(watcher)
        assert taken(watcher, 5) == ([], 0)


async def test_what_was_missed_is_told_though_nothing_follows() -> None:
    """A watcher that has taken all is told without a further event."""
    watchers = Watchers(room=1)
    with watchers.watching(Filter()) as watcher:
        for number in range(4):
            watchers.happened(event(number))
        assert taken(watcher, 5) == ([0], 0)
        assert not await waits(watcher)
        assert taken(watcher, 5) == ([], 3)
        assert await waits(watcher)


async def test_a_filter_lets_pass_what_passes_all_of_it(site: Site) -> None:
    """Kinds, a client and a pattern: each alone, and all together; what has no channel meets no pattern."""
    await site.create("ann", "bob")
    ann = site.ids["ann"]
    filters = {
        "kind": Filter(frozenset({EventKind.SUBSCRIBED})),
        "client": Filter(client_id=ann),
        "pattern": Filter(pattern="/a/*"),
        "all": Filter(frozenset({EventKind.SUBSCRIBED}), "/a/*", ann),
    }
    events = [
        Event(kind, 0.0, client_id=client_id, channel=channel)
        for kind in (EventKind.SUBSCRIBED, EventKind.UNSUBSCRIBED)
        for client_id in (ann, site.ids["bob"])
        for channel in ("/a/b", "/b", "")
    ]
    assert {name: [events.index(one) for one in events if wanted.passes(one)] for name, wanted in filters.items()} == {
        "kind": [0, 1, 2, 3, 4, 5],
        "client": [0, 1, 2, 6, 7, 8],
        "pattern": [0, 3, 6, 9],
        "all": [0],
    }


def test_only_kinds_that_somebody_watches_are_wanted() -> None:
    """As long as somebody does; a watcher that names none wants all."""
    watchers = Watchers(room=1)
    one, other = frozenset({EventKind.DELIVERED}), frozenset({EventKind.PUBLISHED})
    assert not watchers.wanted
    with watchers.watching(Filter(one)):
        with watchers.watching(Filter(other)):
            assert watchers.wanted == one | other
        assert watchers.wanted == one
        with watchers.watching(Filter()):
            assert watchers.wanted == frozenset(EventKind)
    assert not watchers.wanted
