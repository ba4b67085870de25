"""Watchers: what one of them is shown, and what it is told that it missed."""

import asyncio
from contextlib import AsyncExitStack
from typing import ClassVar

import pytest
from tests.engine.site import Site
from tests.support.turns import endless, looking_on, stepping, until

from pixied_server.delivery.watch import Filter, Watcher, Watchers
from pixied_server.engine.abc import Event, EventKind


def event(number: int) -> Event:
    """An event that bears a number."""
    return Event(EventKind.PUBLISHED, float(number), channel="/a")


async def taken(watcher: Watcher, most: int) -> tuple[list[int], int]:
    """The numbers of events that a watcher gets now, and how many it missed before them."""
    sighting = await watcher.take(most)
    return [int(one.at) for one in sighting.events], sighting.missed


async def waits(watcher: Watcher) -> bool:
    """Whether there is nothing for a watcher to take."""
    tasks = [asyncio.ensure_future(watcher.keep_up()), asyncio.ensure_future(watcher.wait())]
    for _ in range(5):
        await asyncio.sleep(0)
    done = tasks[1].done()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return not done


async def test_a_watcher_is_told_where_it_missed_how_many() -> None:
    """So many events wait for one that does not keep up; those that were missed come between these and the next."""
    watchers = Watchers(3, endless())
    with watchers.watching(Filter()) as watcher:
        assert await waits(watcher)
        for number in range(6):
            watchers.happened(event(number))
        assert await taken(watcher, 2) == ([0, 1], 0)
        watchers.happened(event(6))
        assert await taken(watcher, 2) == ([2], 0)
        assert not await waits(watcher)
        watchers.happened(event(7))
        watchers.happened(event(8))
        assert await taken(watcher, 1) == ([7], 4)
        assert not await waits(watcher)
        assert await taken(watcher, 5) == ([8], 0)
        assert await waits(watcher)
        assert await taken(watcher, 5) == ([], 0)


async def test_what_was_missed_is_told_though_nothing_follows() -> None:
    """A watcher that has taken all is told without a further event."""
    watchers = Watchers(1, endless())
    with watchers.watching(Filter()) as watcher:
        for number in range(4):
            watchers.happened(event(number))
        assert await taken(watcher, 5) == ([0], 0)
        assert not await waits(watcher)
        assert await taken(watcher, 5) == ([], 3)
        assert await waits(watcher)


class CountingFilter(Filter):
    """Counts what is shown to it."""

    looked: ClassVar[int] = 0

    def passes(self, event: Event) -> bool:
        """Count it, and let it pass."""
        CountingFilter.looked += 1
        return super().passes(event)


async def test_who_causes_an_event_shows_it_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each watcher looks at it in a turn of its own, and a turn is as long as any; all of them are shown the same."""
    monkeypatch.setattr(CountingFilter, "looked", 0)
    watchers = Watchers(10, stepping())
    async with AsyncExitStack() as stack:
        watching = [stack.enter_context(watchers.watching(CountingFilter())) for _ in range(50)]
        keeping_up = [asyncio.create_task(watcher.keep_up()) for watcher in watching]
        await asyncio.sleep(0)
        for number in range(5):
            watchers.happened(event(number))
        assert CountingFilter.looked == 0
        async with looking_on(lambda: CountingFilter.looked) as others:
            await until(lambda: CountingFilter.looked == 250)
        assert others.most <= 10
        shown = [(await watcher.take(10)).shown for watcher in watching]
        assert [int(one.event.at) for one in shown[0]] == [0, 1, 2, 3, 4]
        assert all(one is first for some in shown for one, first in zip(some, shown[0], strict=True))
        for task in keeping_up:
            task.cancel()
        await asyncio.wait(keeping_up)


async def test_only_wanted_events_count_as_missed_while_nothing_is_taken() -> None:
    """A watcher that is not read keeps up all the same."""
    watchers = Watchers(2, endless())
    with watchers.watching(Filter(frozenset({EventKind.SUBSCRIBED}))) as watcher:
        keeping_up = asyncio.create_task(watcher.keep_up())
        for number in range(12_000):
            watchers.happened(event(number))
            if number % 5_000 == 0:
                watchers.happened(Event(EventKind.SUBSCRIBED, float(number), channel="/a"))
                for _ in range(5):
                    await asyncio.sleep(0)
        assert await taken(watcher, 5) == ([0, 5_000], 0)
        assert await taken(watcher, 5) == ([], 1)
        keeping_up.cancel()
        await asyncio.wait([keeping_up])


async def test_a_watcher_without_a_turn_is_told_how_many_went_by() -> None:
    """Ten thousand are kept for those that come late; whoever comes later misses the rest, and knows how many."""
    watchers = Watchers(20_000, endless())
    with watchers.watching(Filter()) as watcher:
        for number in range(10_003):
            watchers.happened(event(number))
        numbers, missed = await taken(watcher, 20_000)
        assert (numbers, missed) == (list(range(3, 10_003)), 3)
        watchers.happened(event(1))
        assert await taken(watcher, 1) == ([1], 0)
        watchers.happened(event(2))
        await taken(watcher, 0)
        for number in range(10_005):
            watchers.happened(event(number))
        assert await taken(watcher, 20_000) == ([2], 0)
        watchers.happened(event(3))
        assert (await taken(watcher, 1))[1] == 10_005


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
    watchers = Watchers(1, endless())
    one, other = frozenset({EventKind.DELIVERED}), frozenset({EventKind.PUBLISHED})
    assert not watchers.wanted
    with watchers.watching(Filter(one)):
        with watchers.watching(Filter(other)):
            assert watchers.wanted == one | other
        assert watchers.wanted == one
        with watchers.watching(Filter()):
            assert watchers.wanted == frozenset(EventKind)
    assert not watchers.wanted
