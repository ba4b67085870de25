"""What confirmations count for, of links and of clients, whatever order they come in."""

import pytest
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, texts


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
    mail = await site.dequeue("ann")
    assert (texts(mail), mail.losses) == (["3"], [])


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
    mail = await site.dequeue("ann")
    assert (texts(mail), mail.redelivered) == ([*"34567"], 1)


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
