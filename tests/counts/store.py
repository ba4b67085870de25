"""Counting what a Redis does for a publish, or for a client that comes, command by command.

Its own statistics (`INFO commandstats`) count each command, those inside of scripts too. The engines that publish are
real, but nothing in them goes by the clock: no process sends heartbeats, writes checkpoints or probes its
subscriptions. So between two looks at the statistics there is nothing but the publishes, or those who come.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count

from tests.engine.benches import Bench, Clock, Limits, open_redis
from tests.support.redis_servers import Server

from pixied_server.core.message import Message
from pixied_server.delivery.events import Delivery
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import AttachTerms, Link, LinkLimits
from pixied_server.delivery.watch import Watchers

__all__ = ["commands_at_the_limit", "commands_of_a_client", "commands_of_a_publish", "commands_of_pings"]

CHANNEL = "/commands/of/publish"
PROCESSES = 2
_AT_ONCE = 500
_TIMEOUT = 60.0
_ROUND = 1_000
_names = count(1)


async def commands_of_a_publish(
    server: Server,
    subscribers: int,
    *,
    attached: bool,
    keyed: bool = True,
    at_once: bool = False,
    publishes: int = 20,
) -> dict[str, float]:
    """Publish messages to a channel with so many subscribers; give how often each command was done for one of them.

    Args:
        server: its own; nobody else uses it.
        subscribers: of the channel.
        attached: whether they are, in turns through two processes; else they are away.
        keyed: whether a message has an idempotency key, as the SDKs give it one.
        at_once: whether the publishes are begun together, and not each when the one before is answered.
        publishes: how many.

    Raises:
        AssertionError: not everyone got everything.
    """
    async with AsyncExitStack() as stack:
        opened = open_redis(server.url, prefix=f"counted{next(_names)}", clock=Clock())
        limits = Limits(clients=subscribers)
        benches = [await stack.enter_async_context(opened(limits)) for _ in range(PROCESSES)]
        hubs = [Hub(bench.engine, Watchers(10), bench.clock) for bench in benches]
        ids = await _subscribed(benches[0], subscribers)
        links = [await _link(hub, ids[number::PROCESSES]) for number, hub in enumerate(hubs) if attached]
        await _publish(benches[0], ["first"], keyed=keyed, at_once=at_once)
        # What attaching set off goes on behind it.
        for bench in benches:
            await bench.settle()
        before = _statistics(server)
        await _publish(benches[0], [f"{number}" for number in range(publishes)], keyed=keyed, at_once=at_once)
        counted = _statistics(server) - before
        async with asyncio.timeout(_TIMEOUT):
            await _check(benches[0], ids, links, publishes + 1)
    return {command: calls / publishes for command, calls in sorted(counted.items())}


async def commands_at_the_limit(server: Server, channels: int) -> tuple[float, float]:
    """Give how many commands a publish takes while there is room for more messages, and at `max_total_bytes`.

    Args:
        server: its own; nobody else uses it.
        channels: how many are published to, in turns.

    Raises:
        AssertionError: it was not at the limit.
    """
    limits = Limits(total_bytes=30_000_000, log_bytes=30_000_000)
    opened = open_redis(server.url, 16, f"counted{next(_names)}", Clock())
    async with opened(limits) as bench:
        Hub(bench.engine, Watchers(10), bench.clock)
        limit = limits.of_store.total_bytes
        reader = await bench.engine.create_client(60.0, {})
        await bench.engine.subscribe(reader.client_id, ["/**"])

        async def cost() -> float:
            """Of one of as many publishes as it takes until trimming has come round."""
            before = _statistics(server)
            for number in range(_ROUND):
                await bench.engine.publish([Message(f"/limit/{number % channels}", b"x" * 1_000)])
            return (_statistics(server) - before).total() / _ROUND

        below = await cost()
        assert (await bench.engine.holdings()).bytes < limit / 2
        while (await bench.engine.holdings()).bytes < limit * 0.95:
            await bench.engine.publish([Message("/limit/0", b"x" * 1_000)] * 100)
        await cost()
        there = await cost()
        assert limit * 0.9 < (await bench.engine.holdings()).bytes <= limit
        return below, there


async def commands_of_a_client(server: Server, clients: int) -> dict[str, float]:
    """Create, subscribe and attach so many clients; give how often each command was done for one of them.

    There have been messages before them in all partitions, none of them theirs.

    Args:
        server: its own; nobody else uses it.
        clients: how many.
    """
    async with open_redis(server.url, prefix=f"counted{next(_names)}", clock=Clock())(
        Limits(clients=clients + 1)
    ) as bench:
        hub = Hub(bench.engine, Watchers(10), bench.clock)
        other = await bench.engine.create_client(60.0, {})
        await bench.engine.subscribe(other.client_id, ["/**"])
        await bench.engine.publish([Message(f"/before/{number}", b"0") for number in range(100)])
        await bench.settle()
        before = _statistics(server)
        link = await _link(hub, await _subscribed(bench, clients))
        counted = _statistics(server) - before
        assert len(link) == clients
    return {command: calls / clients for command, calls in sorted(counted.items())}


async def commands_of_pings(server: Server, clients: int) -> dict[str, float]:
    """Ping so many clients at once, one of whom is not known; give how often each command was done in all."""
    async with open_redis(server.url, prefix=f"counted{next(_names)}", clock=Clock())(Limits(clients=clients)) as bench:
        Hub(bench.engine, Watchers(10), bench.clock)
        ids = await _subscribed(bench, clients)
        before = _statistics(server)
        known = await bench.engine.ping_clients([*ids, "nobody"])
        counted = _statistics(server) - before
        assert known.keys() == set(ids)
    return dict(counted)


async def _subscribed(bench: Bench, many: int) -> list[str]:
    ids: list[str] = []
    while len(ids) < many:
        portion = range(min(_AT_ONCE, many - len(ids)))
        clients = await asyncio.gather(*(bench.engine.create_client(60.0, {}) for _ in portion))
        await asyncio.gather(*(bench.engine.subscribe(client.client_id, [CHANNEL]) for client in clients))
        ids += [client.client_id for client in clients]
    return ids


async def _link(hub: Hub, ids: Sequence[str]) -> Link:
    """A link with these clients, all live."""
    link = Link(hub, "front", 65_536, LinkLimits(len(ids)))
    for begin in range(0, len(ids), _AT_ONCE):
        portion = enumerate(ids[begin : begin + _AT_ONCE], begin)
        await asyncio.gather(
            *(
                link.attach(client_id, handle, AttachTerms(explicit=False, expires=False, cursor=0))
                for handle, client_id in portion
            )
        )
    while link.ready:
        await link.take()
    return link


async def _publish(bench: Bench, texts: Sequence[str], *, keyed: bool, at_once: bool) -> None:
    messages = [Message(CHANNEL, text.encode(), key=f"the key of {text}" if keyed else "") for text in texts]
    publishes = [bench.engine.publish([message]) for message in messages]
    if at_once:
        await asyncio.gather(*publishes)
    else:
        for publish in publishes:
            await publish


def _statistics(server: Server) -> Counter[str]:
    """How often each command was done, but for this one."""
    stats = {name.removeprefix("cmdstat_"): one["calls"] for name, one in server.info("commandstats").items()}
    return Counter({name: calls for name, calls in stats.items() if name != "info"})


async def _check(bench: Bench, ids: Sequence[str], links: Sequence[Link], sent: int) -> None:
    """Everyone has got all messages, or has them pending."""
    for number, link in enumerate(links):
        due = sent * len(ids[number::PROCESSES])
        while due > 0:
            due -= sum(_deliveries(event) for event in await link.take() if isinstance(event, Delivery))
        assert due == 0
    for client_id in ids[:: max(1, len(ids) // 10)] if not links else ():
        assert (await bench.engine.get_client(client_id)).pending == sent


def _deliveries(delivery: Delivery) -> int:
    return sum(len(batch.audience.handles) * len(batch.entries) for batch in delivery.batches)
