"""Losses that are told, and none that is not one."""

from tests.distributed.pair import opened
from tests.engine.benches import Limits


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
