"""What an engine is told of the clients that are held, by links and by single callers, and what it tells them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, texts
from tests.engine.slow_store import SlowBench
from tests.support.memory import traced

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, earlier
from pixied_server.delivery.events import Batch
from pixied_server.delivery.tap import parse_cursor
from pixied_server.delivery.watch import Filter
from pixied_server.engine.abc import Delivered, EventKind
from pixied_server.errors import FieldInvalid


def delivered(site: Site, name: str) -> Delivered:
    """How far a client that is held is."""
    known = site.hub.delivered(site.ids[name])
    assert known is not None
    return known


def ends_with(progress: Progress, last: Entry, after: Entry | None = None) -> bool:
    """Whether a progress covers a message, and not the one after it."""
    return not last.is_beyond(progress) and (after is None or after.is_beyond(progress))


def batches(front: FrontEnd) -> list[Batch]:
    """All that a front-end was sent."""
    return [batch for delivery in front.deliveries for batch in delivery.batches]


async def test_a_cursor_stands_for_what_was_sent_up_to_its_batch(site: Site) -> None:
    """Of a client that confirms by itself, live or catching up, also where a delivery has batches of others."""
    await site.create("eve", "ann")
    await site.subscribe("eve", "/a", "/b")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "0")
    async with site.attached("ann") as front:
        await site.attach("eve", front, explicit=True)
        await front.read()
        for channel in ("/a", "/b", "/a"):
            await site.publish(channel, channel)
            await site.bench.settle()
        await front.read()
        sent = [batch for batch in batches(front) if front.handle_of("eve") in batch.audience.handles]
        assert [len(batch.entries) for batch in sent] == [1, 1, 1, 1]
        known = delivered(site, "eve").cursors
        assert [cursor for cursor, _ in known] == [batch.cursor for batch in sent]
        assert [cursor for cursor, _ in known] == sorted({cursor for cursor, _ in known})
        entries = [batch.entries[0] for batch in sent]
        for number, (_, progress) in enumerate(known):
            assert [entry.is_beyond(progress) for entry in entries] == [False] * (number + 1) + [True] * (3 - number)


async def test_a_live_cursor_stands_for_what_was_read_before_it(open_site: OpenSite) -> None:
    """It names all that the client got, also where the link has yet to read some of that."""
    site = await open_site(outbox=1, delivery_bytes=60_000)
    await site.create("bob", "eve")
    for name in ("bob", "eve"):
        await site.subscribe(name, "/long", "/short")
    async with site.attached("bob", window=1) as front, site.attached() as other:
        await site.publish("/short", "fills the window")
        await front.read()
        await site.publish("/long", *["x" * 500] * 150)
        await site.attach("eve", front, explicit=True)
        while len(front.texts("eve")) < 151:
            await front.ack()
            assert await front.take()
            front.receive()
        assert len(front.texts("bob")) < 151
        # Where the two channels are in different partitions, the link reads on in both of them, a part of each.
        await site.publish("/short", "live")
        await front.drain()
        assert (front.texts("eve")[-1], front.marked("eve")) == ("live", [])
        live = [batch for batch in batches(front) if batch.entries[-1].message.body == b"live"]
        await site.attach("eve", other, explicit=True, cursor=live[-1].cursor)
        await other.read()
        assert other.texts("eve") == []


async def test_a_cursor_of_marked_messages_stands_for_them_alone(site: Site) -> None:
    """What comes again and what comes for the first time are two batches, each with its cursor."""
    await site.create("eve")
    await site.queue_for("eve", "1", "2")
    await site.dequeue("eve", explicit=True)
    await site.queue_for("eve", "3")
    front = site.front_end()
    await site.attach("eve", front, explicit=True)
    await front.read()
    again, new = batches(front)
    assert (len(again.entries), again.redelivered, len(new.entries), new.redelivered) == (2, True, 1, False)
    first, second = delivered(site, "eve").cursors
    assert (first[0], second[0]) == (again.cursor, new.cursor)
    assert ends_with(first[1], again.entries[-1], new.entries[0])
    assert ends_with(second[1], new.entries[0])
    await front.lose()


@pytest.mark.parametrize("behind", [True, False])
async def test_the_last_four_cursors_are_remembered(site: Site, *, behind: bool) -> None:
    """Of a client on a link and of a Deliver, however many they were given, and whether they had to read on or not."""
    await site.create("eve", "bob")
    front = site.front_end()
    await site.attach("eve", front, explicit=True)
    await front.read()
    async with site.tapped("bob", explicit=True) as tap:
        cursors = []
        for number in range(6):
            for name in ("eve", "bob"):
                await site.queue_for(name, str(number))
            await site.bench.settle()
            await front.read()
            cursors.append(parse_cursor((await tap.take(messages=10, size=1_000)).cursor))
            if behind and number == 3:
                for name in ("eve", "bob"):
                    site.hub.behind(site.ids[name])
        assert [cursor for cursor, _ in delivered(site, "bob").cursors] == cursors[-4:]
        assert [cursor for cursor, _ in delivered(site, "eve").cursors] == [one.cursor for one in batches(front)[-4:]]
    await front.lose()


async def test_a_client_that_does_not_confirm_by_itself_may_name_its_links_last_cursor(site: Site) -> None:
    """It stands for all that was sent; before anything was sent there is none."""
    await site.create("ann")
    async with site.attached("ann") as front:
        assert [cursor for cursor, _ in delivered(site, "ann").cursors] == [0]
        await site.queue_for("ann", "1")
        await site.bench.settle()
        await front.read()
        ((cursor, progress),) = delivered(site, "ann").cursors
        assert cursor == batches(front)[0].cursor
        assert ends_with(progress, batches(front)[0].entries[0])
        assert delivered(site, "ann").sent == progress
        assert batches(front)[0].entries[0].is_beyond(delivered(site, "ann").confirmed)


async def test_a_link_tells_an_engine_what_it_has_confirmed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is told who confirms for a client: its link, or nobody where the client does by itself."""
    checkpoints: list[Any] = []
    claim = site.engine.claim

    async def noted(*args: Any, checkpoint: Any = None, **named: Any) -> Any:
        checkpoints.append(checkpoint)
        return await claim(*args, checkpoint=checkpoint, **named)

    monkeypatch.setattr(site.engine, "claim", noted)
    await site.create("ann", "eve")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.attach("eve", front, explicit=True)
        await front.read()
        link, nobody = checkpoints
        assert nobody is None
        assert link.confirmed() == NOTHING
        for text in "12":
            await site.publish("/a", text)
            await site.bench.settle()
            await front.read()
        first, second = (batch.entries[0] for batch in batches(front))
        assert link.confirmed() == NOTHING
        await front.ack(1)
        assert ends_with(link.confirmed(), first, second)
        await front.ack(2)
        assert ends_with(link.confirmed(), second)


async def test_what_an_engine_could_not_announce_is_told_at_once(site: Site) -> None:
    """Those who subscribed before it are told how many messages they lost; a Deliver looks by itself."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann") as front, site.tapped("bob") as tap:
        await tap.take(messages=1, size=1)
        waiting = asyncio.ensure_future(tap.wait())
        await site.bench.settle()
        assert not waiting.done()
        site.hub.missed(Loss("/a", 3, sequence=1 << 40))
        site.hub.missed(Loss("/a", 1, sequence=1 << 41))
        site.hub.missed(Loss("/b", 1, sequence=1 << 40))
        await site.bench.settle()
        assert waiting.done()
        await front.read()
        assert front.lost == {"ann": {"/a": 4}}
        assert site.hub.counters.lost == 4


async def test_what_a_link_will_find_out_by_itself_is_told_once(open_site: OpenSite) -> None:
    """A loss that an engine announces of a log that the link has yet to read is told when it has been read."""
    site = await open_site(Limits(log_messages=2), outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        loss = await _loss(site, front, 2)
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"12345")
        await site.bench.settle()
        site.hub.missed(replace(loss, sequence=loss.sequence + 4))
        await front.drain()
        assert front.texts("ann") == [*"10145"]
        assert front.lost == {"ann": {"/a": 2}}


async def _loss(site: Site, front: FrontEnd, count: int) -> Loss:
    """So many messages of /a are gone, the youngest of them with one that was delivered."""
    await site.publish("/a", "1")
    await site.bench.settle()
    await front.drain()
    entry = batches(front)[-1].entries[-1]
    return Loss("/a", count, entry.partition, entry.sequence)


@pytest.mark.parametrize("then", ["reads", "unsubscribes", "leaves"])
async def test_who_falls_back_is_told_what_it_had_lost(site: Site, then: str) -> None:
    """Unless it gives the pattern up, or leaves: then nobody is, also not who gets its handle."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        site.hub.missed(await _loss(site, front, 3))
        site.hub.behind(site.ids["ann"])
        if then == "unsubscribes":
            await site.unsubscribe("ann", "/a")
        if then == "leaves":
            await front.detach("ann")
            front.receive()
        await front.read()
        assert front.lost.pop("ann", {}) == ({"/a": 3} if then == "reads" else {})
        assert front.lost == {"bob": {"/a": 3}}


async def test_a_handle_brings_no_losses_of_its_former_client(site: Site) -> None:
    """What a client that fell back was not told yet is not told to the next one under its handle."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        site.hub.missed(await _loss(site, front, 3))
        site.hub.behind(site.ids["ann"])
        handle = front.handle_of("ann")
        await front.link.detach(handle)
        await site.destroy("ann")
        before = site.hub.counters.lost
        await front.read()
        assert await site.attach("bob", front) == handle
        await front.read()
        assert not front.lost
        assert site.hub.counters.lost == before


async def test_a_single_caller_waits_until_there_is_more(site: Site) -> None:
    """With something left to take it does not wait, with nothing left it does."""
    await site.create("ann")
    async with site.tapped("ann") as tap:
        await site.queue_for("ann", *"123")
        await site.bench.settle()
        taken = []
        for _ in range(3):
            async with asyncio.timeout(30):
                await tap.wait()
            taken += texts(await tap.take(messages=1, size=1_000))
        assert taken == [*"123"]
        waiting = asyncio.ensure_future(tap.wait())
        await site.bench.settle()
        assert not waiting.done()
        waiting.cancel()


async def test_to_take_more_confirms_what_was_handed_on(site: Site) -> None:
    """And not what was only taken."""
    await site.create("ann")
    async with site.tapped("ann") as tap:
        await site.queue_for("ann", "1")
        await site.bench.settle()
        left = []
        for handed_on in (False, True, False):
            await tap.take(messages=10, size=1_000)
            left.append((await site.engine.holdings()).messages)
            if handed_on:
                tap.all_taken()
        assert left == [1, 1, 0]


async def test_what_a_single_caller_takes_is_counted_and_shown(open_site: OpenSite) -> None:
    """Message by message, as taken by one client through Deliver, and so are the messages that it lost."""
    site = await open_site(Limits(log_messages=2))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    with site.watchers.watching(Filter(frozenset({EventKind.DELIVERED}))) as watcher:
        async with site.tapped("ann", explicit=True) as tap:
            for _ in range(2):
                await site.publish("/a", *"12345")
                await site.bench.settle()
                await tap.take(messages=10, size=10_000)
        await site.bench.settle()
        events = (await watcher.take(100)).events
    assert [(one.front_end, one.recipients, one.channel) for one in events] == [("Deliver", 1, "/a")] * 4
    counters = site.hub.counters
    assert (counters.delivered, counters.redelivered, counters.lost) == (4, 0, 6)


async def test_who_follows_nothing_any_more_leaves_nothing_behind(site: Site) -> None:
    """However many channels a client on a link, or a Deliver, subscribed to for a while."""
    await site.create("ann", "bob")
    async with site.attached("ann"), site.tapped("bob"):
        with traced() as kept:
            for number in range(60):
                if number == 10:
                    before = kept("delivery")
                for name in ("ann", "bob"):
                    patterns = [f"/a/channel/of/its/own/{number}/{one}" for one in range(10)]
                    await site.subscribe(name, *patterns)
                    await site.unsubscribe(name, *patterns)
                await site.bench.settle()
            assert kept("delivery") - before < 3_000


@pytest.mark.parametrize(("text", "cursor"), [("", 0), ("a", 10), ("0123456789abcdef", 0x123456789ABCDEF)])
def test_a_cursor_is_a_number(text: str, cursor: int) -> None:
    """In up to 16 hexadecimal digits, or 0 for none."""
    assert parse_cursor(text) == cursor


@pytest.mark.parametrize("text", ["00123456789abcdef", "A", "X", "1x", " 1"])
def test_nothing_else_is_a_cursor(text: str) -> None:
    """Anything else is refused, and the field is named."""
    with pytest.raises(FieldInvalid) as refused:
        parse_cursor(text)
    assert refused.value.field == "ack_cursor"


class _SlowSite(Site):
    bench: SlowBench


@pytest.fixture
def slow_site(site: Site) -> _SlowSite:
    """A site whose store answers when a test says so."""
    return _SlowSite(SlowBench(site.bench), delivery_bytes=1)


def _cap(site: _SlowSite, monkeypatch: pytest.MonkeyPatch, held: Any, upto: Callable[[], Progress]) -> None:
    """From now on a client counts as having got no more than that, for it has a subscription that was not read."""
    monkeypatch.setattr(held.claim, "capped", lambda progress: earlier(progress, upto()), raising=False)
    site.hub.behind(held.claim.client_id)
    monkeypatch.undo()


async def test_a_caller_that_is_behind_has_got_no_more_than_its_claim_says(
    slow_site: _SlowSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has confirmed, and its cursors, stand for no more than that, also when the claim has read on."""
    site = slow_site
    await site.create("ann")
    async with site.tapped("ann") as tap:
        seen = []
        for number in range(3):
            await site.queue_for("ann", str(number))
            await site.bench.settle()
            seen += (await tap.take(messages=10, size=1_000)).entries
        tap.all_taken()
        reached = delivered(site, "ann").cursors[1][1]
        assert ends_with(delivered(site, "ann").confirmed, seen[2])
        _cap(site, monkeypatch, tap, lambda: reached)
        now = delivered(site, "ann")
        assert ends_with(now.confirmed, seen[1], seen[2])
        assert [ends_with(progress, seen[1], seen[2]) for _, progress in now.cursors] == [False, True, True]
        assert ends_with(now.sent, seen[2])


@pytest.mark.parametrize("live", [True, False])
async def test_a_client_that_is_behind_has_got_no_more_than_its_claim_says(
    slow_site: _SlowSite, monkeypatch: pytest.MonkeyPatch, *, live: bool
) -> None:
    """The same of a client on a link, live or catching up: what was sent beyond that counts as sent, and no more."""
    site = slow_site
    await site.create("eve")
    if not live:
        await site.queue_for("eve", *"345678")
    front = site.front_end()
    await site.attach("eve", front, explicit=True)
    if live:
        await front.read()
    for number in range(3):
        if live:
            await site.queue_for("eve", str(number))
            await site.bench.settle()
        await front.take()
        front.receive()
    await front.client_ack("eve")
    seen = [entry for batch in batches(front) for entry in batch.entries]
    held: Any = site.hub.owner_of(site.ids["eve"])
    assert held.live is live
    reached = delivered(site, "eve").cursors[1][1]
    assert ends_with(delivered(site, "eve").confirmed, seen[2])
    _cap(site, monkeypatch, held, lambda: reached)
    now = delivered(site, "eve")
    assert ends_with(now.confirmed, seen[1], seen[2])
    assert [ends_with(progress, seen[1], seen[2]) for _, progress in now.cursors] == [False, True, True]
    assert ends_with(now.sent, seen[2])
    await front.lose()


async def test_a_caller_that_is_behind_follows_what_its_claim_says(
    slow_site: _SlowSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a pattern whose subscription was not announced: what is published to it wakes the caller."""
    site = slow_site
    await site.create("ann", "bob")
    await site.subscribe("bob", "/new")
    async with site.attached("bob"), site.tapped("ann") as tap:
        await tap.take(messages=1, size=1)
        monkeypatch.setattr(tap.claim, "patterns", lambda: ["/new"], raising=False)
        site.hub.behind(site.ids["ann"])
        async with asyncio.timeout(30):
            await tap.wait()
        await tap.take(messages=1, size=1)
        waiting = asyncio.ensure_future(tap.wait())
        await site.publish("/new", "1")
        await site.bench.settle()
        assert waiting.done()
