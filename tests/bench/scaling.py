"""The arithmetic of docs/scaling.md, from measured costs: how many of what a site needs, and what breaks first.

`python -m tests.bench.scaling` prints the tables of that page; a test compares them. It simulates one thing: how the
members of rooms fall on front-ends, for that decides how many links a message goes to.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from statistics import mean

__all__ = ["COSTS", "SITES", "Costs", "Needs", "RedisCosts", "Site", "needs", "table"]

MILLION = 1_000_000
# Messages in a frame from which on the costs of gathered ones hold.
GATHERED = 50


@dataclass(frozen=True)
class RedisCosts:
    """The same for pixied that share a Redis: seconds of one core of pixied or of Redis, and bytes there.

    With 10 messages in a front-end's frame, spread over rooms. What is gathered costs less, for it shares calls.

    Attributes:
        publish: a message taken in by a pixied, beside frames.
        hear: a message heard by a pixied and put into one link's delivery.
        connect: a client created, subscribed and attached, by the pixied that does it.
        attached: bytes of an attached client in its pixied.
        store_publish: a message appended, its key checked, and announced to one pixied, by Redis.
        store_announce: to each further one.
        store_connect: a client created, subscribed and attached, by Redis.
        client: bytes of a client in Redis, with one subscription.
        kept: of a kept message, beside its data.
        key: of an idempotency key.
        key_kept: seconds for which that is kept.
    """

    publish: float = 51e-6
    hear: float = 26e-6
    connect: float = 200e-6
    attached: int = 2_700
    store_publish: float = 51e-6
    store_announce: float = 1.8e-6
    store_connect: float = 50e-6
    client: int = 840
    kept: int = 121
    key: int = 298
    key_kept: float = 300.0


@dataclass(frozen=True)
class Costs:
    """Seconds of one core, and bytes. Measured as docs/scaling.md says; those that are assumed say so.

    Attributes:
        publish: a message taken in: decoded, checked, appended, answered.
        hand_out: a message put into one link's delivery.
        frame: a frame read from or written to a gRPC stream.
        connect: a client created, subscribed and attached.
        delivery: a delivery through an unmodified Faye server to a WebSocket.
        client: bytes of an idle client with one subscription.
        attached: further bytes of one that is attached.
        kept: bytes of a kept message beside its data.
        handle: bytes of a recipient in a delivery.
        redis: what is other with the Redis engine.
        gathered: the same with 100 messages in a frame.
        load: how busy a process may be.
    """

    publish: float = 12.2e-6
    hand_out: float = 3.1e-6
    frame: float = 51e-6
    connect: float = 28e-6
    delivery: float = 10.3e-6
    client: int = 613
    attached: int = 1_780
    kept: int = 345
    handle: int = 3
    redis: RedisCosts = field(default_factory=RedisCosts)
    gathered: RedisCosts = field(default_factory=lambda: RedisCosts(publish=31e-6, hear=13e-6, store_publish=26e-6))
    load: float = 0.6


@dataclass(frozen=True)
class Site:
    """What a site does.

    Attributes:
        clients: connected at once.
        room: members of a room; a message goes to all of them.
        pause: seconds between two messages of a client.
        session: seconds that a client stays.
        data: bytes of a message.
        kept: seconds for which messages are kept for those who come back.
        gather: seconds of messages that go into one frame of a link: about the time that a frame is under way.
        together: whether the balancer has a room's members on one front-end; else they are where chance puts them.
    """

    name: str
    clients: int
    room: int = 100
    pause: float = 100.0
    session: float = 1_800.0
    data: int = 200
    kept: float = 60.0
    gather: float = 0.02
    together: bool = False


@dataclass(frozen=True)
class Needs:
    """What a site needs.

    Attributes:
        publishes, deliveries: a second.
        front_ends: Faye processes.
        links: links that a message goes to.
        cores: busy cores of pixied in all.
        processes: pixied processes at the load that is allowed.
        heard: pixied processes that a message comes to.
        memory: bytes of all pixied together.
        network: bytes a second from pixied to front-ends.
        shards: Redis processes; 0 where one pixied with the memory engine is enough.
        store: bytes of these.
    """

    publishes: float
    deliveries: float
    front_ends: int
    links: float
    cores: float
    processes: int
    heard: float
    memory: float
    network: float
    shards: int
    store: float


COSTS = Costs()
SITES = (
    Site("100,000 clients", MILLION // 10),
    Site("1 million, rooms of 100", MILLION),
    Site("1 million, rooms of 10", MILLION, room=10, pause=10.0, kept=10.0),
    Site("1 million, one room", MILLION, room=MILLION, pause=100_000.0),
    Site("100 million, rooms of 100", 100 * MILLION),
    Site("the same, rooms kept together", 100 * MILLION, together=True),
)


def needs(site: Site, costs: Costs = COSTS) -> Needs:
    """Work out what a site needs."""
    need = _needs(site, costs, _processes(site.clients / site.pause * site.room * costs.delivery, costs))
    # A front-end's link is to one pixied, so it takes at least as many front-ends.
    while need.processes > need.front_ends:
        need = _needs(site, costs, need.processes)
    return need


def _needs(site: Site, costs: Costs, front_ends: int) -> Needs:
    publishes = site.clients / site.pause
    deliveries = publishes * site.room
    links = 1.0 if site.together else _links(site.room, front_ends)
    # A link's messages of one moment share a frame, and each frame is confirmed by another.
    frames = min(publishes * links, front_ends / site.gather) * 2
    taken_in = min(publishes, front_ends / site.gather) * 2
    framing = (frames + taken_in) * costs.frame
    network = publishes * links * (site.data + 25) + deliveries * costs.handle
    connects = site.clients / site.session
    cores = publishes * (costs.publish + links * costs.hand_out) + framing + connects * costs.connect
    if cores <= costs.load:
        memory = site.clients * (costs.client + costs.attached) + publishes * site.kept * (site.data + costs.kept)
        return Needs(publishes, deliveries, front_ends, links, cores, 1, 1.0, memory, network, 0, 0.0)
    redis = costs.gathered if publishes * site.gather / front_ends > GATHERED else costs.redis
    processes, heard, cores = _sharing(publishes, links, framing + connects * redis.connect, costs, redis)
    in_store = publishes * (redis.store_publish + (heard - 1) * redis.store_announce) + connects * redis.store_connect
    store = site.clients * redis.client
    store += publishes * (site.kept * (site.data + redis.kept) + redis.key_kept * redis.key)
    memory = site.clients * redis.attached
    shards = _processes(in_store, costs)
    return Needs(publishes, deliveries, front_ends, links, cores, processes, heard, memory, network, shards, store)


def _sharing(publishes: float, links: float, rest: float, costs: Costs, redis: RedisCosts) -> tuple[int, float, float]:
    """How many pixied share this work, how many of them hear a message, and how busy they are together.

    The more there are, the more of them have one of the links that a message goes to, up to all of the links.
    """
    processes = 1
    while True:
        heard = processes * (1 - (1 - 1 / processes) ** links)
        cores = publishes * (redis.publish + heard * redis.hear + (links - heard) * costs.hand_out) + rest
        if (needed := _processes(cores, costs)) <= processes:
            return processes, heard, cores
        processes = needed


def _processes(cores: float, costs: Costs) -> int:
    return max(1, -int(-cores // costs.load))


def _links(room: int, front_ends: int, rooms: int = 200) -> float:
    """How many front-ends the members of a room are on, if a balancer spreads them by chance."""
    if room > 50 * front_ends:
        return float(front_ends)
    random = Random(1)
    return mean(len({random.randrange(front_ends) for _ in range(room)}) for _ in range(rooms))


def table(costs: Costs = COSTS) -> str:
    """All sites, as a table in Markdown."""
    return "\n".join(_lines(costs)) + "\n"


def _lines(costs: Costs) -> Iterator[str]:
    heads = (
        "site|publishes/s|deliveries/s|Faye processes|links per message|pixied's cores|processes|that hear a message"
        "|memory|network|Redis|its memory"
    )
    yield f"|{heads}|"
    yield "|" + "|".join("---" if head == "site" else "---:" for head in heads.split("|")) + "|"
    for site in SITES:
        need = needs(site, costs)
        cells = (
            site.name,
            f"{need.publishes:,.0f}",
            f"{need.deliveries:,.0f}",
            f"{need.front_ends:,}",
            f"{need.links:,.1f}",
            f"{need.cores:,.1f}",
            f"{need.processes:,}",
            f"{need.heard:,.1f}",
            f"{need.memory / 1e9:,.1f} GB",
            f"{need.network / 1e6:,.0f} MB/s",
            f"{need.shards:,}" if need.shards else "none",
            f"{need.store / 1e9:,.1f} GB" if need.shards else "",
        )
        yield "|" + "|".join(cells) + "|"


if __name__ == "__main__":
    sys.stdout.write(table())
