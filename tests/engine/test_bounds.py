"""What delivery keeps in memory is bounded, whatever clients and front-ends do."""

from collections import Counter

import pytest
from tests.counts.counting import calls
from tests.engine.conftest import OpenSite
from tests.support.memory import traced

from pixied_server.delivery.audience import AudienceLimits, Audiences
from pixied_server.delivery.losses import Losses


async def test_a_long_catch_up_keeps_what_is_unconfirmed(open_site: OpenSite) -> None:
    """A client that reads a long backlog makes its link remember the deliveries it has not confirmed, no others."""
    site = await open_site(delivery_bytes=1)
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", *map(str, range(220)))
    front = site.front_end(window=2)
    await site.attach("ann", front)
    with traced() as kept:
        for number in range(210):
            if number == 10:
                before = kept("delivery")
            await front.take()
            front.receive()
            await front.ack()
            front.deliveries.clear()
        assert len(front.texts("ann")) == 210
        assert kept("delivery") - before < 4_000


def told(losses: Losses) -> Counter[int]:
    """How much each handle is told that it lost."""
    lost: Counter[int] = Counter()
    for one in losses.tell():
        lost.update(dict.fromkeys(one.handles, one.count))
    return lost


@pytest.mark.parametrize(("since", "lost"), [(0, {1: 20_500}), (30_000, {})], ids=["before", "after"])
def test_losses_are_not_kept_for_each_moment_at_which_someone_subscribed(since: int, lost: dict[int, int]) -> None:
    """Those who come, lose a message and go take no memory of a link that nobody reads; who stays is told of all."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    audiences.add("/a", 1, since)
    with traced() as kept:
        losses = Losses(audiences)
        for position in range(10, 20_510):
            audiences.add("/a", 2, position)
            losses.note("/a", position + 1)
            audiences.discard("/a", 2)
        assert kept("delivery") < 100_000
    assert told(losses) == lost
    assert told(losses) == {}


def test_losses_of_those_who_stay_are_counted_without_end() -> None:
    """Each is told what it lost since it came, and to note that costs the same for many as for few."""
    audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
    losses = Losses(audiences)
    with calls() as counts:
        for handle in range(1_500):
            audiences.add("/a", handle, handle)
            losses.note("/a", handle + 1)
    assert counts["youngest_before"] < 10_000
    assert told(losses) == {handle: 1_500 - handle for handle in range(1_500)}
