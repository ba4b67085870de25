"""Attach: a front-end's link, seen from the front-end."""

from google.protobuf.duration_pb2 import Duration
from tests.support.caller import message, until, within
from tests.support.link import RawLink, ack, attach, client_ack, detach, linked, messages_of
from tests.support.refusals import refusal_in
from tests.support.site import Site, serving

from pixied.v1 import attach_pb2 as wire
from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT

_GONE = "0123456789abcdefghijklmnopqrstuv"


async def test_welcome_tells_the_terms() -> None:
    """The first event holds the server's limits, as its settings have them."""
    terms = {"heartbeat_interval": 7.5, "silence_limit": 60.0, "max_batch_items": 50, "max_clients_per_link": 3}
    async with serving(**terms, max_message_bytes=5_000) as site, linked(site, window=9) as link:
        welcome = link.welcome
    assert welcome.heartbeat_interval == Duration(seconds=7, nanos=500_000_000)
    assert welcome.silence_limit == Duration(seconds=60)
    assert (welcome.window, welcome.max_commands, welcome.max_clients, welcome.max_message_bytes) == (9, 50, 3, 5_000)
    assert welcome.server_version


async def test_the_window_has_a_default(site: Site) -> None:
    """0 is 64."""
    async with linked(site) as link:
        assert link.welcome.window == 64


async def test_pending_messages_come_first_then_live_ones(site: Site) -> None:
    """A client that is attached gets what waited for it, then what is published, in order and once."""
    alice = await site.client("/a", "/**")
    await site.publish("/a", "1", "2")
    async with linked(site) as link:
        await link.attach(alice, 7)
        await site.publish("/a", "3")
        assert await link.messages(7, 3) == ["1", "2", "3"]
        await site.publish("/b", "4")
        assert await link.messages(7, 1) == ["4"]


async def test_one_message_for_many_clients_travels_once(site: Site) -> None:
    """A publish to a thousand subscribers on a link is one batch: the message once, and their handles."""
    clients = [await site.client("/a") for _ in range(1_000)]
    async with linked(site) as link:
        await link.send(*[attach(client_id, handle) for handle, client_id in enumerate(clients)])
        while len(clients) > 0:
            clients = clients[len((await link.next("attached")).handles) :]
        await site.publish("/a", "1")
        delivery = await link.next("delivery")
    [batch] = delivery.batches
    assert [one.data for one in batch.messages] == ["1"]
    assert sorted(batch.handles) == list(range(1_000))


async def test_messages_carry_every_member_but_the_publishers_secrets(site: Site) -> None:
    """id, ext, extra and data arrive as they were sent; the publisher's id, its wish and its key do not."""
    alice = await site.client("/a")
    sent = message("/a", '{"n": 1.0}', id="7", ext='{"x":1}', extra='{"blank": null}')
    secret = message("/a", client_id=alice, exclude_publisher=False, idempotency_key="k")
    secret.MergeFrom(sent)
    async with linked(site) as link:
        await link.attach(alice, 1)
        await site("Publish", messages=[secret])
        [batch] = (await link.next("delivery")).batches
    assert list(batch.messages) == [sent]


async def test_a_publisher_can_leave_itself_out(site: Site) -> None:
    """exclude_publisher spares the publisher its own message, live and pending, and nobody else."""
    alice, bob = await site.client("/a"), await site.client("/a")
    await site.publish("/a", "1", client_id=alice, exclude_publisher=True)
    async with linked(site) as link:
        await link.attach(alice, 1)
        await link.attach(bob, 2)
        await site.publish("/a", "2", client_id=alice, exclude_publisher=True)
        await site.publish("/a", "3")
        deliveries = []
        while not deliveries or "3" not in messages_of(deliveries[-1], 1):
            deliveries.append(await link.next("delivery"))
    assert [data for one in deliveries for data in messages_of(one, 1)] == ["3"]
    assert [data for one in deliveries for data in messages_of(one, 2)] == ["1", "2", "3"]


async def test_queued_messages_keep_their_place_among_published(site: Site) -> None:
    """QueueFor and Publish reach a live client in the order in which they were answered."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        for number in range(0, 10, 2):
            await site.publish("/a", str(number))
            await site("QueueFor", client_id=alice, messages=[message("/service/a", str(number + 1))])
        assert await link.messages(1, 10) == [str(number) for number in range(10)]


async def test_nothing_is_sent_beyond_the_window(site: Site) -> None:
    """With a window of 2 the third delivery comes only after an ack."""
    alice = await site.client("/a")
    async with linked(site, window=2) as link:
        await link.attach(alice, 1)
        for number in (1, 2):
            await site.publish("/a", str(number))
            assert messages_of(await link.next("delivery"), 1) == [str(number)]
        await site.publish("/a", "3")
        await site.publish("/a", "4")
        # An event that needs no window comes past the messages that do.
        await link.send(attach("nobody", 9))
        await link.next("attach_failed")
        await link.send(ack(1))
        assert messages_of(await link.next("delivery"), 1) == ["3", "4"]


async def test_an_ack_confirms(site: Site) -> None:
    """What is not confirmed stays pending; what is, does not come again."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        for number in (1, 2):
            await site.publish("/a", str(number))
            await link.next("delivery")
        await link.send(ack(1), detach(1))
        assert (await link.next("detached")).reason == wire.DETACH_REASON_REQUESTED
        assert (await site("GetClient", client_id=alice)).client.pending == 1
        await link.attach(alice, 1)
        assert await link.messages(1, 1) == ["2!"]


async def test_what_is_pending_is_told_while_the_client_is_attached(site: Site) -> None:
    """GetClient and ListClients count what is not confirmed now, not what was not when the client was attached."""
    alice = await site.client("/a")

    async def pending() -> list[int]:
        described = (await site("GetClient", client_id=alice)).client
        return [described.pending, *(one.pending for one in (await site("ListClients")).clients)]

    async def nothing_is_pending() -> bool:
        return await pending() == [0, 0]

    async with linked(site) as link:
        await link.attach(alice, 1)
        await site.publish("/a", "1")
        delivery = await link.next("delivery")
        assert await pending() == [1, 1]
        await link.send(ack(delivery.number))
        await until(nothing_is_pending)


async def test_in_explicit_mode_only_the_client_confirms(site: Site) -> None:
    """The link's ack opens the window and confirms nothing for such a client; client_ack does."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1, ack_mode=ACK_MODE_EXPLICIT)
        for number in (1, 2):
            await site.publish("/a", str(number))
            assert await link.messages(1, 1) == [str(number)]
        await link.send(client_ack(1, 1), detach(1))
        await link.next("detached")
        await link.attach(alice, 1)
        assert await link.messages(1, 1) == ["2!"]


async def test_messages_of_a_broken_link_come_again_marked(site: Site) -> None:
    """What a link did not confirm is delivered on the next one, marked; what it never got is not marked."""
    alice = await site.client("/a")
    async with linked(site) as first:
        await first.attach(alice, 1)
        await site.publish("/a", "1")
        await first.next("delivery")
    await until(lambda: site.is_held_by(alice, ""))
    await site.publish("/a", "2")
    async with linked(site) as second:
        await second.attach(alice, 2)
        assert await second.messages(2, 2) == ["1!", "2"]


async def test_the_last_attach_wins(site: Site) -> None:
    """The loser is notified, gets no more of the client's messages, and its later ack counts for nothing."""
    alice = await site.client("/a")
    async with linked(site, "old") as old, linked(site, "new") as new:
        await old.attach(alice, 1)
        await site.publish("/a", "1")
        stale = await old.next("delivery")
        await new.attach(alice, 5)
        lost = await old.next("detached")
        assert (lost.handle, lost.reason) == (1, wire.DETACH_REASON_TAKEN_OVER)
        await old.send(ack(stale.number), client_ack(1, stale.number), detach(1))
        await old.end()
        assert (await site("GetClient", client_id=alice)).client.front_end == "new"
        assert messages_of(await new.next("delivery"), 5) == ["1!"]
    await until(lambda: site.is_held_by(alice, ""))
    assert (await site("GetClient", client_id=alice)).client.pending == 1


async def test_attaching_again_under_another_handle_takes_over(site: Site) -> None:
    """One client has one handle on a link: the first one is free afterwards."""
    alice, bob = await site.client("/a"), await site.client("/b")
    async with linked(site) as link:
        await link.attach(alice, 1)
        await link.send(attach(alice, 2))
        assert (await link.next("detached")).reason == wire.DETACH_REASON_TAKEN_OVER
        assert (await link.next("attached")).handles == [2]
        await link.attach(bob, 1)
        await site.publish("/b", "1")
        assert await link.messages(1, 1) == ["1"]


async def test_a_handle_can_be_used_again_in_the_same_frame(site: Site) -> None:
    """After detach the handle is another client's, and no message of the first reaches it."""
    alice, bob = await site.client("/a"), await site.client("/b")
    async with linked(site) as link:
        await link.attach(alice, 1)
        await link.send(detach(1), attach(bob, 1))
        await link.next("detached")
        await link.next("attached")
        await site.publish("/a", "1")
        await site.publish("/b", "2")
        assert await link.messages(1, 1) == ["2"]


async def test_the_commands_of_a_frame_are_carried_out_in_their_order(site: Site) -> None:
    """A client that is attached and detached in one frame is no one's afterwards, and its handle is free."""
    alice, bob = await site.client("/a"), await site.client("/b")
    async with linked(site) as link, within():
        await link.send(attach(alice, 1), detach(1), attach(bob, 1))
        assert (await link.next("attached")).handles == [1]
        assert (await link.next("detached")).handle == 1
        assert (await link.next("attached")).handles == [1]
        assert await site.is_held_by(alice, "")
        assert await site.is_held_by(bob, "test")


async def test_a_client_that_is_destroyed_is_announced(site: Site) -> None:
    """Its front-end learns the reason, whatever the client has pending."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        await site("DestroyClient", client_id=alice, reason="banned")
        gone = await link.next("detached")
        assert (gone.handle, gone.reason, gone.detail) == (1, wire.DETACH_REASON_DESTROYED, "banned")


async def test_a_cursor_counts_on_any_link(site: Site) -> None:
    """What a batch's cursor names is confirmed by an attach elsewhere; one that was not handed out is refused there."""
    alice = await site.client("/a")
    async with linked(site, "first") as first, linked(site, "second") as second:
        await first.attach(alice, 1, ack_mode=ACK_MODE_EXPLICIT)
        cursors = []
        for number in range(2):
            await site.publish("/a", str(number))
            cursors.append((await first.next("delivery")).batches[0].cursor)
        assert 0 < cursors[0] < cursors[1]
        await second.send(attach(alice, 1, ack_cursor=cursors[1] + 1))
        refusal = refusal_in((await second.next("attach_failed")).error)
        assert (refusal.reason, refusal.fields) == ("FIELD_INVALID", ("ack_cursor",))
        await second.attach(alice, 1, ack_cursor=cursors[0])
        (batch,) = (await second.next("delivery")).batches
        assert ([one.data for one in batch.messages], batch.redelivered) == (["1"], True)
        # Not every engine has one cursor for one message: it names how far this reading went.
        assert batch.cursor >= cursors[1]


async def test_what_is_confirmed_before_the_half_close_counts(site: Site) -> None:
    """Commands that were sent before it are carried out; what was not confirmed comes again, marked."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        for number in (1, 2):
            await site.publish("/a", str(number))
            await link.next("delivery")
        await link.send(ack(1))
        await link.end()
    assert (await site("GetClient", client_id=alice)).client.pending == 1
    async with linked(site) as link:
        await link.attach(alice, 1)
        assert await link.messages(1, 1) == ["2!"]


async def test_what_was_read_after_the_half_close_can_be_confirmed_by_the_next_attach(site: Site) -> None:
    """The cursor of its batch does so, though the link's own confirmations count for the client."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        await site.publish("/a", "1")
        delivery = await link.next("delivery")
        await link.end()
    await site.publish("/a", "2")
    async with linked(site) as link:
        await link.attach(alice, 1, ack_cursor=delivery.batches[0].cursor)
        assert await link.messages(1, 1) == ["2"]


async def test_any_number_is_a_handle(site: Site) -> None:
    """0 and the largest too, side by side."""
    alice, bob = await site.client("/a"), await site.client("/b")
    async with linked(site) as link:
        await link.attach(alice, 0)
        await link.attach(bob, 2**32 - 1)
        await site.publish("/a", "1")
        assert await link.messages(0, 1) == ["1"]
        await site.publish("/b", "2")
        assert await link.messages(2**32 - 1, 1) == ["2"]
        await link.send(detach(0))
        gone = await link.next("detached")
        assert (gone.handle, gone.reason) == (0, wire.DETACH_REASON_REQUESTED)


async def test_an_unknown_client_can_not_be_attached(site: Site) -> None:
    """attach_failed carries the status of CLIENT_UNKNOWN, and the handle is free."""
    alice = await site.client()
    async with linked(site) as link:
        await link.send(attach(_GONE, 1), attach(alice, 1))
        failed = await link.next("attach_failed")
        refusal = refusal_in(failed.error)
        assert (failed.handle, refusal.code, refusal.reason) == (1, "NOT_FOUND", "CLIENT_UNKNOWN")
        assert _GONE not in refusal.text
        assert (await link.next("attached")).handles == [1]


async def test_a_link_carries_no_more_clients_than_it_may() -> None:
    """One more is LIMIT_CLIENTS, and stays with its owner."""
    async with serving(max_clients_per_link=1) as site, linked(site, "full") as full, linked(site, "other") as other:
        alice, bob = await site.client(), await site.client()
        await full.attach(alice, 1)
        await other.attach(bob, 1)
        await full.send(attach(bob, 2))
        refusal = refusal_in((await full.next("attach_failed")).error)
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_CLIENTS")
        assert (await site("GetClient", client_id=bob)).client.front_end == "other"


async def test_messages_that_were_cut_are_announced() -> None:
    """A log that outgrew its bounds before it was read is a gap with the right count, before what is left."""
    async with serving(max_log_messages=3) as site:
        alice = await site.client("/a")
        await site.publish("/a", *map(str, range(10)))
        async with linked(site) as link:
            await link.attach(alice, 1)
            gap = await link.next("gap")
            assert (list(gap.handles), gap.gap.channel, gap.gap.lost) == ([1], "/a", 7)
            assert await link.messages(1, 3) == ["7", "8", "9"]
            assert (await site("GetInfo")).counters.lost == 7


async def test_large_messages_are_split_into_frames(site: Site) -> None:
    """Ten messages of 400 KB come in frames of about 1 MB, in order: the default limit of 4 MB is not met."""
    alice = await site.client("/a")
    large = [f'"{number}{"x" * 400_000}"' for number in range(10)]
    for data in large:
        await site.publish("/a", data)
    async with linked(site) as link:
        await link.attach(alice, 1)
        sizes: list[int] = []
        found: list[str] = []
        while len(found) < 10:
            delivery = await link.next("delivery")
            sizes.append(delivery.ByteSize())
            found += messages_of(delivery, 1)
            await link.send(ack(delivery.number))
    assert found == large
    assert max(sizes) < 1_500_000


async def test_what_waited_for_a_link_is_split_into_frames(site: Site) -> None:
    """However much was published while the window was closed, or waits for a hundred clients: never 4 MB at once."""
    alice = await site.client("/a")
    large = [f'"{number}{"x" * 400_000}"' for number in range(30)]
    async with linked(site, window=1) as link:
        await link.attach(alice, 1)
        await site.publish("/a", "1")
        first = await link.next("delivery")
        for data in large[:10]:
            await site.publish("/a", data)
        others = [await site.client("/b") for _ in range(20)]
        await site.publish("/b", large[0])
        await link.send(*(attach(client_id, handle) for handle, client_id in enumerate(others, 2)))
        assert set((await link.next("attached")).handles) == set(range(2, 22))
        await link.send(ack(first.number))
        sizes: list[int] = []
        found: list[str] = []
        while len(found) < 30:
            delivery = await link.next("delivery")
            sizes.append(delivery.ByteSize())
            found += [one.data for batch in delivery.batches for one in batch.messages for _ in batch.handles]
            await link.send(ack(delivery.number))
    assert sorted(found) == sorted([*large[:10], *[large[0]] * 20])
    assert max(sizes) < 1_500_000


async def test_the_largest_message_there_may_be_is_delivered(site: Site) -> None:
    """A message of exactly max_message_bytes reaches a link, a Deliver and a DequeueFor."""
    alice = await site.client("/a")
    largest = message("/a", f'"{"x" * (1_048_576 - 10)}"')
    assert largest.ByteSize() == 1_048_576
    await site("Publish", messages=[largest])
    async with linked(site) as link:
        await link.attach(alice, 1)
        assert messages_of(await link.next("delivery"), 1) == [largest.data]
    stream = site.stream("Deliver", client_id=alice, ack_mode=ACK_MODE_EXPLICIT)
    assert list((await stream.read()).messages) == [largest]
    assert await site.taken(alice) == [largest.data]


async def test_a_ping_of_an_attached_client_is_answered_without_an_expiry(site: Site) -> None:
    """A front-end keeps it alive: there is no time at which it ends."""
    alice = await site.client()
    async with linked(site) as link:
        await link.attach(alice, 1)
        assert not (await site("PingClient", client_id=alice)).HasField("expires_at")


async def test_information_counts_links_and_who_is_attached(site: Site) -> None:
    """GetInfo and GetClient tell what a link holds, until it ends."""
    alice, bob = await site.client("/a"), await site.client()
    async with linked(site, "edge-1") as link, linked(site, "edge-2") as other, linked(site, "edge-3"):
        await link.attach(alice, 1)
        await other.attach(bob, 1)
        holdings = (await site("GetInfo")).holdings
        assert (holdings.links, holdings.attached_clients) == (3, 2)
        await until(lambda: site.is_held_by(alice, "edge-1"))
        assert [one.client_id for one in (await site("ListClients", front_end="edge-1")).clients] == [alice]
    await until(lambda: site.is_held_by(alice, ""))
    assert (await site("GetInfo")).holdings.links == 0


async def test_counters_tell_what_was_handed_out(site: Site) -> None:
    """Deliveries count each recipient, redeliveries among them."""
    clients = [await site.client("/a") for _ in range(3)]
    for _ in range(2):
        link: RawLink
        async with linked(site) as link:
            await link.send(*[attach(client_id, handle) for handle, client_id in enumerate(clients)])
            await link.event()
            if not (await site("GetInfo")).counters.published:
                await site.publish("/a", "1")
            got: list[str] = []
            while len(got) < 3:
                delivery = await link.next("delivery")
                got += [data for handle in range(3) for data in messages_of(delivery, handle)]
        await until(lambda: site.is_held_by(clients[-1], ""))
    counters = (await site("GetInfo")).counters
    assert (counters.delivered, counters.redelivered) == (6, 3)
