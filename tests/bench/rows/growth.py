"""What a publish costs, and what a client weighs, in a store that has grown."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.bench.messages import deliver, texts
from tests.bench.processes import PATIENT, pixied, resident_bytes
from tests.bench.raw_front_end import Streams, streams, subscribed

__all__ = ["bytes_per_client", "publish_flat_away", "publish_flat_clients", "publish_flat_patterns"]

SUBSCRIBERS = 10
CHANNEL = "/bench/hot"
DAY = 86_400
ROOMY = (*PATIENT, "--max-clients", "2000000", "--max-session-timeout", "24h", "--max-log-age", "1h")
# A million at once would need a gigabyte in this process.
FILLED = 50_000
ALLOWED_BYTES = 1_024


@asynccontextmanager
async def publish_flat_clients(scale: Scale) -> AsyncIterator[Contest]:
    """Publish to 10 subscribers, beside 1,000 and beside 1,000,000 other clients with a subscription each."""
    async with _flat("/others/{}", 1_000, scale.of(1_000_000, 50_000), scale) as contest:
        yield contest


@asynccontextmanager
async def publish_flat_away(scale: Scale) -> AsyncIterator[Contest]:
    """Publish to a channel with 100 and with 100,000 subscribers that are away, beside 10 that are attached."""
    async with _flat(CHANNEL, 100, scale.of(100_000, 20_000), scale) as contest:
        yield contest


@asynccontextmanager
async def publish_flat_patterns(scale: Scale) -> AsyncIterator[Contest]:
    """Publish beside 10 and beside 100,000 other patterns, which begin as the channel does."""
    async with _flat("/bench/{}/**", 10, scale.of(100_000, 20_000), scale) as contest:
        yield contest


@asynccontextmanager
async def bytes_per_client(scale: Scale) -> AsyncIterator[Contest]:
    """Resident memory that an idle client takes which has one subscription, to a channel of its own."""
    count = scale.of(1_000_000, 50_000)
    async with pixied(*ROOMY) as server, streams(server.address) as front_end:
        await _fill(front_end, 1_000, "/warm/{}")
        before = resident_bytes(server.process)

        async def ours() -> float:
            await _fill(front_end, count, "/idle/{}")
            return (resident_bytes(server.process) - before) / count

        async def allowed() -> float:
            return ALLOWED_BYTES

        yield Contest(ours, allowed)


@asynccontextmanager
async def _flat(pattern: str, few: int, many: int, scale: Scale) -> AsyncIterator[Contest]:
    """Seconds for the same publishes in a store with few others, and in one with many."""
    data = texts(scale.of(10_000, 2_500))
    async with _store() as small, _store() as large:
        await _fill(small, few, pattern)

        async def seconds(front_end: Streams) -> float:
            return await deliver(front_end, CHANNEL, data, SUBSCRIBERS)

        contest = Contest(lambda: seconds(large), lambda: seconds(small))
        curve = contest.details.setdefault("curve", [])
        filled = 0
        for size in _steps(few, many):
            await _fill(large, size - filled, pattern, first=filled)
            filled = size
            curve.append((size, len(data) / await seconds(large)))
        yield contest


def _steps(few: int, many: int) -> list[int]:
    """From few to many, ten times as many at each step."""
    steps = [few]
    while steps[-1] < many:
        steps.append(min(steps[-1] * 10, many))
    return steps


@asynccontextmanager
async def _store() -> AsyncIterator[Streams]:
    """A pixied with 10 attached subscribers of one channel."""
    async with pixied(*ROOMY) as server, streams(server.address) as front_end:
        await front_end.hello()
        await front_end.attach(await subscribed(front_end, [CHANNEL] * SUBSCRIBERS))
        yield front_end


async def _fill(front_end: Streams, count: int, pattern: str, *, first: int = 0) -> None:
    """Create clients that stay away, each with one subscription; `{}` in it is a number of its own."""
    for start in range(first, first + count, FILLED):
        numbers = range(start, min(start + FILLED, first + count))
        await subscribed(front_end, [pattern.format(number) for number in numbers], timeout=DAY)
