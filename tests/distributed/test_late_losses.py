"""Messages that are found missing, or lost, only after younger ones of other logs came."""

import asyncio

import pytest
from tests.distributed.gate import gate
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits
from tests.engine.front_end import FrontEnd

from pixied_server.engine.redis import RedisEngine


def _channels(pair: Pair, name: str, most: int, near: str = "/0") -> list[str]:
    """So many channels in the partition of another name."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    of = engine.process.layout.of
    return [one for one in (name % number for number in range(200)) if of(one) == of(near)][:most]


@pytest.mark.parametrize(
    ("also", "before"),
    [([], ["read"]), (["/*"], ["read"]), ([], ["read", "read too"])],
    ids=["read passes over it", "read brings it", "read ends before it"],
)
async def test_a_message_that_is_found_while_its_link_reads_other_logs_comes_once(
    store_url: str, also: list[str], before: list[str]
) -> None:
    """The read may go up to what was received, which is beyond the message, and may name one of its logs, or none."""
    async with opened(store_url, outbox=2) as pair:
        one, other = _channels(pair, "/%d", 2)
        (deep,) = _channels(pair, "/%d/deep", 1)
        await pair.here.create("ann")
        await pair.here.subscribe("ann", one, other, deep, *also)
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish(one, "first")
        await pair.read(front)
        await pair.there.publish(other, "kept", "kept too", *before)
        await pair.settle()
        pair.store.drops = b"missing"
        await pair.there.publish(one, "missing")
        await pair.settle()
        pair.store.drops = b""
        await pair.there.publish(deep, "after")
        await pair.settle()
        with gate(pair.here, "read", most=1) as read:
            taking = asyncio.create_task(front.link.take())
            await read.reached.wait()
            await pair.cut()
            read.open()
            front.send(await taking)
        front.receive()
        await pair.read(front)
        expected = ["first", "kept", "kept too", *before, "missing", "after"]
        assert sorted(front.texts("ann")) == sorted(expected)
        await pair.there.publish(one, "last")
        await pair.read(front)
        assert sorted(front.texts("ann")) == sorted([*expected, "last"])
        assert not front.lost
        assert front.marked("ann") == []


@pytest.mark.parametrize("younger", [True, False], ids=["younger ones came", "none came"])
async def test_the_loss_of_an_inbox_is_announced_once(store_url: str, *, younger: bool) -> None:
    """A queued message that was not announced is trimmed before it is found missing. Then its client reads anyway."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        front, one, other = await _with_a_missing_message(pair)
        if younger:
            await pair.there.publish(one, "younger")
            await pair.read(front)
        pair.store.silence()
        await pair.there.queue_for("ann", "2", "3")
        await pair.cut()
        await pair.here.subscribe("ann", other)
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["0", "1", "2", "3", *(["younger"] if younger else [])]
        assert front.lost["ann"] == {"": 1}
        assert front.marked("ann") == []


async def test_what_was_read_from_an_inbox_is_not_lost_when_it_is_trimmed(store_url: str) -> None:
    """It was never announced, but its client read the inbox before it was found missing there."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        front, one, other = await _with_a_missing_message(pair)
        await pair.there.publish(one, "younger")
        await pair.settle()
        await pair.here.subscribe("ann", other)
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["0", "1", "missing", "younger"]
        pair.store.silence()
        await pair.there.queue_for("ann", "2", "3")
        await pair.cut()
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["0", "1", "2", "3", "missing", "younger"]
        assert not front.lost


async def _with_a_missing_message(pair: Pair) -> tuple[FrontEnd, str, str]:
    """Attach a client: it has got "0", "1" waits, "missing" is queued unnoticed. Return two channels, too."""
    await pair.here.create("ann")
    one, other = _channels(pair, "/%d", 2, near=pair.here.ids["ann"])
    await pair.here.subscribe("ann", one)
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.there.queue_for("ann", "0")
    await pair.read(front)
    await pair.there.publish(one, "1")
    await pair.settle()
    pair.store.drops = b"missing"
    await pair.there.queue_for("ann", "missing")
    await pair.settle()
    pair.store.drops = b""
    return front, one, other
