"""What a link that is behind finds cut from the logs: each of its clients is told how many messages it lost."""

import tracemalloc
from collections import Counter

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.conftest import OpenSite
from tests.engine.site import Site

from pixied_server.core.backlog import Loss
from pixied_server.delivery import losses, outbox
from pixied_server.delivery.audience import AudienceLimits, Audiences
from pixied_server.delivery.events import Delivery, Lost
from pixied_server.delivery.losses import Losses


async def test_each_client_is_told_what_it_lost_since_it_subscribed(open_site: OpenSite) -> None:
    """Those who subscribed first lose all that is cut, later ones what came after they subscribed, the last nothing."""
    site = await open_site(Limits(log_messages=3), outbox=2)
    names = ("first", "first too", "second", "second too", "last")
    await site.create(*names)
    for name in ("first", "first too"):
        await site.subscribe(name, "/a")
    async with site.attached(*names, window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        # In memory are 1 and 2; beyond them 3 and 4 are cut before the second two subscribe, 5, 6 and 7 after that.
        await site.publish("/a", *"12345")
        await site.bench.settle()
        for name in ("second", "second too"):
            await site.subscribe(name, "/a")
        await site.bench.settle()
        await site.publish("/a", *"6789x")
        await site.subscribe("last", "/a")
        await site.bench.settle()
        await front.drain()
        assert {name: front.texts(name) for name in names} == {
            "first": [*"01289x"],
            "first too": [*"01289x"],
            "second": [*"89x"],
            "second too": [*"89x"],
            "last": [],
        }
        assert {name: front.lost[name]["/a"] for name in names} == {
            "first": 5,
            "first too": 5,
            "second": 2,
            "second too": 2,
            "last": 0,
        }
    assert site.hub.counters.lost == 14


async def test_losses_are_told_once(open_site: OpenSite) -> None:
    """What a client was told does not come again with the next loss, which may be one of another pattern."""
    site = await open_site(Limits(log_messages=2), outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b")
    async with site.attached("ann", window=1) as front:
        for patterns, lost in ((("/a",), {"/a": 2}), (("/b",), {"/b": 2}), (("/a", "/b"), {"/a": 2, "/b": 2})):
            await site.publish("/b", "fills the window")
            await front.read()
            await site.publish("/a", "is kept in memory")
            await site.bench.settle()
            for pattern in patterns:
                await site.publish(pattern, *"1234")
            await site.bench.settle()
            front.lost.clear()
            await front.drain()
            assert front.lost == {"ann": lost}


async def test_a_loss_comes_just_before_the_delivery_that_confirms_it(open_site: OpenSite) -> None:
    """A link that finds one announces it at once, ahead of the messages that come after it."""
    site = await open_site(Limits(log_messages=2), outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"12345")
        await site.bench.settle()
        await front.ack()
        assert [type(event) for event in await front.take()] == [Lost, Delivery]
        front.receive()
        assert front.texts("ann") == [*"0145"]
        assert front.lost == {"ann": {"/a": 2}}


async def test_a_client_that_left_takes_nothing_from_the_others(open_site: OpenSite) -> None:
    """What was lost while it was there is told to those who are still there, and to itself when it comes back."""
    site = await open_site(Limits(log_messages=2), outbox=1)
    await site.create("stays", "unsubscribes", "leaves")
    await site.subscribe("stays", "/a")
    async with site.attached("stays", "unsubscribes", "leaves", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"123")
        for name in ("unsubscribes", "leaves"):
            await site.subscribe(name, "/a")
        await site.bench.settle()
        await site.publish("/a", *"45678")
        await site.unsubscribe("unsubscribes", "/a")
        await front.detach("leaves")
        await site.bench.settle()
        await front.drain()
        assert front.texts("stays") == [*"0178"]
        assert front.lost == {"stays": {"/a": 5}}
    async with site.attached("leaves") as front:
        assert front.texts("leaves") == [*"78"]
        assert front.lost == {"leaves": {"/a": 3}}


async def test_losses_of_clients_that_come_and_go_are_told_to_those_who_stay(open_site: OpenSite) -> None:
    """However many subscribe and leave while a link is behind, who stays is told exactly what it lost."""
    site = await open_site(Limits(log_messages=1), outbox=1)
    await site.create("first", "second", "leaves")
    await site.subscribe("first", "/a")
    async with site.attached("first", "second", "leaves", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        for number in range(1, 41):
            if number == 21:
                await site.subscribe("second", "/a")
            await site.subscribe("leaves", "/a", "/b")
            await site.bench.settle()
            await site.publish("/a", str(number))
            await site.publish("/b", "b", "b")
            await site.unsubscribe("leaves", "/a", "/b")
        await site.bench.settle()
        await front.drain()
        # In memory is 1, in the log is 40.
        assert (front.texts("first"), front.lost["first"]) == (["0", "1", "40"], {"/a": 38})
        assert (front.texts("second"), front.lost["second"]) == (["40"], {"/a": 19})
        assert "leaves" not in front.lost


async def test_a_loss_that_no_delivery_has_announced_is_announced_to_the_next_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that leaves before its link has announced a loss has it announced when it comes back."""
    site = Site(MemoryBench(Limits(log_messages=1)))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1")
        await front.drain()
        # An engine that missed messages announces how many; the link has not sent that when the client leaves.
        with monkeypatch.context() as patched:
            patched.setattr(site.hub, "published", lambda *_: None)
            await site.publish("/a", "2", "3", "4")
        site.hub.missed(Loss("/a", 2, sequence=site.engine.head[0] - 1))
        await front.detach("ann")
    async with site.attached("ann") as front:
        assert front.lost == {"ann": {"/a": 2}}
        assert front.texts("ann") == ["4"]


async def test_a_loss_is_announced_when_the_window_opens() -> None:
    """Also where nothing else is to be sent then."""
    site = Site(MemoryBench(Limits()))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        await site.publish("/a", "1")
        await front.read()
        site.hub.missed(Loss("/a", 2, sequence=site.engine.head[0] + 1))
        await front.read()
        assert front.lost == {}
        await front.ack()
        await front.read()
        assert front.lost == {"ann": {"/a": 2}}


def test_a_loss_is_for_those_who_had_subscribed_by_then() -> None:
    """It is told in full to whoever subscribed before the youngest message, and not to who did at that very moment."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    noted = Losses(audiences)
    for handle, since in enumerate([0, 5, 6, 6, 7]):
        audiences.add("/a", handle, (since,))
    for sequence in (5, 6, 7):
        noted.add(Loss("/a", 1, sequence=sequence))
    assert _told(noted) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert _told(noted) == {}
    noted.add(Loss("/a", 2, sequence=8))
    assert _told(noted) == {0: 2, 1: 2, 2: 2, 3: 2, 4: 2}


def test_losses_of_partitions_are_apart() -> None:
    """Who had read up to the loss in one partition may have lost something in another."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    noted = Losses(audiences)
    audiences.add("/*", 1, (5, 7))
    audiences.add("/*", 2, (7, 5))
    noted.add(Loss("/*", 1, partition=0, sequence=6))
    noted.add(Loss("/*", 2, partition=1, sequence=6))
    assert _told(noted) == {1: 1, 2: 2}


def test_who_leaves_the_others_is_told_what_it_lost_in_all_partitions() -> None:
    """In one sum for each pattern, and no more of what it gives up or when it is gone."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    for pattern in ("/*", "/a"):
        for handle in (1, 2, 3):
            audiences.add(pattern, handle, (5, 5))
    noted = Losses(audiences)
    for partition, count in enumerate((2, 3)):
        noted.add(Loss("/*", count, partition, sequence=6))
    noted.add(Loss("/a", 1, sequence=6))
    for handle in (1, 2, 3):
        noted.leaves(handle)
        for pattern in ("/*", "/a"):
            audiences.discard(pattern, handle)
    for pattern in ("/*", "/a"):
        noted.forget(pattern)
    noted.gone(2, "/*")
    noted.gone(3)
    noted.gone(4, "/*")
    noted.gone(4)
    assert noted
    told = {handle: {} for handle in (1, 2, 3)}
    for loss in noted.tell():
        for handle in loss.handles:
            told[handle][loss.pattern] = loss.count
    assert told == {1: {"/*": 5, "/a": 1}, 2: {"/a": 1}, 3: {}}
    assert not noted


def test_nobody_is_told_of_what_came_before_everyone() -> None:
    """A message that nobody on the link was to get is lost to nobody, and one that only some were to get to those."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    noted = Losses(audiences)
    noted.add(Loss("/a", 1, sequence=5))
    audiences.add("/a", 1, (5,))
    noted.add(Loss("/a", 1, sequence=5))
    assert _told(noted) == {}
    noted.add(Loss("/a", 1, sequence=6))
    audiences.discard("/a", 1)
    assert _told(noted) == {}


def _told(noted: Losses) -> Counter[int]:
    """How much each handle is told that it lost."""
    told: Counter[int] = Counter()
    for loss in noted.tell():
        told.update(dict.fromkeys(loss.handles, loss.count))
    return told


async def test_losses_of_clients_that_left_are_not_kept() -> None:
    """What a link that is behind will not find any more takes the same memory however many have come and gone."""
    site = Site(MemoryBench(Limits(log_messages=1)), outbox=1)
    await site.create("stays", "leaves")
    await site.subscribe("stays", "/a", "/of/**")
    async with site.attached("stays", "leaves", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        tracemalloc.start()
        try:
            await _come_and_go(site, 10)
            before = _kept()
            await _come_and_go(site, 500)
            after = _kept()
        finally:
            tracemalloc.stop()
    assert after - before < 2_000


async def _come_and_go(site: Site, times: int) -> None:
    for number in range(times):
        patterns = ("/a", f"/of/its/own/{number}")
        await site.subscribe("leaves", *patterns)
        for pattern in patterns:
            await site.publish(pattern, "1", "2", "3")
        await site.unsubscribe("leaves", *patterns)


def _kept() -> int:
    """What a link keeps of what it has yet to read, and of losses, in bytes."""
    ours = [tracemalloc.Filter(inclusive=True, filename_pattern=module.__file__) for module in (losses, outbox)]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(ours).traces)
