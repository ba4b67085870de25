"""Steps of clients, of their subscriptions, and of those who publish."""

from collections.abc import Awaitable, Coroutine
from typing import Any

from hypothesis import strategies as st
from tests.distributed.histories.peers import Peers
from tests.distributed.histories.story import step
from tests.engine.histories import CHANNELS, MIXES, NAMES, PATTERNS
from tests.engine.model import ModelClient
from tests.engine.site import Site

from pixied_server.errors import EngineUnavailable

__all__ = ["MEANWHILE", "NOTHING_SENT", "PEERS", "Meanwhile", "Sending"]

PEERS = st.integers(0, 1)

Meanwhile = tuple[list[str], int]
"""What is sent while something else happens, to channels and to clients, and through which process."""
MEANWHILE = st.tuples(st.lists(CHANNELS | NAMES, max_size=8), PEERS)
NOTHING_SENT: Meanwhile = ([], 0)


class Sending(Peers):
    """See the module."""

    # Clients

    @step(name=NAMES, at=PEERS)
    def destroy(self, name: str, at: int) -> None:
        """A session is ended."""
        if client := self.model.clients.get(name):
            self.lose(client)
            del self.model.clients[name]
            site = self.at(at).site
            self.insist(lambda: site.destroy(name))

    @step(name=NAMES, at=PEERS)
    def ping(self, name: str, at: int) -> None:
        """A session is prolonged."""
        if client := self.model.clients.get(name):
            site = self.at(at).site
            self.insist(lambda: site.ping(name))
            client.deadline = self.clock() + client.timeout

    @step(seconds=st.sampled_from([0.25, 0.5, 2.0]), at=PEERS)
    def elapse(self, seconds: float, at: int) -> None:
        """Time passes, and sessions end when it is time: one process sees to that."""
        site = self.at(at).site
        self.clock.advance(seconds)
        self.insist(lambda: site.elapse(0.0))
        for client in list(self.model.clients.values()):
            over = client.deadline <= self.clock() and not (client.tenure and client.tenure.keeps_alive)
            assert self.insist(lambda name=client.name: site.lives(name)) in {not over, None}
            if over:
                self.lose(client)
                del self.model.clients[client.name]

    @step(at=PEERS)
    def checkpoint(self, at: int) -> None:
        """A process writes down how far its links are."""
        site = self.at(at).site
        self.insist(lambda: site.elapse(0.0))

    # Subscriptions

    @step(name=NAMES, patterns=PATTERNS, at=PEERS)
    def subscribe(self, name: str, patterns: list[str], at: int) -> None:
        """A client subscribes."""
        if client := self.model.clients.get(name):
            site = self.at(at).site
            new = [pattern for pattern in dict.fromkeys(patterns) if pattern not in client.subscriptions]
            assert self.insist(lambda: site.subscribe(name, *patterns)) in (new, None)
            for pattern in new:
                client.subscribe(pattern)

    @step(name=NAMES, patterns=PATTERNS, at=PEERS)
    def unsubscribe(self, name: str, patterns: list[str], at: int) -> None:
        """A client unsubscribes."""
        if client := self.model.clients.get(name):
            site = self.at(at).site
            old = [pattern for pattern in dict.fromkeys(patterns) if pattern in client.subscriptions]
            assert self.insist(lambda: site.unsubscribe(name, *patterns)) in (old, None)
            for pattern in old:
                client.unsubscribe(pattern)

    # Messages

    @step(channel=CHANNELS, times=st.integers(1, 4), publisher=st.none() | NAMES, exclude=st.booleans(), at=PEERS)
    def publish(self, channel: str, times: int, publisher: str | None, at: int, *, exclude: bool) -> None:
        """Messages are published."""
        by = publisher if publisher in self.model.clients else None
        exclude = exclude and by is not None
        self.run_now(self.publishing(channel, times, by or "", self.at(at).site, exclude=exclude))

    @step(name=NAMES, times=st.integers(1, 3), at=PEERS)
    def queue_for(self, name: str, times: int, at: int) -> None:
        """Messages are queued for one client."""
        if client := self.model.clients.get(name):
            self.run_now(self.queueing(client, times, self.at(at).site))

    @step(mix=MIXES, at=PEERS)
    def send_many(self, mix: list[str], at: int) -> None:
        """A good deal of messages comes while nobody reads."""
        self.run_now(self.sending((mix, at)))

    def publishing(
        self, channel: str, times: int, by: str, site: Site, *, exclude: bool = False
    ) -> Coroutine[Any, Any, None]:
        """Publish to a channel. Before it begins the model has it: it may come at any moment."""
        numbers = [self.model.publish(channel, by, exclude=exclude) for _ in range(times)]
        return self._doubting(site.publish(channel, *map(str, numbers), by=by, exclude=exclude), numbers)

    def queueing(self, client: ModelClient, times: int, site: Site) -> Coroutine[Any, Any, None]:
        """Queue for one client."""
        numbers = [self.model.queue_for(client, "/service/own") for _ in range(times)]
        return self._doubting(site.queue_for(client.name, *map(str, numbers)), numbers)

    async def _doubting(self, sending: Awaitable[object], numbers: list[int]) -> None:
        """Send; if that is refused it may have been done."""
        try:
            await sending
        except EngineUnavailable:
            self.remark(f"refused: nobody knows of {numbers}")
            self.model.doubt(numbers)

    def sending(self, meanwhile: Meanwhile) -> Coroutine[Any, Any, None]:
        """Publish and queue one after the other."""
        mix, at = meanwhile
        site = self.at(at).site
        parts = [
            self.publishing(target, 1, "", site)
            if target.startswith("/")
            else self.queueing(self.model.clients[target], 1, site)
            for target in mix
            if target.startswith("/") or target in self.model.clients
        ]

        async def one_by_one() -> None:
            for part in parts:
                await part

        return one_by_one()
