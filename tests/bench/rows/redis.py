"""What the Redis engine asks of its Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench.contest import Contest, Scale
from tests.counts.store import commands_of_a_publish
from tests.support.redis_servers import single

__all__ = ["redis_commands_per_publish"]

FEW = 10


@asynccontextmanager
async def redis_commands_per_publish(scale: Scale) -> AsyncIterator[Contest]:
    """Commands of the Redis for a publish to 10,000 subscribers, attached or away, and to 10. Counted, not timed."""
    many = scale.of(10_000, 1_000)
    table: list[object] = []
    with single() as server:

        async def most(subscribers: int) -> float:
            counts = []
            for attached in (True, False):
                counts.append(await commands_of_a_publish(server, subscribers, attached=attached))
                table.append((subscribers, "attached" if attached else "away", counts[-1]))
            return max(sum(count.values()) for count in counts)

        yield Contest(lambda: most(many), lambda: most(FEW), {"commands": table})
