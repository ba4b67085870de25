"""The seam between what is read from logs and what comes live: where a hole or a repeat would hide."""

import asyncio

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, texts

from pixied_server.delivery.events import DetachReason

TINY = [1, 2, 3, 7]


@pytest.mark.parametrize("outbox", TINY)
async def test_a_full_outbox_loses_nothing(open_site: OpenSite, outbox: int) -> None:
    """What did not fit into a slow link's outbox is read from the logs: in order, once, of all its patterns."""
    site = await open_site(outbox=outbox)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/**")
    await site.subscribe("bob", "/b")
    async with site.attached("ann", "bob", window=1) as front:
        for number in range(0, 20, 2):
            await site.publish("/a", str(number))
            await site.publish("/b", str(number + 1))
            if number % 6 == 0:
                await front.read()
        await front.drain()
        assert front.numbers("ann") == list(range(20))
        assert front.texts("bob") == [str(number) for number in range(1, 20, 2)]
        assert not front.lost


@pytest.mark.parametrize("delivery_bytes", [1, 700, 2_000])
async def test_catching_up_while_messages_come(open_site: OpenSite, delivery_bytes: int) -> None:
    """A client that reads a long backlog in small pieces, while more is published, sees no hole and no repeat."""
    site = await open_site(delivery_bytes=delivery_bytes)
    await site.create("ann", "live")
    for name in ("ann", "live"):
        await site.subscribe(name, "/a")
    await site.publish("/a", *map(str, range(20)))
    async with site.attached("live") as front:
        await front.drain()
        await site.attach("ann", front)
        for number in range(20, 40):
            await site.publish("/a", str(number))
            await front.take()
            front.receive()
            await front.ack()
        await front.drain()
        assert front.texts("ann") == front.texts("live") == [str(number) for number in range(40)]


async def test_joining_a_link_that_is_behind(open_site: OpenSite) -> None:
    """A client that joins a link with messages still to be sent gets its own part of them once."""
    site = await open_site(outbox=2)
    await site.create("old", "new")
    for name in ("old", "new"):
        await site.subscribe(name, "/a")
    async with site.attached("old", window=1) as front:
        await site.publish("/a", *"012345")
        await front.read()
        await site.publish("/a", *"6789")
        await site.attach("new", front)
        await site.publish("/a", "end")
        await front.drain()
        for name in ("old", "new"):
            assert front.texts(name) == [*"0123456789", "end"]


async def test_subscriptions_change_while_behind(open_site: OpenSite) -> None:
    """Of a client that is catching up, a new pattern counts from then on, and one given up counts no more."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b")
    await site.publish("/a", "a1")
    await site.publish("/b", "b1")
    await site.publish("/c", "c1")
    front = site.front_end()
    await site.attach("ann", front)
    await front.take()
    front.receive()
    await site.subscribe("ann", "/c")
    await site.unsubscribe("ann", "/b")
    await site.publish("/b", "b2")
    await site.publish("/c", "c2")
    await site.publish("/a", "a2")
    await front.drain()
    # Which channel is read first is not promised: what was published to /b may have come before it was given up.
    assert [text for text in front.texts("ann") if text[0] == "a"] == ["a1", "a2"]
    assert [text for text in front.texts("ann") if text[0] == "c"] == ["c2"]
    assert "b2" not in front.texts("ann")


async def test_a_new_pattern_brings_back_nothing_old(site: Site) -> None:
    """Messages that wait for others on the link, from before a client behind it subscribed, are not for that client."""
    await site.create("ann", "other")
    for name in ("ann", "other"):
        await site.subscribe(name, "/**")
    async with site.attached("other", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", "1")
        await site.attach("ann", front)
        await site.subscribe("ann", "/a")
        await front.drain()
        assert front.texts("ann") == front.texts("other") == ["0", "1"]


async def test_subscriptions_change_while_the_link_is_behind(open_site: OpenSite) -> None:
    """The same of a live client on a link whose outbox is full."""
    site = await open_site(outbox=1)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a", "/b")
    async with site.attached("ann", "bob", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", "1")
        await site.publish("/b", "2")
        await site.publish("/c", "3")
        await site.unsubscribe("ann", "/b")
        await site.subscribe("ann", "/c")
        await site.publish("/b", "4")
        await site.publish("/c", "5")
        await front.drain()
        assert front.numbers("ann") == [0, 1, 5]
        assert front.numbers("bob") == [0, 1, 2, 4]


@pytest.mark.parametrize("outbox", TINY)
async def test_queued_messages_on_a_full_link(open_site: OpenSite, outbox: int) -> None:
    """Queued messages and those of channels stay in order and come once, however little the link can keep."""
    site = await open_site(outbox=outbox)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob", window=1) as front:
        for number in range(0, 16, 2):
            await site.publish("/a", str(number))
            await site.queue_for("ann", str(number + 1))
            if number == 6:
                await front.read()
        await front.drain()
        assert front.numbers("ann") == list(range(16))
        assert front.texts("bob") == [str(number) for number in range(0, 16, 2)]
        assert front.marked("ann") == []


async def test_a_takeover_of_what_was_not_confirmed(site: Site) -> None:
    """The last attach wins: the loser is notified; messages it did not confirm come marked, and the rest unmarked."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as old, site.attached() as new:
        await site.publish("/a", "1")
        await old.drain()
        await site.publish("/a", "2")
        await old.read()
        await site.publish("/a", "3")
        await site.attach("ann", new)
        await site.publish("/a", "4")
        await old.read()
        await new.read()
        assert old.texts("ann") == ["1", "2"]
        assert old.detached == [("ann", DetachReason.TAKEN_OVER, "")]
        assert new.texts("ann") == ["2", "3", "4"]
        assert new.marked("ann") == ["2"]
        assert site.hub.counters.redelivered == 1


async def test_a_stale_stream_confirms_nothing(site: Site) -> None:
    """What a link confirms after it has lost a client does not count for that client."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as old, site.attached() as new:
        await site.publish("/a", "1")
        await old.read()
        await site.attach("ann", new, explicit=True)
        await new.read()
        await old.client_ack("ann")
        await old.ack()
        await new.lose()
    assert texts(await site.dequeue("ann")) == ["1"]


async def test_a_takeover_on_the_same_link(site: Site) -> None:
    """A client attached again under another handle is taken over from the first, in order and marked."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1")
        await front.read()
        assert await site.attach("ann", front) == 2
        await site.publish("/a", "2")
        await front.read()
        assert front.texts("ann") == ["1", "1", "2"]
        assert front.marked("ann") == ["1"]
        assert front.attached == {2: "ann"}


async def test_a_lost_stream_loses_nothing(site: Site) -> None:
    """What was in flight when a stream broke comes again, marked; what was confirmed does not."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end()
    await site.attach("ann", front)
    await front.read()
    for number in range(6):
        await site.publish("/a", str(number))
        await front.take()
        if number < 4:
            front.receive()
    await front.ack(3)
    await front.lose()
    await site.publish("/a", "6")
    async with site.attached("ann") as after:
        assert after.texts("ann") == ["3", "4", "5", "6"]
        assert after.marked("ann") == ["3", "4", "5"]


async def test_explicit_clients_confirm_by_themselves(site: Site) -> None:
    """In explicit mode the link's confirmations open the window and nothing else; the client's confirm its messages."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    front = site.front_end(window=1)
    await site.attach("ann", front, explicit=True)
    await site.attach("bob", front)
    await front.read()
    for number in range(4):
        await site.publish("/a", str(number))
        await front.drain()
    await front.client_ack("ann", 2)
    await front.lose()
    async with site.attached("ann", "bob") as after:
        assert after.texts("ann") == after.marked("ann") == ["2", "3"]
        assert after.texts("bob") == []


async def test_a_client_may_confirm_ahead_of_its_link(site: Site) -> None:
    """In automatic mode a client's own confirmation counts before the link's."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end()
    await site.attach("ann", front)
    await site.publish("/a", "1")
    await front.read()
    await front.client_ack("ann")
    await front.lose()
    assert texts(await site.dequeue("ann")) == []


async def test_a_backlog_is_confirmed_piece_by_piece(open_site: OpenSite) -> None:
    """A stream that breaks while a client catches up has confirmed what it confirmed, and the rest comes again."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *"012345")
    front = site.front_end(window=4)
    await site.attach("ann", front)
    await front.read()
    await front.ack(2)
    await front.lose()
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.redelivered) == ([*"2345"], 2)


async def test_what_was_confirmed_stays_confirmed_while_a_client_catches_up(open_site: OpenSite) -> None:
    """What a stream has confirmed does not come again, though further pieces of the backlog were sent since."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *"012345")
    front = site.front_end(window=2)
    await site.attach("ann", front)
    await front.read()
    await front.ack()
    await front.read()
    assert front.texts("ann") == [*"0123"]
    await front.lose()
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.redelivered) == ([*"2345"], 2)


async def test_a_stream_that_breaks_while_its_link_reads_loses_nothing(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that were taken for a delivery which never went out come to the client's next owner."""
    site = await open_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end()
    await site.attach("ann", front)
    await site.publish("/a", "0")
    await front.drain()
    await site.publish("/a", "1", "2")
    await site.bench.settle()
    reached = asyncio.Event()

    async def unanswered(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(site.engine, "read", unanswered)
        taking = asyncio.ensure_future(front.link.take())
        async with asyncio.timeout(30):
            await reached.wait()
        taking.cancel()
        await asyncio.wait([taking])
    await front.lose()
    assert texts(await site.dequeue("ann")) == ["1", "2"]


async def test_a_log_that_is_cut_under_a_client_that_is_away(open_site: OpenSite) -> None:
    """A client that comes back too late is told, by pattern, how many messages it has lost, and gets the rest."""
    site = await open_site(Limits(log_messages=3))
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b")
    await site.subscribe("bob", "/a")
    await site.publish("/a", *"012345")
    await site.publish("/b", "6")
    await site.queue_for("ann", *"789xy")
    async with site.attached("ann") as front:
        assert front.lost["ann"] == {"/a": 3, "": 2}
        assert front.texts("ann") == ["3", "4", "5", "6", "9", "x", "y"]
    taken = await site.dequeue("bob")
    assert [(loss.pattern, loss.count) for loss in taken.losses] == [("/a", 3)]
    assert site.hub.counters.lost == 8


async def test_a_log_that_is_cut_under_a_slow_link(open_site: OpenSite) -> None:
    """A link that is behind by more than a log holds is told exactly what each of its clients lost."""
    site = await open_site(Limits(log_messages=3), outbox=2)
    await site.create("ann", "bob", "late")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob", "late", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"12345678")
        await site.subscribe("late", "/a")
        await front.drain()
        assert front.texts("ann") == front.texts("bob") == ["0", "1", "2", "6", "7", "8"]
        assert front.lost["ann"] == front.lost["bob"] == {"/a": 3}
        assert "late" not in front.lost
    assert site.hub.counters.lost == 6


async def test_a_loss_is_told_to_those_who_lost(open_site: OpenSite) -> None:
    """A client that has read by itself what a slow link was still to read has lost nothing when that is cut."""
    site = await open_site(Limits(log_messages=4), outbox=1)
    await site.create("slow", "new")
    for name in ("slow", "new"):
        await site.subscribe(name, "/a")
    async with site.attached("slow", window=1) as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"123")
        await site.attach("new", front)
        await site.publish("/a", *"456")
        await front.drain()
        assert front.lost["slow"] == {"/a": 1}
        assert front.texts("slow") == ["0", "1", *"3456"]
        assert front.lost["new"] == {"/a": 3}
        assert front.texts("new") == [*"3456"]


async def test_a_gap_that_was_in_flight_is_told_again(open_site: OpenSite) -> None:
    """A loss is not forgotten when the stream that should tell it breaks, even if nothing else was to be sent."""
    site = await open_site(Limits(log_age=1.0))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1", "2")
    await site.elapse(5.0)
    front = site.front_end()
    await site.attach("ann", front)
    await front.take()
    await front.lose()
    async with site.attached("ann") as after:
        assert after.lost["ann"] == {"/a": 2}
        await after.ack()
    assert (await site.dequeue("ann")).losses == []


async def test_a_message_larger_than_a_log_is_not_lost_in_silence(open_site: OpenSite) -> None:
    """A message that no log can keep still comes to a link that is ready, and is a gap to everyone else."""
    site = await open_site(Limits(log_bytes=1_000), outbox=1)
    await site.create("live", "away")
    for name in ("live", "away"):
        await site.subscribe(name, "/a", "/*")
    async with site.attached("live", window=1) as front:
        await site.publish("/a", "x" * 2_000)
        held = await site.engine.holdings()
        assert (held.messages, held.bytes) == (0, 0)
        await front.read()
        assert front.texts("live") == ["x" * 2_000]
        await site.publish("/a", "1")
        await site.publish("/a", "y" * 2_000)
        await site.bench.settle()
        await front.drain()
        assert front.texts("live")[1:] == ["1"]
        assert front.lost["live"] == {"/a": 1, "/*": 1}
    losses = {loss.pattern: loss.count for loss in (await site.dequeue("away")).losses}
    assert losses == {"/a": 3, "/*": 3}


async def test_all_logs_together_are_bounded(open_site: OpenSite) -> None:
    """Beyond all memory the oldest messages of all go first, and are announced."""
    site = await open_site(Limits(total_bytes=3_600))
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b", "/**")
    await site.publish("/a", "0", "1")
    for number in range(2, 14):
        await site.publish("/b", str(number))
        held = await site.engine.holdings()
        assert held.bytes <= 3_600
    ann, bob = await site.dequeue("ann"), await site.dequeue("bob")
    assert (texts(ann), [(loss.pattern, loss.count) for loss in ann.losses]) == ([], [("/a", 2)])
    kept = texts(bob)
    assert kept == [str(number) for number in range(14 - len(kept), 14)]
    assert {loss.pattern: loss.count for loss in bob.losses} == {"/b": 12 - len(kept), "/**": 14 - len(kept)}


async def test_old_messages_go(open_site: OpenSite) -> None:
    """Messages older than the bound are taken away, by and by, without a publish."""
    site = await open_site(Limits(log_age=10.0))
    await site.create("ann", timeout=3_600.0)
    await site.subscribe("ann", "/a")
    await site.publish("/a", "old")
    await site.elapse(8.0)
    await site.publish("/a", "young")
    await site.elapse(5.0)
    assert (await site.engine.holdings()).messages == 1
    taken = await site.dequeue("ann")
    assert (texts(taken), [loss.count for loss in taken.losses]) == (["young"], [1])


async def test_held_messages_do_not_grow_with_readers(site: Site) -> None:
    """A message takes the same memory for one subscriber and for a hundred, away or attached."""
    await site.create(*map(str, range(100)))
    await site.subscribe("0", "/a")
    await site.publish("/a", "1")
    one = (await site.engine.holdings()).bytes
    for name in map(str, range(1, 100)):
        await site.subscribe(name, "/a")
    await site.publish("/a", "2")
    assert (await site.engine.holdings()).bytes == 2 * one


@pytest.mark.parametrize("explicit", [True, False])
async def test_who_falls_back_reads_on_from_what_was_sent(open_site: OpenSite, *, explicit: bool) -> None:
    """A live client that has to read by itself gets nothing again of what it was sent and has not confirmed."""
    site = await open_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end(window=2)
    await site.attach("ann", front, explicit=explicit)
    await front.read()
    for text in "01":
        await site.publish("/a", text)
        await front.read()
    await site.publish("/a", "2")
    await site.queue_for("ann", "3")
    await front.drain()
    await site.publish("/a", "4")
    await front.drain()
    got = front.texts("ann")
    # Between a channel and what is queued for one client no order is promised.
    assert [text for text in got if text != "3"] == [*"0124"]
    assert got.count("3") == 1
    assert front.marked("ann") == []


@pytest.mark.parametrize(("acked", "before"), [(0, True), (1, True), (2, True), (2, False)])
async def test_what_was_confirmed_counts_for_who_fell_back(open_site: OpenSite, acked: int, *, before: bool) -> None:
    """Confirmed before or after the client falls back, it does not come again; the rest does, marked if it was sent."""
    site = await open_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=2) as front:
        for text in "01":
            await site.publish("/a", text)
            await front.read()
        if before:
            await front.ack(acked)
        await site.publish("/a", "2")
        await site.queue_for("ann", "3")
        await site.bench.settle()
        if not before:
            await front.ack(acked)
        assert (await site.look_at("ann")).pending == 4 - acked
    async with site.attached("ann") as after:
        assert after.texts("ann") == [*"0123"[acked:]]
        assert after.marked("ann") == [*"01"[acked:]]


async def test_a_client_with_nothing_to_read_on_keeps_what_it_confirms(open_site: OpenSite) -> None:
    """What is confirmed after a client has subscribed to more counts, though no message comes after that."""
    site = await open_site()
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1")
        await front.read()
        await site.subscribe("ann", "/b")
        await front.read()
        await front.ack()
        assert (await site.look_at("ann")).pending == 0
    assert texts(await site.dequeue("ann")) == []


async def test_own_messages_that_wait_when_a_client_falls_back_come_once(open_site: OpenSite) -> None:
    """A client that reads on in several pieces gets an own message from its inbox, and not from the link as well."""
    site = await open_site(outbox=3)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        await site.publish("/a", "first")
        await front.read()
        await site.queue_for("ann", "own")
        await site.bench.settle()
        # More than a client that is behind reads at a time.
        large = [letter * 60_000 for letter in "abc"]
        await site.publish("/a", *large)
        await site.queue_for("ann", "last")
        await site.bench.settle()
        await front.drain()
        assert sorted(front.texts("ann")) == sorted(["first", "own", *large, "last"])
        assert [text for text in front.texts("ann") if text in large] == large
        assert front.marked("ann") == []


async def test_who_falls_back_reads_what_the_link_was_to_read(open_site: OpenSite) -> None:
    """The only client of a link that has yet to read messages reads them by itself, and the link does not."""
    site = await open_site(outbox=1, delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        await site.publish("/a", *"123")
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == ["1"]
        await site.queue_for("ann", "4")
        await front.drain()
        assert front.numbers("ann") == [1, 2, 3, 4]
        assert front.marked("ann") == []


@pytest.mark.parametrize("acked", [0, 2, 6])
async def test_who_is_ahead_of_its_link_is_sent_nothing_again_unmarked(open_site: OpenSite, acked: int) -> None:
    """A client that has read by itself what its link has yet to read takes that with it when it leaves."""
    site = await open_site(outbox=1, delivery_bytes=1)
    await site.create("slow", "ahead")
    for name in ("slow", "ahead"):
        await site.subscribe(name, "/a")
    async with site.attached("slow") as front:
        await site.publish("/a", *"012345")
        await site.bench.settle()
        await site.attach("ahead", front)
        for _ in range(6):
            await front.take()
            front.receive()
        assert (front.texts("ahead"), front.texts("slow")) == ([*"012345"], [])
        await front.ack(acked)
        async with site.attached("ahead") as other:
            assert other.texts("ahead") == other.marked("ahead") == [*"012345"[acked:]]
        await front.drain()
        assert front.texts("slow") == [*"012345"]
        assert front.texts("ahead") == [*"012345"]
