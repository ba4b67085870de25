"""Random histories of a site, told to the engine under test and to the naive model alike."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.engine.account import Account
from tests.engine.benches import Limits, OpenBench
from tests.engine.model import ModelClient, ModelSite, Tenure
from tests.engine.site import Site

from pixied_server.delivery.tap import Tap
from pixied_server.errors import ClientUnknown, TakenOver

__all__ = [
    "CHANNELS",
    "DELIVERY_BYTES",
    "LINKS",
    "MIXES",
    "NAMES",
    "PATTERNS",
    "STARTS",
    "TIMEOUT",
    "Held",
    "Histories",
]

T = TypeVar("T")

NAMES = st.sampled_from(["ann", "bob", "cid"])
LINKS = st.integers(0, 1)
CHANNELS = st.sampled_from(["/a", "/b", "/a/b"])
PATTERNS = st.lists(st.sampled_from(["/a", "/b", "/a/b", "/*", "/**", "/a/*", "/a/**"]), min_size=1, max_size=3)
# A message of these tests takes about 330 bytes: from one message in a delivery to all there are.
DELIVERY_BYTES = st.sampled_from([1, 700, 900_000])
TIMEOUT = 2.25
# How a client begins: what it subscribes to, and the link it is attached to, if any.
STARTS = st.tuples(PATTERNS, st.none() | LINKS)
# Messages for channels and for clients, in any mix.
MIXES = st.lists(CHANNELS | NAMES, min_size=2, max_size=8)


@dataclass
class Held:
    """A client that is held by a single caller, as Deliver does."""

    tap: Tap
    stack: AsyncExitStack
    tenure: Tenure


class Histories(RuleBasedStateMachine):
    """See the module.

    Attributes:
        opened: the engine under test.
        outbox: so many live messages wait in memory for a link that does not read.
    """

    opened: OpenBench
    outbox: int

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.held: dict[str, Held] = {}

    def run_now(self, story: Coroutine[Any, Any, T]) -> T:
        """Tell a part of the story to the end."""
        return self.loop.run_until_complete(story)

    @initialize(
        log=st.sampled_from([2, 5, 1_000]),
        total=st.sampled_from([2_000, 1_000_000]),
        age=st.sampled_from([1.0, 3_600.0]),
        windows=st.tuples(*[st.sampled_from([1, 2, 64])] * 2),
        delivery_bytes=DELIVERY_BYTES,
        starts=st.tuples(*[STARTS] * 3),
    )
    def begin(
        self,
        log: int,
        total: int,
        age: float,
        windows: tuple[int, ...],
        delivery_bytes: int,
        starts: tuple[tuple[list[str], int | None], ...],
    ) -> None:
        """A site with bounds of all sizes, two links and three clients."""
        limits = Limits(log_messages=log, total_bytes=total, log_age=age)
        roomy = (total, age) == (1_000_000, 3_600.0)
        self.model = ModelSite(roomy=roomy and log == 1_000, largest_log=log if roomy else None)
        bench = self.run_now(self.stack.enter_async_context(self.opened(limits)))
        self.site = Site(bench, outbox=self.outbox, delivery_bytes=delivery_bytes)
        self.account = Account(self.model, self.site.clock)
        self.windows = windows
        self.fronts = [self.site.front_end(f"front {index}", window=window) for index, window in enumerate(windows)]
        for name, start in zip(("ann", "bob", "cid"), starts, strict=True):
            self.create(name, start)

    # Clients

    @rule(name=NAMES, start=STARTS)
    def create(self, name: str, start: tuple[list[str], int | None]) -> None:
        """A session starts, subscribes and may be attached."""
        if name not in self.model.clients:
            self.run_now(self.site.create(name, timeout=TIMEOUT))
            self.model.clients[name] = ModelClient(name, TIMEOUT, self.site.clock() + TIMEOUT)
            patterns, link = start
            self.subscribe(name, patterns)
            if link is not None:
                self.attach(name, link, explicit=False, expires=False)
                self.serve(link)

    @rule(name=NAMES)
    def destroy(self, name: str) -> None:
        """A session is ended."""
        if client := self.model.clients.pop(name, None):
            self.model.lose(client)
            self.run_now(self.site.destroy(name))

    @rule(name=NAMES)
    def ping(self, name: str) -> None:
        """A session is prolonged."""
        if client := self.model.clients.get(name):
            self.run_now(self.site.ping(name))
            client.deadline = self.site.clock() + client.timeout

    @rule(seconds=st.sampled_from([0.25, 0.5, 2.0]))
    def elapse(self, seconds: float) -> None:
        """Time passes, and sessions end when it is time."""
        self.run_now(self.site.elapse(seconds))
        now = self.site.clock()
        for client in list(self.model.clients.values()):
            over = client.deadline <= now and not (client.tenure and client.tenure.keeps_alive)
            assert self.run_now(self.site.lives(client.name)) is not over
            if over:
                self.model.lose(client)
                del self.model.clients[client.name]

    # Subscriptions

    @rule(name=NAMES, patterns=PATTERNS)
    def subscribe(self, name: str, patterns: list[str]) -> None:
        """A client subscribes."""
        if client := self.model.clients.get(name):
            new = [pattern for pattern in dict.fromkeys(patterns) if pattern not in client.subscriptions]
            assert self.run_now(self.site.subscribe(name, *patterns)) == new
            for pattern in new:
                client.subscribe(pattern)

    @rule(name=NAMES, patterns=PATTERNS)
    def unsubscribe(self, name: str, patterns: list[str]) -> None:
        """A client unsubscribes."""
        if client := self.model.clients.get(name):
            old = [pattern for pattern in dict.fromkeys(patterns) if pattern in client.subscriptions]
            assert self.run_now(self.site.unsubscribe(name, *patterns)) == old
            for pattern in old:
                client.unsubscribe(pattern)

    # Messages

    @rule(channel=CHANNELS, count=st.integers(1, 4), publisher=st.none() | NAMES, exclude=st.booleans())
    def publish(self, channel: str, count: int, publisher: str | None, *, exclude: bool) -> None:
        """Messages are published."""
        by = publisher if publisher in self.model.clients else ""
        exclude = exclude and by != ""
        numbers = [self.model.publish(channel, by or "", exclude=exclude) for _ in range(count)]
        self.run_now(self.site.publish(channel, *map(str, numbers), by=by or "", exclude=exclude))

    @rule(name=NAMES, count=st.integers(1, 3))
    def queue_for(self, name: str, count: int) -> None:
        """Messages are queued for one client."""
        if client := self.model.clients.get(name):
            numbers = [self.model.queue_for(client, "/service/own") for _ in range(count)]
            self.run_now(self.site.queue_for(name, *map(str, numbers)))

    @rule(mix=MIXES)
    def send_many(self, mix: list[str]) -> None:
        """Many messages come while nobody reads."""
        for target in mix:
            if target.startswith("/"):
                self.publish(target, 1, None, exclude=False)
            else:
                self.queue_for(target, 1)

    # Links

    @rule(name=NAMES, link=LINKS, explicit=st.booleans(), expires=st.booleans(), named=st.booleans())
    def attach(self, name: str, link: int, *, explicit: bool, expires: bool, named: bool = False) -> None:
        """A client is attached, whether another has it or not."""
        if client := self.model.clients.get(name):
            front = self.fronts[link]
            self.account.let_go(client)
            cursor = self.account.cursor_of(client) if named else 0
            handle = self.run_now(self.site.attach(name, front, explicit=explicit, expires=expires, cursor=cursor))
            tenure = self.account.hold(client, keeps_alive=not expires, explicit=explicit)
            self.account.tenures[front, handle] = tenure

    @rule(name=NAMES)
    def detach(self, name: str) -> None:
        """A front-end gives a client up."""
        if (client := self.model.clients.get(name)) and client.tenure:
            for front, handle in self.account.handles_of(client):
                self.account.let_go(client)
                self.run_now(front.link.detach(handle))

    @rule(link=LINKS)
    def take(self, link: int) -> None:
        """A link sends what it has to send."""
        front = self.fronts[link]
        for event in self.run_now(front.take()):
            self.account.sent(front, event)

    @rule(link=LINKS)
    def receive(self, link: int) -> None:
        """What a link sent arrives."""
        front = self.fronts[link]
        for event in front.receive():
            self.account.arrived(front, event)

    @rule()
    def serve_everyone(self) -> None:
        """Every link sends, and it arrives and is confirmed."""
        for link in range(len(self.fronts)):
            self.serve(link)

    @rule(link=LINKS)
    def serve(self, link: int) -> None:
        """A link sends, and it arrives and is confirmed."""
        self.take(link)
        self.receive(link)
        self.ack(link, 0)

    @rule(link=LINKS, back=st.integers(0, 2))
    def ack(self, link: int, back: int) -> None:
        """A front-end confirms what it has received, or not quite all of it."""
        front = self.fronts[link]
        number = max(front.number - back, 0)
        self.run_now(front.ack(number))
        self.account.acked(front, number)

    @rule(name=NAMES, back=st.integers(0, 2))
    def client_ack(self, name: str, back: int) -> None:
        """A client confirms what has reached its front-end, or not quite all of it."""
        if (client := self.model.clients.get(name)) and client.tenure:
            for front, handle in self.account.handles_of(client):
                number = max(front.number - back, 0)
                self.run_now(front.link.client_ack(handle, number))
                self.model.confirm(client.tenure, number)

    @rule(link=LINKS)
    def lose(self, link: int) -> None:
        """A stream breaks, with whatever is in flight; the front-end comes back with a new one."""
        front = self.fronts[link]
        self.run_now(front.lose())
        for client in self.account.on_link(front):
            self.account.let_go(client)
        self.fronts[link] = self.site.front_end(f"front {link}", window=self.windows[link])

    # Single callers

    @rule(name=NAMES, most=st.integers(1, 5), explicit=st.booleans(), named=st.booleans())
    def dequeue(self, name: str, most: int, *, explicit: bool, named: bool) -> None:
        """A client's messages are taken, and received."""
        if client := self.model.clients.get(name):
            self.account.let_go(client)
            cursor = self.cursor_of(client) if named else ""
            tenure = self.account.hold(client, keeps_alive=True, explicit=explicit)
            taken = self.run_now(self.site.dequeue(name, most, explicit=explicit, cursor=cursor))
            self.account.taken(tenure, taken)
            self.account.let_go(client)

    @rule(name=NAMES, explicit=st.booleans(), named=st.booleans())
    def deliver(self, name: str, *, explicit: bool, named: bool) -> None:
        """A caller holds a client."""
        if client := self.model.clients.get(name):
            stack = AsyncExitStack()
            self.account.let_go(client)
            cursor = self.cursor_of(client) if named else ""
            context = self.site.tapped(name, explicit=explicit, cursor=cursor)
            tap = self.run_now(stack.enter_async_context(context))
            self.run_now(self.leave(name))
            tenure = self.account.hold(client, keeps_alive=True, explicit=explicit)
            self.held[name] = Held(tap, stack, tenure)

    @rule(name=NAMES, most=st.integers(1, 5))
    def take_held(self, name: str, most: int) -> None:
        """A caller that holds a client takes messages and receives them."""
        if held := self.held.get(name):
            ours = not held.tenure.over
            try:
                taken = self.run_now(held.tap.take(messages=most, size=1_000_000))
            except (TakenOver, ClientUnknown):
                assert not ours
                return
            assert ours
            self.account.taken(held.tenure, taken)
            held.tap.all_taken()

    @rule(name=NAMES)
    def lose_held(self, name: str) -> None:
        """A caller that holds a client goes away."""
        if held := self.held.get(name):
            if not held.tenure.over:
                self.account.let_go(held.tenure.client)
            self.run_now(self.leave(name))

    async def leave(self, name: str) -> None:
        """A caller that holds a client, or did, is gone."""
        if held := self.held.pop(name, None):
            await held.stack.aclose()

    def cursor_of(self, client: ModelClient) -> str:
        """The last cursor that this client was given, as single callers name it."""
        return f"{cursor:x}" if (cursor := self.account.cursor_of(client)) else ""

    # The end

    def teardown(self) -> None:
        """Everyone reads everything; then nothing may be missing."""
        try:
            if hasattr(self, "site"):
                self.read_everything()
                self.model.settle_up()
        finally:
            self.run_now(self.stack.aclose())
            self.loop.close()

    def read_everything(self) -> None:
        """Every client is read to the end: where it is, or else by a front-end of its own."""
        for client in self.model.clients.values():
            if client.tenure is None:
                self.fronts.append(self.site.front_end("last"))
                self.windows += (64,)
                self.attach(client.name, len(self.fronts) - 1, explicit=False, expires=False)
            elif client.name in self.held and self.held[client.name].tenure is client.tenure:
                self.take_all_held(client)
        for link in range(len(self.fronts)):
            before = -1
            while self.model.published and before != (before := len(self.fronts[link].deliveries)):
                for _ in range(3):
                    self.serve(link)

    def take_all_held(self, client: ModelClient) -> None:
        """A caller that holds a client reads to the end."""
        before = -1
        while client.tenure is not None and before != (before := len(client.tenure.got)):
            self.take_held(client.name, 1_000)
