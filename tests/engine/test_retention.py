"""What the memory engine keeps of logs that have no mail any more."""

from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site, texts


async def test_logs_that_were_emptied_take_no_place() -> None:
    """Inboxes that had mail once are not looked at for ever, and those that have some are trimmed in order."""
    site = Site(MemoryBench(Limits(clients=3_000, log_age=100.0)))
    names = [f"client {number}" for number in range(2_000)]
    await site.create(*names, timeout=3_600.0)
    for name in names:
        await site.queue_for(name, "1")
    for name in names[1:]:
        await site.dequeue(name)
    await site.elapse(2.0)
    assert len(site.engine._retention._by_age) == 1
    await site.queue_for(names[5], "2")
    await site.elapse(99.0)
    assert (await site.engine.holdings()).messages == 1
    assert texts(await site.dequeue(names[5])) == ["2"]
    assert [loss.count for loss in (await site.dequeue(names[0])).losses] == [1]
