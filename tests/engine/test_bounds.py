"""What delivery keeps in memory is bounded, whatever clients and front-ends do."""

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.conftest import OpenSite
from tests.engine.site import Site
from tests.support.memory import alive, traced

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.delivery.audience import AudienceLimits, Audiences
from pixied_server.delivery.events import Lost
from pixied_server.delivery.link import AttachTerms, Link, LinkLimits
from pixied_server.delivery.losses import Losses


async def test_a_long_catch_up_keeps_what_is_unconfirmed(open_site: OpenSite) -> None:
    """A client that reads a long backlog makes its link remember the deliveries it has not confirmed, no others."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *map(str, range(120)))
    front = site.front_end(window=2)
    await site.attach("ann", front)
    with traced() as kept:
        for number in range(110):
            if number == 10:
                before = kept("delivery")
            await front.take()
            front.receive()
            await front.ack()
            front.deliveries.clear()
        assert len(front.texts("ann")) == 110
        assert kept("delivery") - before < 3_000


def test_losses_are_kept_for_each_log_once() -> None:
    """However many messages a log loses, and whoever comes and goes meanwhile, a link remembers one number for it."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    audiences.add("/a", 1, (0,))
    losses = Losses(audiences)
    with traced() as kept:
        for sequence in range(10, 20_510):
            audiences.add("/a", 2, (sequence,))
            losses.add(Loss("/a", 1, sequence=sequence + 1))
            audiences.discard("/a", 2)
        assert kept("delivery") < 4_000
    assert list(losses.tell()) == [Lost((1,), "/a", 20_500)]


@pytest.mark.parametrize(("count", "size", "most"), [(20_000, 1, 10_000), (20, 500_000, 8)])
async def test_a_link_that_reads_nothing_keeps_few_messages(count: int, size: int, most: int) -> None:
    """By default 10,000 of them or 4 MB: what logs have lost since is not kept for a front-end that stands still."""
    site = Site(MemoryBench(Limits(log_messages=1)))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    link = Link(site.hub, "front", 64, LinkLimits())
    await link.attach(site.ids["ann"], 1, AttachTerms(explicit=False, expires=False, cursor=0))
    await link.take()
    before = alive(Entry)
    for _ in range(count):
        await site.publish("/a", "x" * size)
    assert most - 1 <= alive(Entry) - before <= most + 1
