"""Steps of those who take clients and their messages: front-ends on links, and single callers."""

from contextlib import AsyncExitStack

from hypothesis import strategies as st
from tests.distributed.histories.sending import MEANWHILE, NOTHING_SENT, PEERS, Meanwhile, Sending
from tests.distributed.histories.story import step
from tests.engine.histories import LINKS, NAMES, PATTERNS, Held

from pixied_server.delivery.events import Detached, DetachReason
from pixied_server.errors import ClientUnknown, TakenOver

__all__ = ["Receiving"]

# Seconds by which the store's answers are late while a link reads slowly.
_SLOW = 0.005


class Receiving(Sending):
    """See the module.

    Attributes:
        held: the clients of single callers.
        left: callers that can't end before their processes do, for these are dead or hang.
    """

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Held] = {}
        self.left: list[AsyncExitStack] = []

    # Links

    @step(
        name=NAMES,
        link=LINKS,
        explicit=st.booleans(),
        expires=st.booleans(),
        named=st.booleans(),
        meanwhile=MEANWHILE,
    )
    def attach(
        self,
        name: str,
        link: int,
        *,
        explicit: bool = False,
        expires: bool = False,
        named: bool = False,
        meanwhile: Meanwhile = NOTHING_SENT,
    ) -> None:
        """A client is attached, whether another link has it or not."""
        if client := self.model.clients.get(name):
            peer = self.at(link)
            front = self.fronts[self.peers.index(peer)]
            self.must_receive(peer)
            cursor = self.account.cursor_of(client) if named else 0
            self.lose(client)
            attaching = peer.site.attach(name, front, explicit=explicit, expires=expires, cursor=cursor)
            handle = self.run_both(attaching, self.sending(meanwhile))
            self.account.tenures[front, handle] = self.hold(peer, client, keeps_alive=not expires, explicit=explicit)

    @step(name=NAMES)
    def detach(self, name: str) -> None:
        """A front-end gives a client up."""
        if (client := self.model.clients.get(name)) and client.tenure and self.drives(client.tenure):
            for front, handle in self.account.handles_of(client):
                self.account.let_go(client)
                self.insist(lambda: front.link.detach(handle))  # noqa: B023 - it is done at once

    @step(link=LINKS, meanwhile=MEANWHILE)
    def take(self, link: int, meanwhile: Meanwhile = NOTHING_SENT) -> None:
        """A link sends what it has to send, and at the same time there is more."""
        if not self.peers[link].hangs:
            self.run_both(self._taking(link), self.sending(meanwhile))

    @step(link=LINKS, meanwhile=MEANWHILE)
    def take_slowly(self, link: int, meanwhile: Meanwhile) -> None:
        """The same, while the store answers late: what a client reads is older than what comes."""
        store = self.peers[link].bench.store
        before, store.answers_late = store.answers_late, _SLOW
        self.take(link=link, meanwhile=meanwhile)
        store.answers_late = before

    @step(link=LINKS, name=NAMES, patterns=PATTERNS, at=PEERS)
    def take_and_subscribe(self, link: int, name: str, patterns: list[str], at: int) -> None:
        """A link sends, and at the same time a client subscribes."""
        if self.peers[link].hangs or not (client := self.model.clients.get(name)):
            return
        site = self.at(at).site

        async def subscribing() -> None:
            await site.subscribe(name, *patterns)

        self.run_both(self._taking(link), subscribing())
        for pattern in patterns:
            client.subscribe(pattern)

    async def _taking(self, link: int) -> None:
        """A link sends: is it right?"""
        peer, front = self.peers[link], self.fronts[link]
        late = set(peer.late)
        for event in await front.take():
            if isinstance(event, Detached) and event.reason is not DetachReason.REQUESTED:
                tenure = self.account.tenures[front, event.handle]
                assert tenure.over, f"{tenure.client.name} was detached, and nobody has taken it: {event}"
                self.know(peer, {tenure})
            self.account.sent(front, event)
        if peer.bench.receives:
            self.know(peer, late)

    @step(link=LINKS)
    def receive(self, link: int) -> None:
        """What a link sent arrives."""
        front = self.fronts[link]
        for event in front.receive():
            self.account.arrived(front, event)

    @step()
    def serve_everyone(self) -> None:
        """Every link sends, and it arrives and is confirmed."""
        for link in range(2):
            self.serve(link=link)

    @step(link=LINKS, meanwhile=MEANWHILE)
    def serve(self, link: int, meanwhile: Meanwhile = NOTHING_SENT) -> None:
        """A link sends, and it arrives and is confirmed."""
        self.take(link=link, meanwhile=meanwhile)
        self.receive(link=link)
        self.ack(link=link, back=0)

    @step(link=LINKS, back=st.integers(0, 2))
    def ack(self, link: int, back: int) -> None:
        """A front-end confirms what it has received, or not quite all of it."""
        if not self.peers[link].hangs:
            front = self.fronts[link]
            number = max(front.number - back, 0)
            self.insist(lambda: front.ack(number))
            self.account.acked(front, number)

    @step(name=NAMES, back=st.integers(0, 2))
    def client_ack(self, name: str, back: int) -> None:
        """A client confirms what has reached its front-end, or not quite all of it."""
        if (client := self.model.clients.get(name)) and client.tenure and self.drives(client.tenure):
            for front, handle in self.account.handles_of(client):
                number = max(front.number - back, 0)
                self.insist(lambda: front.link.client_ack(handle, number))  # noqa: B023 - it is done at once
                self.model.confirm(client.tenure, number)

    @step(link=LINKS)
    def lose_link(self, link: int) -> None:
        """A stream breaks, with whatever is in flight; the front-end comes back with a new one."""
        if not self.peers[link].hangs:
            front = self.fronts[link]
            for client in self.account.on_link(front):
                self.account.let_go(client)
            self.insist(front.lose)
            self.fronts[link] = self.new_front(link)

    # Single callers

    @step(name=NAMES, most=st.integers(1, 5), explicit=st.booleans(), named=st.booleans(), at=PEERS)
    def dequeue(self, name: str, most: int, at: int, *, explicit: bool, named: bool) -> None:
        """A client's messages are taken, and received."""
        if name in self.model.clients:
            self.deliver(name=name, at=at, explicit=explicit, named=named)
            self.take_held(name=name, most=most)
            self.lose_held(name=name)

    @step(name=NAMES, explicit=st.booleans(), named=st.booleans(), at=PEERS)
    def deliver(self, name: str, at: int, *, explicit: bool, named: bool) -> None:
        """A caller takes a client."""
        if client := self.model.clients.get(name):
            peer = self.at(at)
            self.must_receive(peer)
            cursor = self.account.cursor_of(client) if named else 0
            self.lose(client)
            stack = AsyncExitStack()
            context = peer.site.tapped(name, explicit=explicit, cursor=f"{cursor:x}" if cursor else "")
            tap = self.run_now(stack.enter_async_context(context))
            self._leave(name)
            self.held[name] = Held(tap, stack, self.hold(peer, client, keeps_alive=True, explicit=explicit))

    @step(name=NAMES, most=st.integers(1, 5))
    def take_held(self, name: str, most: int) -> None:
        """A caller that has a client takes messages and receives them."""
        held = self.held.get(name)
        if held is None or not self.drives(held.tenure):
            return
        try:
            taken = self.run_now(held.tap.take(messages=most, size=1_000_000))
        except (TakenOver, ClientUnknown):
            assert held.tenure.over, f"{name} was taken from a caller that had it"
            return
        assert not held.tenure.over or held.tenure.late, f"a caller that has lost {name} could read on"
        self.account.taken(held.tenure, taken)
        held.tap.all_taken()

    @step(name=NAMES)
    def lose_held(self, name: str) -> None:
        """A caller that has a client goes away."""
        held = self.held.get(name)
        if held is not None and self.drives(held.tenure):
            if not held.tenure.over:
                self.account.let_go(held.tenure.client)
            self._leave(name)

    def _leave(self, name: str) -> None:
        """A caller that has a client, or had, is gone; where its process does nothing, when it does again."""
        if (held := self.held.pop(name, None)) is None:
            return
        if self.drives(held.tenure):
            self.insist(held.stack.aclose)
        else:
            self.left.append(held.stack)
