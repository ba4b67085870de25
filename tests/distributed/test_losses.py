"""Losses that are told, and none that is not one."""

from tests.distributed.outage import until
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits
from tests.engine.front_end import FrontEnd


async def test_what_a_client_has_confirmed_of_its_inbox_is_never_lost(store_url: str) -> None:
    """An inbox that outgrows its limit has lost what goes then, and not what went before because it was confirmed."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        for number in range(4):
            await pair.there.queue_for("ann", str(number))
            await pair.settle()
            await front.drain()
        await front.lose()
        await pair.there.queue_for("ann", *map(str, range(4, 7)))
        later = pair.there.front_end()
        await pair.there.attach("ann", later)
        await pair.read(later)
        assert later.texts("ann") == ["5", "6"]
        assert later.lost["ann"] == {"": 1}


async def _misses(pair: Pair, front: FrontEnd) -> None:
    """The front-end's clients miss three messages of /a, and get two, none of which the link has told them yet."""
    await pair.read(front)
    subscriber = pair.here.engine.subscriber  # type: ignore[attr-defined]
    for ear in subscriber._all:
        ear.feed._wire.pause()
    await pair.there.publish("/a", *map(str, range(5)))
    for ear in subscriber._all:
        ear.feed.abort()
    await until(lambda: subscriber.receives)
    await pair.settle()


async def test_a_loss_that_was_not_told_yet_is_told_by_the_next_link(store_url: str) -> None:
    """What is confirmed before a link tells of a loss does not confirm the loss."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        old, new = pair.here.front_end("old"), pair.there.front_end("new")
        await pair.here.attach("ann", old)
        await _misses(pair, old)
        await old.ack()
        await pair.there.attach("ann", new)
        await pair.read(new)
        assert new.texts("ann") == ["3", "4"]
        assert new.lost["ann"] == {"/a": 3}


async def test_a_client_that_reads_by_itself_is_told_what_its_link_has_yet_to_tell(store_url: str) -> None:
    """A loss that waits for the next delivery is told, though the client has left the link's live messages by then."""
    async with opened(store_url, Limits(log_messages=2), outbox=1) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await _misses(pair, front)
        await pair.there.queue_for("ann", "own")
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["3", "4", "own"]
        assert front.lost["ann"] == {"/a": 3}
