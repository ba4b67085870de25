"""How many messages a client has pending: those that wait for it, and those that were sent and are not confirmed."""

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, texts

from pixied_server.core.backlog import Loss


async def pending(site: Site, *names: str) -> list[int]:
    """What GetClient says."""
    return [(await site.look_at(name)).pending for name in names]


async def test_what_waits_in_one_of_several_logs_is_pending(site: Site) -> None:
    """A client that is behind in one of its logs has what that one holds pending, whichever it is."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b/*", "/c/**")
    for channel in ("/a", "/b/x", "/c/x/y"):
        for number in range(3):
            await site.publish(channel, str(number))
            assert await pending(site, "ann") == [number + 1]
        assert len(texts(await site.dequeue("ann"))) == 3
        assert await pending(site, "ann") == [0]
    await site.queue_for("ann", "1", "2")
    assert await pending(site, "ann") == [2]


async def test_a_message_of_several_logs_is_pending_once(site: Site) -> None:
    """What came through two subscriptions, and what came through one of them, counts once."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/**")
    await site.publish("/a", "1", "2")
    await site.publish("/b", "3")
    await site.queue_for("ann", "4")
    assert await pending(site, "ann") == [4]


async def test_of_very_many_each_copy_is_pending(site: Site) -> None:
    """Beyond 500 a message counts for each subscription that it came through; up to that, once."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/*")
    await site.publish("/a", *map(str, range(250)))
    assert await pending(site, "ann") == [250]
    await site.publish("/a", "250")
    assert await pending(site, "ann") == [502]


@pytest.mark.parametrize(("log", "counted"), [(200, 200), (300, 600)])
async def test_of_very_many_those_that_are_lost_are_not_pending(open_site: OpenSite, log: int, counted: int) -> None:
    """Whether there are too many to count each once depends on what the logs still hold."""
    site = await open_site(Limits(log_messages=log))
    await site.create("ann")
    await site.subscribe("ann", "/a", "/*")
    await site.publish("/a", *map(str, range(800)))
    assert await pending(site, "ann") == [counted]


@pytest.mark.parametrize("pattern", ["/a/b", "/a/*"])
async def test_what_a_log_has_lost_is_pending_no_more(open_site: OpenSite, pattern: str) -> None:
    """Of a log that was trimmed counts what it still holds, for who was behind and for who comes later."""
    site = await open_site(Limits(log_messages=3))
    await site.create("ann", "bob", "cid")
    await site.subscribe("ann", pattern, "/other")
    await site.publish("/a/b", *"1234")
    await site.subscribe("bob", pattern)
    await site.publish("/a/b", *"56")
    await site.subscribe("cid", pattern)
    await site.publish("/a/b", "7")
    assert await pending(site, "ann", "bob", "cid") == [3, 3, 1]
    await site.publish("/other", "8")
    assert await pending(site, "ann") == [4]
    await site.queue_for("bob", *"12345")
    assert await pending(site, "bob") == [6]


async def test_what_two_trimmed_logs_hold_is_pending_once(open_site: OpenSite) -> None:
    """What one log has lost and another still holds is pending."""
    site = await open_site(Limits(log_messages=3))
    await site.create("ann")
    await site.subscribe("ann", "/a", "/*")
    await site.publish("/a", *"123")
    await site.publish("/b", *"45")
    # /* holds 3, 4 and 5, and /a 1, 2 and 3.
    assert await pending(site, "ann") == [5]


async def test_what_is_sent_is_pending_until_it_is_confirmed(site: Site) -> None:
    """Of a client that is attached, message by message."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    await site.publish("/a", "0")
    async with site.attached("ann", "bob") as front:
        for number in range(1, 4):
            await site.publish("/a", str(number))
            await front.read()
        assert await pending(site, "ann", "bob") == [4, 4]
        for number in range(1, 5):
            await front.ack(number)
            assert await pending(site, "ann", "bob") == [4 - number, 4 - number]


async def test_what_was_for_others_is_not_pending(site: Site) -> None:
    """A message that a client is not to get is pending no more once its link has passed it, though nothing is sent."""
    await site.create("ann", "bob")
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1", by="ann", exclude=True)
        await front.read()
        assert front.number == 0
        assert await pending(site, "ann") == [0]
        await site.publish("/a", "2", by="bob")
        await front.drain()
        assert await pending(site, "ann") == [0]
        await site.publish("/a", "3", by="ann", exclude=True)
        await front.read()
        assert front.number == 1
        assert await pending(site, "ann") == [0]
    assert texts(await site.dequeue("ann")) == []
    assert await pending(site, "bob") == [3]


async def test_what_was_for_others_is_pending_while_something_before_it_is(site: Site) -> None:
    """It is confirmed with what was sent before it, and not earlier."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        await site.publish("/a", "1")
        await front.read()
        await site.publish("/a", "2", by="ann", exclude=True)
        await front.read()
        assert await pending(site, "ann") > [0]
    assert texts(await site.dequeue("ann")) == ["1"]


async def test_what_those_who_left_had_lost_keeps_nothing_pending(site: Site) -> None:
    """A loss that nobody is to be told of any more does not hold up what the link has passed since."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    async with site.attached("ann", "bob") as front:
        await site.publish("/b", "1", by="bob", exclude=True)
        await front.read()
        site.hub.missed(Loss("/a", 1, sequence=1 << 40))
        await site.unsubscribe("ann", "/a")
        assert await pending(site, "bob") == [0]


async def test_what_is_confirmed_by_one_owner_is_not_pending_for_the_next(site: Site) -> None:
    """A Deliver, a link and DequeueFor each confirm for the client, in all of its logs."""
    await site.create("ann")
    await site.subscribe("ann", "/a", "/b")
    for number in range(3):
        await site.publish("/a", str(number))
        await site.publish("/b", str(number))
        await site.queue_for("ann", str(number))
    assert await pending(site, "ann") == [9]
    await site.dequeue("ann", 2)
    assert await pending(site, "ann") == [7]
    async with site.tapped("ann") as tap:
        await tap.take(messages=2, size=10_000)
        tap.all_taken()
    assert await pending(site, "ann") == [5]
    async with site.attached("ann") as front:
        assert await pending(site, "ann") == [5]
        await front.ack()
        assert await pending(site, "ann") == [0]
    assert await pending(site, "ann") == [0]
