"""What happens while a store is read, for a client that catches up or for a link that is behind, is not lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from tests.engine.benches import Limits, OpenBench
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, reason_of, texts
from tests.engine.slow_store import LINK, SlowBench, claim_by, confirm_of, release_of

from pixied_server.delivery import catch_up
from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.link import AttachTerms
from pixied_server.errors import LimitClients, Reason, StreamProtocol


class SlowSite(Site):
    """A site whose store answers when a test says so."""

    bench: SlowBench


OpenSlowSite = Callable[..., Awaitable[SlowSite]]


@pytest.fixture
async def open_slow_site(open_bench: OpenBench) -> AsyncIterator[OpenSlowSite]:
    """How to open sites whose stores answer when a test says so."""
    async with AsyncExitStack() as stack:

        async def opened(limits: Limits | None = None, **settings: int) -> SlowSite:
            bench = await stack.enter_async_context(open_bench(limits or Limits()))
            return SlowSite(SlowBench(bench), **settings)

        yield opened


@asynccontextmanager
async def reading(site: SlowSite, front: FrontEnd, name: str = LINK) -> AsyncIterator[None]:
    """A link puts a delivery together, and what it read for a client, or for itself, is not answered meanwhile."""
    async with site.bench.holding_back(site.ids.get(name, name), front.link.take()) as taking:
        yield
    front.send(taking.result())
    front.receive()


@pytest.fixture
async def site(open_slow_site: OpenSlowSite) -> SlowSite:
    """A site whose store answers when a test says so."""
    return await open_slow_site()


@pytest.mark.parametrize("pending", [[], ["0"]])
async def test_what_is_published_while_a_client_catches_up_arrives(site: SlowSite, pending: list[str]) -> None:
    """A message that no read of the client saw comes live, once."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/**")
    await site.publish("/a", *pending)
    front = site.front_end()
    await site.attach("ann", front)
    async with reading(site, front, "ann"):
        await site.publish("/a", "1")
        await site.publish("/b", "2")
    await front.drain()
    assert front.numbers("ann") == [*map(int, pending), 1, 2]
    assert front.marked("ann") == []


async def test_more_clients_than_are_read_for_at_once_miss_nothing(
    site: SlowSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose turn comes with a later delivery gets what was published while others were read for."""
    monkeypatch.setattr(catch_up, "_SLICE", 2)
    names = ["ann", "bob", "cid", "dan", "eve"]
    await site.create(*names)
    front = site.front_end()
    for name in names:
        await site.subscribe(name, "/a")
        await site.queue_for(name, "own")
        await site.attach(name, front)
    async with reading(site, front, "bob"):
        await site.publish("/a", "1")
    await site.publish("/a", "2")
    await front.drain()
    for name in names:
        assert front.texts(name) == ["own", "1", "2"]


async def test_what_is_queued_for_a_client_while_it_catches_up_arrives(site: SlowSite) -> None:
    """The same of a message for the client alone."""
    await site.create("ann")
    await site.queue_for("ann", "0")
    front = site.front_end()
    await site.attach("ann", front)
    async with reading(site, front, "ann"):
        await site.queue_for("ann", "1")
    await front.drain()
    assert front.texts("ann") == ["0", "1"]
    assert front.marked("ann") == []


async def test_a_subscription_while_a_client_catches_up_counts(site: SlowSite) -> None:
    """What is published to a new pattern after Subscribe was answered arrives, and nothing from before it."""
    await site.create("ann", "bob")
    await site.subscribe("bob", "/b")
    async with site.attached("bob") as front:
        await site.attach("ann", front)
        async with reading(site, front, "ann"):
            await site.publish("/b", "1")
            await site.subscribe("ann", "/b", "/c")
            await site.publish("/b", "2")
            await site.publish("/c", "3")
        await front.drain()
        await site.publish("/c", "4")
        await front.drain()
        assert front.numbers("ann") == [2, 3, 4]
        assert front.texts("bob") == ["1", "2"]


async def test_a_subscription_that_ends_while_a_client_catches_up_is_over(site: SlowSite) -> None:
    """What is published after Unsubscribe was answered does not arrive."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a", "/b")
    async with site.attached("bob") as front:
        await site.attach("ann", front)
        async with reading(site, front, "ann"):
            await site.publish("/a", "1")
            await site.unsubscribe("ann", "/b")
            await site.publish("/b", "2")
        await site.publish("/b", "3")
        await front.drain()
        assert front.texts("ann") == ["1"]
        assert front.numbers("bob") == [1, 2, 3]


async def test_what_was_read_for_a_client_that_is_taken_over_is_not_sent(site: SlowSite) -> None:
    """Its new owner gets all of it, unmarked, and its old link nothing."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    old, new = site.front_end(), site.front_end()
    await site.attach("ann", old)
    async with reading(site, old, "ann"):
        await site.attach("ann", new)
        await site.publish("/a", "2")
    await old.drain()
    await new.drain()
    assert old.texts("ann") == []
    assert [reason for _, reason, _ in old.detached] == [DetachReason.TAKEN_OVER]
    assert new.texts("ann") == ["1", "2"]
    assert new.marked("ann") == []


async def test_what_was_read_for_a_client_that_is_detached_is_not_sent(site: SlowSite) -> None:
    """Nor is what comes then; it waits for the link that attaches the client next."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    front = site.front_end()
    await site.attach("ann", front)
    async with reading(site, front, "ann"):
        await front.detach("ann")
        await site.publish("/a", "2")
    await front.drain()
    assert front.texts("ann") == []
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.redelivered) == (["1", "2"], 0)


@pytest.mark.parametrize("outbox", [1, 2])
async def test_what_is_published_while_a_link_reads_on_arrives(open_slow_site: OpenSlowSite, outbox: int) -> None:
    """What comes while a full link reads its logs follows what it read, in order and once."""
    site = await open_slow_site(outbox=outbox)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b")
    await site.subscribe("bob", "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", *"1234")
        async with reading(site, front):
            await site.publish("/a", "5")
            await site.publish("/b", "6")
        await site.publish("/a", "7")
        await front.drain()
        assert front.numbers("ann") == [1, 2, 3, 4, 5, 6, 7]
        assert front.texts("bob") == [*"123457"]
        assert front.marked("ann") == front.marked("bob") == []


async def test_what_is_queued_for_a_client_while_its_link_reads_on_arrives(open_slow_site: OpenSlowSite) -> None:
    """A client's own message comes once, and so does what the link read for it meanwhile."""
    site = await open_slow_site(outbox=1)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", *"123")
        async with reading(site, front):
            await site.queue_for("ann", "4")
            await site.publish("/a", "5")
        await front.drain()
        assert front.numbers("ann") == [1, 2, 3, 4, 5]
        assert front.texts("bob") == [*"1235"]
        assert front.marked("ann") == []


@pytest.mark.parametrize("confirmed", [1, 2])
async def test_what_is_in_hand_when_a_client_falls_back_is_confirmed_with_its_delivery(
    open_slow_site: OpenSlowSite, confirmed: int
) -> None:
    """A message in a delivery that is being put together is confirmed by that delivery's number, and by none before."""
    site = await open_slow_site(outbox=1)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    async with site.attached("ann", "bob") as front:
        await site.publish("/a", "0")
        await front.drain()
        await site.publish("/a", "1")
        await site.bench.settle()
        await site.publish("/b", "2")
        await site.bench.settle()
        async with reading(site, front):
            await site.subscribe("ann", "/c")
        await front.read()
        assert (front.texts("ann"), front.texts("bob")) == (["0", "1"], ["2"])
        await front.ack(confirmed)
    assert texts(await site.dequeue("ann")) == ["1"][confirmed - 1 :]


async def test_a_pattern_that_is_subscribed_again_while_a_link_reads_on_begins_anew(
    open_slow_site: OpenSlowSite,
) -> None:
    """Its new messages arrive, all of them: the link has forgotten where it was in what the pattern had before."""
    site = await open_slow_site(outbox=1, delivery_bytes=1)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    async with site.attached("ann", "bob") as front:
        for channel, messages in (("/b", "0"), ("/a", "12"), ("/b", "34567")):
            await site.publish(channel, *messages)
            await site.bench.settle()
        await front.take()
        async with reading(site, front):
            await site.unsubscribe("ann", "/a")
            await site.subscribe("ann", "/a")
        await front.take()
        assert front.link.behind
        await site.publish("/a", "8", "9")
        await front.drain()
        assert front.texts("ann") == ["8", "9"]
        assert front.texts("bob") == [*"034567"]
        assert not front.lost


async def test_what_is_in_hand_when_a_client_leaves_is_not_confirmed(open_slow_site: OpenSlowSite) -> None:
    """A message in a delivery that is being put together comes again, marked, and what the link had yet to read not."""
    site = await open_slow_site(outbox=1)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann", "bob") as front, site.attached() as other:
        await site.publish("/a", "0")
        await front.drain()
        await site.publish("/a", *"123")
        async with reading(site, front):
            await site.attach("ann", other)
            await other.read()
        await front.drain()
        assert front.texts("bob") == [*"0123"]
        assert other.texts("ann") == [*"123"]
        assert other.marked("ann") == ["1"]


async def test_a_single_caller_is_told_of_what_comes_while_it_reads(site: SlowSite) -> None:
    """A Deliver that reads when a message comes does not wait for the next one."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    async with site.tapped("ann") as tap:
        for text, more in (("1", site.publish("/a", "2")), ("2", site.queue_for("ann", "3"))):
            async with site.bench.holding_back(tap.claim.client_id, tap.take(messages=10, size=1_000)) as taking:
                await more
            assert texts(taking.result()) == [text]
            async with asyncio.timeout(30):
                await tap.wait()
        assert texts(await tap.take(messages=10, size=1_000)) == ["3"]


async def test_what_was_taken_for_a_client_that_is_lost_meanwhile_is_not_handed_out(site: SlowSite) -> None:
    """A Deliver whose client is taken over while it reads says so; the new owner gets what it read, unmarked."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    front = site.front_end()
    async with site.tapped("ann", explicit=True) as tap:
        asked = reason_of(tap.take(messages=10, size=1_000))
        async with site.bench.holding_back(site.ids["ann"], asked) as taking:
            await site.attach("ann", front)
        assert taking.result() is Reason.TAKEN_OVER
    await front.drain()
    assert front.texts("ann") == ["1"]
    assert front.marked("ann") == []


@pytest.mark.parametrize("reads", [True, False])
async def test_a_link_follows_nothing_for_a_client_that_left(open_slow_site: OpenSlowSite, *, reads: bool) -> None:
    """Nor has it anything to read for one that left before it had caught up, or before it began to."""
    site = await open_slow_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "0")
    front = site.front_end()
    await site.attach("ann", front)
    if reads:
        async with reading(site, front, "ann"):
            await front.detach("ann")
    else:
        await front.detach("ann")
    await front.drain()
    await site.publish("/a", *"1234")
    await site.bench.settle()
    assert not front.link.behind
    assert front.texts("ann") == []


@pytest.mark.parametrize(("log", "arrives"), [(3, "14678"), (2, "1578"), (1, "168")])
async def test_what_a_link_has_read_is_not_lost_by_being_cut(
    open_slow_site: OpenSlowSite, log: int, arrives: str
) -> None:
    """Of messages that a log loses while a link reads it, those that were read are delivered and not told as lost."""
    site = await open_slow_site(Limits(log_messages=log), outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", *"123456")
        async with reading(site, front):
            await site.publish("/a", *"78")
        await front.drain()
        assert front.texts("ann") == [*arrives]
        assert front.lost == {"ann": {"/a": 8 - len(arrives)}}
        await site.publish("/a", "9")
        await front.drain()
        assert front.texts("ann") == [*arrives, "9"]
        assert front.lost == {"ann": {"/a": 8 - len(arrives)}}


async def test_what_is_in_hand_when_a_client_falls_back_is_not_confirmed(open_slow_site: OpenSlowSite) -> None:
    """Nor is it by a confirmation of what was sent before, if the stream breaks then: it comes again, marked."""
    site = await open_slow_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "0")
        await front.read()
        await site.publish("/a", *"123")
        async with reading(site, front):
            await site.queue_for("ann", "4")
            await site.bench.settle()
            await front.ack()
            assert (await site.look_at("ann")).pending == 4
    async with site.attached("ann") as after:
        assert after.numbers("ann") == [1, 2, 3, 4]
        assert "1" in after.marked("ann")


async def test_a_handle_is_in_use_while_its_client_is_claimed(site: SlowSite) -> None:
    """Until the store has answered, and after that, STREAM_PROTOCOL is for everyone else under the handle."""
    await site.create("ann", "bob")
    await site.queue_for("ann", "1")
    front = site.front_end()
    async with site.bench.holding_back(claim_by("front"), site.attach("ann", front)) as attaching:
        with pytest.raises(StreamProtocol, match="handle 1"):
            await front.link.attach(site.ids["bob"], 1, AttachTerms(explicit=False, expires=False, cursor=0))
        with pytest.raises(StreamProtocol, match="handle 1"):
            front.link.refuse(1, LimitClients("at all", 1))
    assert attaching.result() == 1
    assert (await site.look_at("bob")).front_end == ""
    await front.drain()
    assert (front.texts("ann"), front.failed) == (["1"], {})


async def test_a_client_that_is_being_claimed_takes_a_place_on_the_link(open_slow_site: OpenSlowSite) -> None:
    """No more clients are attached to a link than may be, though many are asked for at once."""
    site = await open_slow_site(clients=2)
    await site.create("ann", "bob", "cid")
    front = site.front_end()
    await site.attach("ann", front)
    async with site.bench.holding_back(claim_by("front"), site.attach("bob", front)):
        await site.attach("cid", front)
    await front.read()
    assert isinstance(front.failed.pop("cid"), LimitClients)
    assert set(front.attached.values()) == {"ann", "bob"}
    await front.detach("bob")
    await front.read()
    await site.attach("cid", front)
    await front.read()
    assert (set(front.attached.values()), front.failed) == ({"ann", "cid"}, {})


@pytest.mark.parametrize("answered", ["older first", "younger first"])
async def test_the_later_of_two_claims_has_the_client(site: SlowSite, answered: str) -> None:
    """Whichever the store answers first: the other link is notified that the client was taken over."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    old, new = site.front_end("old"), site.front_end("new")
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        older, younger = (first, second) if answered == "older first" else (second, first)
        await older.enter_async_context(site.bench.holding_back(claim_by("old"), site.attach("ann", old)))
        await younger.enter_async_context(site.bench.holding_back(claim_by("new"), site.attach("ann", new)))
        await first.aclose()
    for front in (old, new):
        await front.read()
    await site.publish("/a", "1")
    for front in (old, new):
        await front.drain()
    assert old.detached == [("ann", DetachReason.TAKEN_OVER, "")]
    assert (new.attached, new.detached) == ({1: "ann"}, [])
    assert (old.texts("ann"), new.texts("ann")) == ([], ["1"])
    assert new.marked("ann") == []


async def test_clients_of_a_link_are_let_go_of_at_once(site: SlowSite) -> None:
    """Where a store has to answer each release, none waits for the answer to another."""
    await site.create("ann", "bob", "cid")
    front = site.front_end()
    for name in ("ann", "bob", "cid"):
        await site.attach(name, front)
    async with site.bench.holding_back(release_of(site.ids["ann"]), front.lose()):
        await site.bench.settle()
        assert [(await site.look_at(name)).front_end for name in ("bob", "cid")] == ["", ""]


async def test_clients_of_a_link_are_confirmed_for_at_once(site: SlowSite) -> None:
    """Where a store has to answer for each client that got messages of its own, none waits for another."""
    await site.create("ann", "bob", "cid")
    async with site.attached("ann", "bob", "cid") as front:
        for name in ("ann", "bob", "cid"):
            await site.queue_for(name, "1")
        await site.bench.settle()
        await front.read()
        assert (await site.engine.holdings()).messages == 3
        async with site.bench.holding_back(confirm_of(site.ids["ann"]), front.ack()):
            await site.bench.settle()
            assert (await site.engine.holdings()).messages == 0


async def test_clients_that_catch_up_are_read_for_at_once(site: SlowSite) -> None:
    """No client waits for the answer to another one's read; both answers go into one delivery."""
    await site.create("ann", "bob")
    front = site.front_end()
    for name in ("ann", "bob"):
        await site.queue_for(name, "1")
        await site.attach(name, front)
    async with reading(site, front, "ann"):
        await site.bench.settle()
        assert site.engine.reads[site.ids["bob"]] == 1
    assert front.texts("ann") == front.texts("bob") == ["1"]
    assert len(front.deliveries) == 1


async def test_no_more_is_read_than_a_delivery_takes(open_slow_site: OpenSlowSite) -> None:
    """However many clients catch up: with large messages, with small ones, and with both in different partitions."""
    site = await open_slow_site(delivery_bytes=10_000)
    names = [str(number) for number in range(20)]
    await site.create(*names)
    front = site.front_end(window=1)
    for name in names:
        await site.subscribe(name, f"/{name}")
        await site.publish(f"/{name}", "small", "x" * 3_000)
        await site.queue_for(name, "x" * 6_000, "small")
        await site.attach(name, front)
    while sum(map(len, front.got.values())) < 4 * len(names):
        front.send(await front.link.take())
        front.receive()
        await front.ack()
        sent = sum(entry.message.size for one in front.deliveries for batch in one.batches for entry in batch.entries)
        assert site.engine.sizes.total() == sent
        assert sent < len(front.deliveries) * 17_000
    assert all(sorted(map(len, front.texts(name))) == [5, 5, 3_000, 6_000] for name in names)
    assert all(site.engine.reads[site.ids[name]] <= 20 for name in names)


async def test_after_large_messages_many_clients_are_read_for_at_once_again(open_slow_site: OpenSlowSite) -> None:
    """Large messages have few clients read for together; once there are none any more that is over."""
    site = await open_slow_site(delivery_bytes=10_000)
    large, small, later = ([f"{kind} {number}" for number in range(20)] for kind in ("large", "small", "later"))
    await site.create(*large, *small, *later)
    front = site.front_end()
    for names, text in ((large, "x" * 3_000), (small, "1"), (later, "1")):
        for name in names:
            await site.queue_for(name, text)
            await site.attach(name, front)
        async with asyncio.timeout(30):
            while names is not later and not all(front.got[name] for name in names):
                front.send(await front.link.take())
                front.receive()
                await front.ack()
    async with reading(site, front, later[0]):
        await site.bench.settle()
        assert [site.engine.reads[site.ids[name]] for name in later] == [1] * len(later)


@pytest.mark.parametrize("slow", ["ann", "bob"], ids=["its own", "another's"])
async def test_what_was_read_and_is_not_answered_is_given_up_with_its_subscription(site: SlowSite, slow: str) -> None:
    """A client unsubscribes while its link waits for what was read: nothing comes through that pattern any more."""
    await site.create("ann", "bob")
    front = site.front_end()
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a", "/b")
        await site.attach(name, front)
    await site.publish("/a", "1")
    await site.publish("/b", "2")
    async with reading(site, front, slow):
        await site.unsubscribe("ann", "/a")
    await front.drain()
    assert front.texts("ann") == ["2"]
    assert sorted(front.texts("bob")) == ["1", "2"]


async def test_who_leaves_while_it_catches_up_holds_up_nobody(site: SlowSite) -> None:
    """What was read together with its messages goes out in the same delivery."""
    await site.create("ann", "bob")
    front = site.front_end()
    for name in ("ann", "bob"):
        await site.queue_for(name, "1")
        await site.attach(name, front)
    async with reading(site, front, "ann"):
        await front.detach("ann")
    assert (front.texts("ann"), front.texts("bob")) == ([], ["1"])


async def test_who_leaves_while_a_delivery_is_put_together_stops_no_one(open_slow_site: OpenSlowSite) -> None:
    """A message that was in hand for it, and for a client that confirms by itself, goes out all the same."""
    site = await open_slow_site(outbox=1)
    await site.create("ann", "eve")
    for name in ("ann", "eve"):
        await site.subscribe(name, "/a")
    async with site.attached("ann") as front:
        await site.attach("eve", front, explicit=True)
        await front.read()
        await site.publish("/a", *"123")
        await site.bench.settle()
        async with reading(site, front):
            await front.detach("ann")
        await front.drain()
        assert front.texts("eve") == [*"123"]
    assert texts(await site.dequeue("ann")) == [*"123"]


async def test_many_messages_are_read_at_once(open_slow_site: OpenSlowSite) -> None:
    """As many as go into a delivery, for a client that catches up and for a link that is behind."""
    site = await open_slow_site(outbox=100)
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    await site.publish("/a", *map(str, range(100)))
    async with site.attached("ann", "bob") as front:
        assert site.engine.reads[site.ids["ann"]] == site.engine.reads[site.ids["bob"]] == 1
        await site.publish("/a", *map(str, range(100, 300)))
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == front.texts("bob") == [str(number) for number in range(300)]
        assert site.engine.reads[LINK] == 1
        assert len(front.deliveries) == 2


async def test_no_more_messages_are_read_ahead_than_may_wait(open_slow_site: OpenSlowSite) -> None:
    """A link that is behind keeps as many in memory as its outbox may have, however small they are."""
    site = await open_slow_site(outbox=2)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", *map(str, range(10)))
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == [str(number) for number in range(10)]
        assert site.engine.reads[LINK] >= 4


async def test_little_more_is_read_than_is_sent(open_slow_site: OpenSlowSite) -> None:
    """What a link has no room for stays in the logs, where it may be lost, and not in memory."""
    site = await open_slow_site(Limits(log_messages=20), outbox=6, delivery_bytes=10_000)
    large = [str(number).zfill(3_000) for number in range(40)]
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=2) as front:
        await site.publish("/a", *large[:20])
        await site.bench.settle()
        await front.read()
        assert front.texts("ann") == large[:8]
        await site.publish("/a", *large[20:])
        await site.bench.settle()
        await front.drain()
        assert front.texts("ann") == [*large[:8], *large[20:]]
        assert front.lost == {"ann": {"/a": 12}}


async def test_what_nobody_on_a_link_wants_any_more_is_not_read_for_it(open_slow_site: OpenSlowSite) -> None:
    """A link that has to read a pattern's log asks for nothing once the pattern's last recipient has left."""
    site = await open_slow_site(outbox=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        await site.publish("/a", "0")
        await site.bench.settle()
        await front.read()
        await site.publish("/a", *"123")
        await site.bench.settle()
        assert front.link.behind
        await site.unsubscribe("ann", "/a")
        await front.drain()
        assert front.texts("ann") == ["0"]
        assert site.engine.reads[LINK] == 0
