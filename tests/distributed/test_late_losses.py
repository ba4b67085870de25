"""Messages that are found missing, or lost, only after younger ones of other logs came."""

import asyncio

import pytest
from tests.distributed.gate import gate
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits

from pixied_server.engine.redis import RedisEngine


def _channels(pair: Pair, near: str, most: int) -> list[str]:
    """So many channels in the partition of a name."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    return [name for name in (f"/{number}" for number in range(200)) if of(name) == of(near)][:most]


@pytest.mark.parametrize("also", [False, True], ids=["one log", "two logs"])
async def test_a_message_that_is_found_while_its_link_reads_other_logs_is_not_lost(
    store_url: str, *, also: bool
) -> None:
    """The read goes up to what was received, which is beyond the message, and does not name its log."""
    async with opened(store_url, outbox=1) as pair:
        one, other = _channels(pair, "/0", 2)
        await pair.here.create("ann")
        await pair.here.subscribe("ann", one, other, *(["/*"] if also else []))
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish(one, "first")
        await pair.read(front)
        await pair.there.publish(other, "kept")
        await pair.settle()
        pair.store.drops = b"missing"
        await pair.there.publish(one, "missing")
        await pair.settle()
        pair.store.drops = b""
        await pair.there.publish(other, "read")
        await pair.settle()
        with gate(pair.here, "read", most=1) as read:
            taking = asyncio.create_task(front.link.take())
            await read.reached.wait()
            await pair.cut()
            read.open()
            front.send(await taking)
        front.receive()
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["first", "kept", "missing", "read"]
        await pair.there.publish(one, "last")
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["first", "kept", "last", "missing", "read"]
        assert not front.lost
        assert front.marked("ann") == []


async def test_the_loss_of_an_inbox_is_announced_though_younger_messages_came_before(store_url: str) -> None:
    """A queued message that was not announced is trimmed before it is found missing: that is a gap."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        (channel,) = _channels(pair, pair.here.ids["ann"], 1)
        await pair.here.subscribe("ann", channel)
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.queue_for("ann", "0")
        await pair.read(front)
        pair.store.drops = b"missing"
        await pair.there.queue_for("ann", "missing")
        await pair.settle()
        pair.store.drops = b""
        await pair.there.publish(channel, "1")
        await pair.read(front)
        pair.store.silence()
        await pair.there.queue_for("ann", "2", "3")
        await pair.cut()
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["0", "1", "2", "3"]
        assert front.lost["ann"] == {"": 1}
        assert front.marked("ann") == []
