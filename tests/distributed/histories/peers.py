"""Two processes over a store, each with a site, and what the model has to know of them."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from tests.distributed.histories.faulty import FaultyBench, open_faulty
from tests.distributed.histories.story import Story
from tests.engine.account import Account
from tests.engine.benches import Clock, Limits
from tests.engine.front_end import FrontEnd
from tests.engine.model import ModelClient, ModelSite, Tenure
from tests.engine.site import Site

from pixied_server.errors import ClientUnknown, EngineUnavailable

__all__ = ["ROOMY", "Peer", "Peers", "StoreUnderTest"]

T = TypeVar("T")

# How many messages a log has, how many bytes all have, and how old they get: here nothing is ever lost.
ROOMY = (1_000, 1_000_000, 3_600.0)

_names = count(1)


@dataclass(frozen=True)
class StoreUnderTest:
    """A store, and what can be done to it.

    Attributes:
        name: what it is.
        url: its address.
        fail_over: makes another server of it the one that serves, or starts it again; blocks until that is done.
        clear: makes it empty.
    """

    name: str
    url: str
    fail_over: Callable[[], object]
    clear: Callable[[], object]


@dataclass(eq=False)
class Peer:
    """One of the two processes, or one that was killed.

    Attributes:
        site: the site on it.
        bench: the process.
        late: owners there that have lost their clients and may not know yet.
        suspended: owners there whose clients the other process has let go of, for it took this one for dead.
    """

    site: Site
    bench: FaultyBench
    late: set[Tenure] = field(default_factory=set)
    suspended: set[Tenure] = field(default_factory=set)

    @property
    def hangs(self) -> bool:
        """Whether the process does nothing for now."""
        return self.bench.store.hangs


class Peers(Story):
    """See the module.

    Attributes:
        store: the store under test.
        peers: the two processes.
        fronts: the link of each.
        where: at which process each owner is, or was.
        dead: processes that were killed, and that nobody has found dead yet.
        failovers: so often the store may yet fail over.
    """

    store: StoreUnderTest

    def __init__(self) -> None:
        super().__init__()
        self.stack = AsyncExitStack()
        self.peers: list[Peer] = []
        self.fronts: list[FrontEnd] = []
        self.where: dict[Tenure, Peer] = {}
        self.dead: list[Peer] = []
        self.failovers = 0

    def open_peers(
        self, bounds: tuple[int, int, float], windows: tuple[int, ...], settings: dict[str, Any], failovers: int
    ) -> None:
        """Start both processes."""
        self.clock = Clock()
        self.limits = Limits(log_messages=bounds[0], total_bytes=bounds[1], log_age=bounds[2])
        self.windows = windows
        self.settings = settings
        self.failovers = failovers
        self.prefix = f"histories{next(_names)}"
        self.model = ModelSite(roomy=bounds == ROOMY, largest_log=bounds[0] if bounds[1:] == ROOMY[1:] else None)
        self.account = Account(self.model, self.clock)
        self.ids: dict[str, str] = {}
        self.peers = [self.run_now(self.open_peer()) for _ in range(2)]
        self.fronts = [self.new_front(index) for index in range(2)]

    async def open_peer(self) -> Peer:
        """Start a process."""
        bench = await open_faulty(self.stack, self.store.url, self.prefix, self.limits, self.clock)
        site = Site(bench, **self.settings)
        site.ids = self.ids
        return Peer(site, bench)

    def new_front(self, index: int) -> FrontEnd:
        """Open a link to a process."""
        return self.peers[index].site.front_end(f"front {index}", window=self.windows[index])

    def at(self, index: int) -> Peer:
        """One of the processes, or the other one if it hangs."""
        peer = self.peers[index]
        return self.peers[1 - index] if peer.hangs else peer

    # Who has whom

    def hold(self, peer: Peer, client: ModelClient, *, keeps_alive: bool, explicit: bool) -> Tenure:
        """The client has a new owner at a process."""
        tenure = self.account.hold(client, keeps_alive=keeps_alive, explicit=explicit)
        self.where[tenure] = peer
        return tenure

    def lose(self, client: ModelClient) -> None:
        """Whoever owns the client loses it, and has yet to be notified of that."""
        tenure = client.tenure
        self.account.let_go(client, late=True)
        if tenure is not None:
            self.where[tenure].late.add(tenure)

    def know(self, peer: Peer, late: set[Tenure]) -> None:
        """Owners at a process know that they have lost their clients."""
        for tenure in late:
            tenure.late = None
        peer.late -= late

    def drives(self, tenure: Tenure) -> bool:
        """Whether the process of an owner does anything."""
        peer = self.where[tenure]
        return peer in self.peers and not peer.hangs

    def must_receive(self, peer: Peer) -> None:
        """Who takes a client waits until it is notified of it: so it is, from now on."""
        if peer.bench.store.silent:
            self.remark("its notifications come again")
            peer.bench.store.resume()

    # The end of faults

    def insist(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Have something done; if it is refused, once all faults are over. Returns None where it was done twice."""
        try:
            return self.run_now(_awaited(ask()))
        except EngineUnavailable:
            self.remark("refused: all faults end, and it is done again")
            self.end_faults()
        while True:
            try:
                self.run_now(_awaited(ask()))
            except EngineUnavailable:
                continue
            except ClientUnknown:
                return None
            return None

    def end_faults(self) -> None:
        """Nothing is wrong any more."""
        for peer in self.peers:
            peer.bench.store.notifications_late = peer.bench.store.answers_late = 0.0
            peer.bench.store.resume()
            self.wake_up(peer)
        self.reap_dead(self.peers[0])
        for peer in self.peers * 2:
            self.run_now(self.settle(peer))

    async def settle(self, peer: Peer) -> None:
        """A process does what follows from all that has happened; if it is notified, it knows what it has lost."""
        late = set(peer.late)
        await peer.bench.settle()
        if peer.bench.receives:
            self.know(peer, late)

    def wake_up(self, peer: Peer) -> None:
        """A process that hangs goes on, and finds out whether it was taken for dead."""
        if peer.hangs:
            peer.bench.store.wake()
            self.run_now(peer.bench.engine.upkeep.beat())
            for tenure in peer.suspended:
                tenure.keeps_alive = not tenure.over
            peer.suspended.clear()

    def reap_dead(self, by: Peer) -> None:
        """A process finds those dead that were killed."""
        while self.dead:
            self.reap(by, self.dead.pop())

    def reap(self, by: Peer, gone: Peer) -> None:
        """A process lets go of the clients of another one."""
        self.insist(lambda: by.bench.engine.upkeep.reap(gone.bench.engine.process.name))
        for client in self.model.clients.values():
            tenure = client.tenure
            if tenure is None or self.where[tenure] is not gone:
                continue
            if gone.bench.killed:
                self.account.let_go(client)
            elif tenure.keeps_alive:
                client.deadline = self.clock() + client.timeout
                tenure.keeps_alive = False
                gone.suspended.add(tenure)


async def _awaited(asked: Awaitable[T]) -> T:
    return await asked
