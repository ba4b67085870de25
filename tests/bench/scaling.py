"""The arithmetic of docs/scaling.md, from measured costs: how many of what a site needs, and what breaks first.

`python -m tests.bench.scaling` prints the tables of that page; a test compares them. It simulates one thing: how the
members of rooms fall on front-ends, for that decides how many links a message goes to.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import mean

__all__ = ["COSTS", "SITES", "Costs", "Needs", "Site", "needs", "table"]

MILLION = 1_000_000


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
        redis_publish: a message appended to a stream and announced by one Redis (assumed).
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
    redis_publish: float = 15e-6
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
        gather: seconds of mail that go into one frame of a link: about the time that a frame is under way.
    """

    name: str
    clients: int
    room: int = 100
    pause: float = 100.0
    session: float = 1_800.0
    data: int = 200
    kept: float = 60.0
    gather: float = 0.02


@dataclass(frozen=True)
class Needs:
    """What a site needs.

    Attributes:
        publishes, deliveries: a second.
        front_ends: Faye processes.
        links: links that a message goes to.
        cores: busy cores of pixied in all.
        processes: pixied processes at the load that is allowed.
        memory: bytes of all pixied together.
        network: bytes a second from pixied to front-ends.
        shards: Redis processes; 0 where one pixied is enough.
    """

    publishes: float
    deliveries: float
    front_ends: int
    links: float
    cores: float
    processes: int
    memory: float
    network: float
    shards: int


COSTS = Costs()
SITES = (
    Site("100,000 clients", MILLION // 10),
    Site("1 million, rooms of 100", MILLION),
    Site("1 million, rooms of 10", MILLION, room=10, pause=10.0, kept=10.0),
    Site("1 million, one room", MILLION, room=MILLION, pause=100_000.0),
    Site("100 million, rooms of 100", 100 * MILLION),
)


def needs(site: Site, costs: Costs = COSTS) -> Needs:
    """Work out what a site needs."""
    publishes = site.clients / site.pause
    deliveries = publishes * site.room
    front_ends = _processes(deliveries * costs.delivery, costs)
    links = _links(site.room, front_ends)
    # A link's mail of one moment shares a frame, and each frame is confirmed by another.
    frames = min(publishes * links, front_ends / site.gather) * 2
    taken_in = min(publishes, front_ends / site.gather) * 2
    connects = site.clients / site.session * costs.connect
    cores = publishes * (costs.publish + links * costs.hand_out) + (frames + taken_in) * costs.frame + connects
    processes = _processes(cores, costs)
    messages = publishes * site.kept
    memory = site.clients * (costs.client + costs.attached) + messages * (site.data + costs.kept)
    network = publishes * links * (site.data + 25) + deliveries * costs.handle
    shards = _processes(publishes * costs.redis_publish, costs) if processes > 1 else 0
    return Needs(publishes, deliveries, front_ends, links, cores, processes, memory, network, shards)


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
        "site|publishes/s|deliveries/s|Faye processes|links per message|pixied's cores|processes|memory|network|Redis"
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
            f"{need.memory / 1e9:,.1f} GB",
            f"{need.network / 1e6:,.0f} MB/s",
            f"{need.shards:,}" if need.shards else "none",
        )
        yield "|" + "|".join(cells) + "|"


if __name__ == "__main__":
    sys.stdout.write(table())
