"""What confirmations count for, of links and of clients, whatever order they come in."""

from collections.abc import Awaitable, Callable

import pytest
from tests.engine.conftest import OpenSite
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, texts

from pixied_server.delivery.ledger import Ledger

Leave = Callable[[Site, FrontEnd], Awaitable[None]]


@pytest.mark.parametrize("patterns", [["/a"], ["/a", "/b"], []], ids=["one log", "two logs", "an inbox"])
async def test_an_older_confirmation_takes_back_nothing(site: Site, patterns: list[str]) -> None:
    """After a link has confirmed a delivery, one that names an earlier delivery makes nothing come again."""
    await site.create("ann")
    await site.subscribe("ann", *patterns)
    front = site.front_end()
    await site.attach("ann", front)
    for number in range(4):
        await (site.publish("/a", str(number)) if patterns else site.queue_for("ann", str(number)))
        await front.read()
    await front.ack(3)
    await front.ack(1)
    assert (await site.look_at("ann")).pending == 1
    await front.lose()
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.losses) == (["3"], [])


async def test_an_older_confirmation_closes_no_window(site: Site) -> None:
    """A delivery that was confirmed takes no place in the window again."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann", window=1) as front:
        for number in range(3):
            await site.publish("/a", str(number))
            await front.drain()
        await front.ack(1)
        await site.publish("/a", "3")
        await front.read()
        assert front.texts("ann") == ["0", "1", "2", "3"]


@pytest.mark.parametrize("explicit", [True, False])
async def test_an_older_confirmation_of_a_client_takes_back_nothing(site: Site, *, explicit: bool) -> None:
    """The same holds for what a live client confirms, by itself or ahead of its link."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    front = site.front_end()
    await site.attach("ann", front, explicit=explicit)
    for number in range(4):
        await site.publish("/a", str(number))
        await front.read()
    await front.client_ack("ann", 3)
    await front.client_ack("ann", 1)
    await front.lose()
    assert texts(await site.dequeue("ann")) == ["3"]


@pytest.mark.parametrize("explicit", [True, False])
async def test_an_older_confirmation_while_catching_up_takes_back_nothing(
    open_site: OpenSite, *, explicit: bool
) -> None:
    """The same holds for a client that is still reading what waited for it."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *"01234567")
    front = site.front_end(window=4)
    await site.attach("ann", front, explicit=explicit)
    await front.read()
    await front.client_ack("ann", 3)
    await front.client_ack("ann", 1)
    await front.lose()
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.redelivered) == ([*"34567"], 1)


@pytest.mark.parametrize("released", [True, False])
async def test_an_older_cursor_takes_back_nothing(site: Site, *, released: bool) -> None:
    """A client that names the cursor of an earlier batch than it has confirmed gets nothing again."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    old = site.front_end("old")
    await site.attach("ann", old, explicit=True)
    await old.read()
    for number in range(4):
        await site.publish("/a", str(number))
        await old.read()
    await old.client_ack("ann", 3)
    cursor = old.deliveries[0].batches[0].cursor
    if released:
        await old.lose()
    new = site.front_end("new")
    await site.attach("ann", new, explicit=True, cursor=cursor)
    await new.read()
    assert new.texts("ann") == new.marked("ann") == ["3"]


async def test_one_confirmation_for_many_deliveries(site: Site) -> None:
    """A link that confirms the last of many deliveries has confirmed all: what was queued in them is forgotten."""
    await site.create("ann", "bob")
    async with site.attached("ann", "bob") as front:
        for number in range(3):
            await site.queue_for("ann", str(number))
            await site.queue_for("bob", str(number))
            await front.read()
        assert (await site.engine.holdings()).messages == 6
        await front.ack(2)
        assert (await site.engine.holdings()).messages == 2
        await front.ack(3)
        assert (await site.engine.holdings()).messages == 0


async def _detach(site: Site, front: FrontEnd) -> None:
    del site
    await front.detach("ann")


async def _destroy(site: Site, front: FrontEnd) -> None:
    del front
    await site.destroy("ann")


async def _expire(site: Site, front: FrontEnd) -> None:
    del front
    await site.elapse(2.1)


async def _take_over(site: Site, front: FrontEnd) -> None:
    del front
    await site.attach("ann", site.front_end("other"), explicit=True)


async def _attach_again(site: Site, front: FrontEnd) -> None:
    await site.attach("ann", front)


async def _dequeue(site: Site, front: FrontEnd) -> None:
    del front
    await site.dequeue("ann")


@pytest.mark.parametrize("leave", [_detach, _destroy, _expire, _take_over, _attach_again, _dequeue])
async def test_a_client_that_confirmed_by_itself_leaves_nothing_behind(site: Site, leave: Leave) -> None:
    """A link remembers confirmed deliveries for a client that confirms by itself, and no longer than it has one."""
    await site.create("ann", "bob", timeout=2.0)
    for name in ("ann", "bob"):
        await site.subscribe(name, "/a")
    async with site.attached("bob") as front:
        await site.attach("ann", front, explicit=True, expires=leave is _expire)
        for number in range(3):
            await site.publish("/a", str(number))
            await front.drain()
        assert [front.link.progress_at(number) != () for number in (1, 2, 3)] == [True, True, True]
        await leave(site, front)
        await site.publish("/a", "3")
        await front.drain()
        assert [front.link.progress_at(number) != () for number in (1, 2, 3)] == [False, False, False]
        assert front.link.progress_at(front.number) != ()


async def test_links_without_such_clients_remember_what_is_unconfirmed(site: Site) -> None:
    """Where each delivery ended is known until it is confirmed: whoever leaves then has what was confirmed."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with site.attached("ann") as front:
        for number in range(6):
            await site.publish("/a", str(number))
            await front.read()
            await front.ack(number // 2)
        assert [front.link.progress_at(number) != () for number in range(1, 7)] == [False, *[True] * 5]


def test_what_is_remembered_for_explicit_clients_is_bounded() -> None:
    """A client that never confirms makes its link remember the last 65,536 deliveries, and none before them."""
    ledger = Ledger(window=1)
    for number in range(1, 70_001):
        ledger.record((number,))
        ledger.ack(number)
    oldest = 70_000 - 65_536 + 1
    known = [ledger.progress_at(number) for number in (1, oldest - 1, oldest, 70_000)]
    assert known == [(), (), (oldest,), (70_000,)]
