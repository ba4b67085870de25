"""Reading logs for a link that is behind: each partition's at the same time, merged by sequence."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import Progress
from pixied_server.engine.abc import LogName, LogsRead
from pixied_server.engine.redis.partition.portions import read_in_portions
from pixied_server.engine.redis.partition.protocol import Partition, Read

__all__ = ["read_logs"]


async def read_logs(
    partitions: Sequence[Partition],
    logs: Mapping[LogName, int],
    after: Progress,
    upto: Progress,
    *,
    messages: int,
    size: int,
    announced: Callable[[LogName], int],
) -> LogsRead:
    """See `engine.abc.Engine.read`; `announced` returns the offset of a log's last message that was announced."""
    by_partition: dict[int, list[LogName]] = {}
    for log in logs:
        by_partition.setdefault(log[1], []).append(log)
    last = {number: list(map(announced, some)) for number, some in by_partition.items()}

    def read(number: int, size: int, least: int) -> Awaitable[Read]:
        asked = [(pattern, after[number], logs[pattern, number] - 1) for pattern, _ in by_partition[number]]
        return read_in_portions(
            partitions[number],
            asked,
            upto=upto[number],
            messages=messages,
            size=size,
            least=least,
            announced=last[number],
        )

    share = size // len(by_partition) + 1
    reads = dict(zip(by_partition, await asyncio.gather(*[read(one, share, 0) for one in by_partition]), strict=True))
    # One large message from each partition would come to many times the size: they take turns, as readers get on.
    if large := [number for number, portion in reads.items() if portion.more and not portion.entries]:
        number = large[sum(after) % len(large)]
        reads[number] = await read(number, share, 1)
    reached = list(upto)
    entries: list[Entry] = []
    losses: list[Loss] = []
    offsets = dict(logs)
    for number, portion in reads.items():
        some = by_partition[number]
        reached[number] = portion.reached
        entries += portion.entries
        for place, loss, _ in portion.losses:
            losses.append(loss)
            offsets[some[place]] += loss.count
        for places in portion.offsets:
            for place, offset in places:
                offsets[some[place]] = max(offset + 1, offsets[some[place]])
    entries.sort(key=_order)
    return LogsRead(entries, losses, tuple(reached), offsets)


def _order(entry: Entry) -> tuple[int, int]:
    return entry.sequence, entry.partition
