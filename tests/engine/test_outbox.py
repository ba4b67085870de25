"""What waits in memory for a link that does not read: so many messages, or so many bytes, and no more."""

import pytest
from tests.engine.benches import Limits, MemoryBench

from pixied_server.core.message import Message
from pixied_server.core.progress import reaches
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.outbox import Outbox, OutboxLimits
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.abc import Engine


class _Reader:
    """A link's side of an outbox: it follows /a and reads when it is told to."""

    def __init__(self, engine: Engine, hub: Hub, limits: OutboxLimits) -> None:
        self.engine = engine
        self.hub = hub
        self.outbox = Outbox(hub, limits)
        hub.follow("/a", self)  # type: ignore[arg-type]

    def on_published(self, entry: object, appended: object) -> None:
        """Take a message."""
        self.outbox.put(entry, appended)  # type: ignore[arg-type]

    async def publish(self, *sizes: int) -> None:
        """Publish messages whose bodies have so many bytes."""
        await self.engine.publish([Message("/a", b"x" * size) for size in sizes])

    async def take(self) -> int:
        """The size of the next message's body."""
        entry, losses = await self.outbox.take(1 << 30)
        assert not losses
        assert entry is not None
        return len(entry.message.body)


@pytest.fixture
async def reader() -> _Reader:
    """An outbox for 10 messages or 3,000 bytes; with its overhead a message without a body has some 320."""
    bench = MemoryBench(Limits())
    hub = Hub(bench.engine, Watchers(10), bench.clock)
    client = await bench.engine.create_client(60.0, {})
    await bench.engine.subscribe(client.client_id, ["/a"])
    return _Reader(bench.engine, hub, OutboxLimits(messages=10, bytes=3_000))


async def test_it_is_full_with_so_many_bytes(reader: _Reader) -> None:
    """Before that it takes a message of any size; what is taken out makes room."""
    await reader.publish(1_000, 1_000)
    assert not reader.outbox.full
    await reader.publish(5_000)
    assert reader.outbox.full
    assert [await reader.take(), await reader.take()] == [1_000, 1_000]
    assert reader.outbox.full
    assert await reader.take() == 5_000
    assert not reader.outbox.full
    for size in range(20):
        await reader.publish(size)
        assert not reader.outbox.full
        assert await reader.take() == size


async def test_it_is_full_with_so_many_messages(reader: _Reader) -> None:
    """However small they are."""
    reader.outbox = Outbox(reader.hub, OutboxLimits(messages=3, bytes=1 << 30))
    await reader.publish(1, 2)
    assert not reader.outbox.full
    await reader.publish(3)
    assert reader.outbox.full


@pytest.mark.parametrize(("room", "full"), [(0, True), (1, False)])
async def test_it_is_full_to_the_byte(reader: _Reader, room: int, *, full: bool) -> None:
    """With as many bytes as may wait, and not with one less."""
    size = 2 * Message("/a", b"x" * 10).size
    reader.outbox = Outbox(reader.hub, OutboxLimits(messages=100, bytes=size + room))
    await reader.publish(10, 10)
    assert reader.outbox.full is full


async def test_what_is_read_again_takes_room_too(reader: _Reader) -> None:
    """What was read ahead from the logs counts until it is taken, and all comes in order."""
    sizes = [2_000, 2_001, *range(30)]
    await reader.publish(*sizes)
    assert [await reader.take() for _ in range(3)] == sizes[:3]
    assert reader.outbox.full
    assert [await reader.take() for _ in range(len(sizes) - 3)] == sizes[3:]
    assert not reader.outbox.full
    await reader.publish(1_000, 1_000)
    assert not reader.outbox.full
    await reader.publish(1_000)
    assert reader.outbox.full


async def test_what_nobody_wants_any_more_is_not_read(reader: _Reader) -> None:
    """Of a pattern that is forgotten nothing has to be read, of another one all the same."""
    await reader.publish(3_000, 1, 2)
    reader.outbox.forget("/b")
    assert await reader.take() == 3_000
    assert reader.outbox.full
    reader.outbox.forget("/a")
    assert not reader.outbox.full
    assert not reader.outbox


async def test_its_progress_is_what_was_taken(reader: _Reader) -> None:
    """It begins before the first message that waits, follows what is taken, and is the hub's when nothing waits."""
    await reader.publish(1, 2, 2_500, 3, 4)
    seen = [reader.outbox.progress]
    for _ in range(5):
        await reader.take()
        seen.append(reader.outbox.progress)
    assert seen == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert reaches(reader.engine.head, reader.outbox.progress)
