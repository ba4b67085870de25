"""What a publish costs does not depend on who subscribes."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.counts.counting import blocks, calls, peak, steps
from tests.counts.stage import CHANNEL, Stage

from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.delivery.audience import AudienceLimits, Audiences
from pixied_server.delivery.events import Delivery
from pixied_server.delivery.link import Link
from pixied_server.rpc.frames import attach_frames

FEW, MANY = 10, 2_000
MESSAGES = 50


async def _others(stage: Stage, count: int) -> None:
    await stage.subscribed(count, "/others/{}")


async def _away(stage: Stage, count: int) -> None:
    await stage.subscribed(count)


async def _patterns(stage: Stage, count: int) -> None:
    await stage.subscribed(count, "/a/{}/**")


async def _attached(stage: Stage, count: int) -> None:
    await stage.link(await stage.subscribed(count))


Fill = Callable[[Stage, int], Awaitable[None]]


async def _stage(fill: Fill, count: int) -> tuple[Stage, Callable[[], Awaitable[None]]]:
    """A stage with 10 attached subscribers and others, and a publish of 50 messages with their delivery."""
    stage = Stage()
    await fill(stage, count)
    link = await stage.link(await stage.subscribed(10))

    async def publish() -> None:
        await stage.publish(MESSAGES, at_once=10)
        await stage.sent(link)

    # What is made once, such as the list of a channel's recipients, has been made.
    await publish()
    return stage, publish


@pytest.mark.parametrize("fill", [_others, _away, _patterns, _attached])
async def test_the_same_calls_are_made_beside_many_as_beside_few(fill: Fill) -> None:
    """Beside 2,000 other clients, subscribers or patterns a publish makes exactly the calls that it makes beside 10."""
    counted: list[Counter[str]] = []
    for count in (FEW, MANY):
        _, publish = await _stage(fill, count)
        with calls() as counts:
            await publish()
        counted.append(counts)
    assert counted[0] == counted[1]


@pytest.mark.parametrize("fill", [_others, _away, _patterns, _attached])
async def test_as_much_memory_is_kept_beside_many_as_beside_few(fill: Fill) -> None:
    """A published message keeps as many blocks of memory beside 2,000 others as beside 10, and no more than 8."""
    kept = []
    for count in (FEW, MANY):
        _, publish = await _stage(fill, count)
        with blocks() as used:
            for _ in range(10):
                await publish()
        kept.append(used.kept / (10 * MESSAGES))
    assert max(kept) < 8
    assert abs(kept[0] - kept[1]) < 0.2


@pytest.mark.parametrize("fill", [_others, _away, _patterns, _attached])
async def test_the_same_steps_are_taken_beside_many_as_beside_few(fill: Fill) -> None:
    """A publish and its delivery to 10 go through no list of the others: they take exactly as many steps."""
    counted = []
    for count in (FEW, MANY):
        _, publish = await _stage(fill, count)
        with steps() as steps_of:
            await publish()
        counted.append(steps_of.taken)
    assert counted[0] == counted[1] > 0


@pytest.mark.parametrize("fill", [_others, _away, _patterns, _attached])
async def test_no_more_memory_is_in_use_beside_many_than_beside_few(fill: Fill) -> None:
    """While messages are published and delivered to 10 nothing is copied that grows with the others."""
    heights = []
    for count in (FEW, MANY):
        _, publish = await _stage(fill, count)
        with peak() as height:
            await publish()
        heights.append(height.bytes)
    assert abs(heights[0] - heights[1]) < 2_000


class _Closed(tuple[int, ...]):
    """Handles that must not be looked through."""

    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("a delivery looked at the handles one by one")


async def test_a_delivery_looks_at_no_handle() -> None:
    """An audience is the same object in each delivery, and once it is encoded its handles are not looked through."""
    stage = Stage()
    link = await stage.link(await stage.subscribed(MANY))
    before = await _delivery(stage, link)
    (first,) = before.batches
    first_frames = list(attach_frames([before]))
    first.audience.handles = _Closed(first.audience.handles)
    after = await _delivery(stage, link)
    (batch,) = after.batches
    assert batch.audience is first.audience
    assert list(map(len, attach_frames([after]))) == list(map(len, first_frames))


async def _delivery(stage: Stage, link: Link) -> Delivery:
    """What a link has to send after messages were published."""
    await stage.publish(MESSAGES, at_once=10)
    (event,) = await link.take()
    assert isinstance(event, Delivery)
    return event


class _Looked(int):
    """A number that counts how often it, and others of its kind, are looked at."""

    times = 0

    def _look(self) -> None:
        type(self).times += 1

    def __hash__(self) -> int:
        self._look()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        self._look()
        return super().__eq__(other)

    def __lt__(self, other: int) -> bool:
        self._look()
        return super().__lt__(other)

    def __gt__(self, other: int) -> bool:
        self._look()
        return super().__gt__(other)


def test_who_gets_a_message_is_known_without_a_look_at_each() -> None:
    """Neither handles nor progress of recipients, of one pattern or of two, are looked at for each message."""
    looked = []
    for count in (FEW, MANY):
        audiences = Audiences(lambda _: None, lambda _: None, AudienceLimits())
        for number in range(count):
            for pattern in ("/a/*", "/**"):
                audiences.add(pattern, _Looked(number), (_Looked(number),))
        channels = ("/a/b", "/c") * MESSAGES
        messages = [Entry(MANY + number, 0.0, Message(channel, b"1")) for number, channel in enumerate(channels)]
        for message in messages[:2]:
            audiences.of(message)
        _Looked.times = 0
        assert all(len(audiences.of(message)) == count for message in messages)
        looked.append(_Looked.times)
    assert looked[0] == looked[1]


async def test_a_message_is_appended_once_to_each_log() -> None:
    """With 1,000 subscribers of each of 3 patterns that match, each log gets each of 50 messages once: the same 50."""
    stage = Stage()
    patterns = (CHANNEL, "/a/*", "/**")
    for pattern in patterns:
        await stage.subscribed(1_000, pattern)
    with blocks() as used:
        await stage.publish(MESSAGES)
    logs = [
        (await stage.engine.read({(pattern, 0): 0}, (0,), stage.engine.head, messages=1_000, size=1 << 30)).entries
        for pattern in patterns
    ]
    assert [len(set(log)) for log in logs] == [len(log) for log in logs] == [MESSAGES] * 3
    assert logs[0] == logs[1] == logs[2]
    assert (await stage.engine.holdings()).messages == MESSAGES
    assert used.kept / MESSAGES < 12


async def test_no_task_is_made_for_a_message() -> None:
    """However many messages a stream carries, it has the same tasks."""
    tasks = []
    for count in (10, 500):
        stage = Stage()
        await stage.link(await stage.subscribed(10))
        with calls() as counts:
            await stage.publish(count, at_once=10)
        tasks.append(counts["create_task"])
    assert tasks[0] == tasks[1]
