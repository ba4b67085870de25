"""What a publish costs does not depend on who subscribes."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from tests.counts.counting import blocks, calls
from tests.counts.stage import CHANNEL, Stage

from pixied_server.engine.memory.session import Session

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


class _Closed(set[Session]):
    """Subscribers that must not be looked through."""

    def __iter__(self) -> Iterator[Session]:
        raise AssertionError("a publish looked at the subscribers one by one")


class _ClosedRecipients(dict[int, int]):
    """Recipients that must not be looked through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("a publish looked at the recipients one by one")

    values = items = keys = __iter__  # type: ignore[assignment]


class _ClosedHandles(tuple[int, ...]):
    """Handles that must not be looked through."""

    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("a delivery looked at the handles one by one")


async def test_a_publish_looks_at_no_subscriber() -> None:
    """With the lists of a channel's subscribers closed, 50 messages are published and delivered as before."""
    stage = Stage()
    link = await stage.link(await stage.subscribed(100))
    await stage.subscribed(100)
    await stage.publish(MESSAGES, at_once=10)
    before = await stage.sent(link)
    topic = stage.engine._topics[CHANNEL]
    topic._members = _Closed(topic._members or ())
    recipients = link.audiences._by_pattern[CHANNEL]
    recipients._since = _ClosedRecipients(recipients._since)
    recipients.everyone().handles = _ClosedHandles(recipients.everyone().handles)
    await stage.publish(MESSAGES, at_once=10)
    after = await stage.sent(link)
    assert list(map(len, after)) == list(map(len, before))


async def test_a_message_is_appended_once_to_each_log() -> None:
    """With 1,000 subscribers of each of 3 patterns that match, each log gets each of 50 messages once: the same 50."""
    stage = Stage()
    patterns = (CHANNEL, "/a/*", "/**")
    for pattern in patterns:
        await stage.subscribed(1_000, pattern)
    with calls() as counts:
        await stage.publish(MESSAGES)
    logs = [list(stage.engine._topics[pattern].read(0, 1 << 60)) for pattern in patterns]
    assert counts["_append"] == MESSAGES
    assert logs[0] == logs[1] == logs[2]
    assert len(logs[0]) == MESSAGES


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
