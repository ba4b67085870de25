"""What the chaos tests act with: servers over a store, front-ends as processes, publishers, and the history of it all.

Whatever may or may not have been done, for a server was killed or its store was away, is asked for again until it is
answered: so at the end of a test nothing is in doubt.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc
from tests.sdk.servers import PIXIED, Server, running_server
from tests.support.caller import Caller, message, until, within
from tests.support.history import History, Holding
from tests.support.redis_servers import single

__all__ = ["CHANNELS", "FrontEnd", "Stage", "over", "servers", "staged"]

_ROOT = Path(__file__).parents[2]
CHANNELS = ("/a", "/a/b", "/b")
_PATTERNS = (*CHANNELS, "/a/*", "/a/**", "/**")
_ALTERED = Path(__file__).with_name("altered.py")
_LINE = 1 << 22
_IMPATIENT = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]
_PAUSE = 0.02
# The reasons for which a front-end may lose a client in these tests.
_TAKEN_OVER = frozenset({"DETACH_REASON_TAKEN_OVER", "TAKEN_OVER"})


@contextmanager
def servers(engine: str, *flags: str) -> Iterator[list[Server]]:
    """The servers of an engine: one of `memory`, two of `redis` over a store that loses nothing."""
    with ExitStack() as stack:
        if engine == "memory":
            yield [stack.enter_context(running_server(*flags))]
        else:
            store = stack.enter_context(single(aof=True))
            yield stack.enter_context(over(store.url, *flags))


@contextmanager
def over(url: str, *flags: str, last: str = "", altered: Mapping[str, float] | None = None) -> Iterator[list[Server]]:
    """Two servers over a store.

    Args:
        url: the store.
        flags: of both.
        last: where the second one finds the store, if not there too.
        altered: what is altered of the second one; see that script.
    """
    terms = ("--redis-partitions", "4", "--redis-timeout", "1s", *flags)
    program = (str(_ALTERED), json.dumps(altered)) if altered else PIXIED
    with (
        running_server("--engine", url, *terms) as one,
        running_server("--engine", last or url, *terms, program=program) as other,
    ):
        yield [one, other]


class FrontEnd:
    """A front-end process, as the test sees it: what it says becomes history.

    Attributes:
        got: how many copies it got.
        lost: how many it was told are lost.
        attached: how often it took a client.
        detached: how many clients it has lost.
        broke: why its streams broke.
        failed: why the store did not let it take a client, which it tried again.
    """

    def __init__(self, process: Process, history: History, clients: Sequence[str]) -> None:
        self._process = process
        self._history = history
        self._clients = clients
        self._holdings: dict[int, Holding] = {}
        self._changed = asyncio.Condition()
        self.got = 0
        self.lost = 0
        self.attached = 0
        self.detached = 0
        self.broke: list[str] = []
        self.failed: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def reaches(self, *, got: int = 0, attached: int = 0, detached: int = 0, broke: int = 0) -> None:
        """Wait until it has told of so much."""
        async with within(), self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._reading.done()
                    or (
                        self.got >= got
                        and self.attached >= attached
                        and self.detached >= detached
                        and len(self.broke) >= broke
                    )
                )
            )
        if self._reading.done():
            self._reading.result()

    def take_back(self) -> None:
        """Have it take the clients that it has lost."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")

    async def kill(self) -> None:
        """SIGKILL; what it told before is still read."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    def pause(self) -> None:
        """Stop the process where it is: it reads nothing, and its connection lives."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        self._process.send_signal(signal.SIGCONT)

    async def _read(self) -> None:
        assert self._process.stdout
        # A last line without its end was being written when the process was killed: it was not confirmed either.
        while (line := await self._process.stdout.readline()).endswith(b"\n"):
            async with self._changed:
                try:
                    self._take_down(json.loads(line))
                finally:
                    self._changed.notify_all()

    def _take_down(self, told: dict[str, Any]) -> None:
        for handle in told.get("attached", ()):
            self._holdings[handle] = self._history.held(self._clients[handle])
            self.attached += 1
        for handle, name, redelivered in told.get("got", ()):
            self._history.delivered(self._holdings[handle], name, redelivered=redelivered)
            self.got += 1
        for handle in told.get("handles", ()):
            self._history.lost(self._clients[handle], told["lost"])
            self.lost += told["lost"]
        if "detached" in told:
            assert told["why"] in _TAKEN_OVER, told
            self.detached += 1
        if "failed" in told:
            self.failed.append(told["why"])
        if "broke" in told:
            self.broke.append(told["broke"])


class Stage:
    """Servers, their clients, and who publishes.

    Publishers prefer the first server and front-ends the last one; all else is asked of any.

    Args:
        addresses: the servers'.
        callers: one for each.
        history: what happens.
    """

    def __init__(self, addresses: Sequence[str], callers: Sequence[Caller], history: History) -> None:
        self.addresses = addresses
        self.history = history
        self.random = Random(history.seed)
        self.clients: list[str] = []
        self._callers = callers
        self._publishing = 0

    @asynccontextmanager
    async def front_end(
        self,
        clients: Sequence[str],
        *,
        at: Sequence[str] = (),
        name: str = "edge",
        window: int = 8,
        hold: int = 0,
    ) -> AsyncIterator[FrontEnd]:
        """A front-end that has attached these clients; killed, if it still lives, when the context is left.

        Args:
            clients: the clients.
            at: the addresses it uses, one after the other; all servers', the last one first, by default.
            name: its name.
            window: so many deliveries it takes unconfirmed.
            hold: so many deliveries it leaves unconfirmed.
        """
        command = (sys.executable, "-m", "tests.chaos.front_end")
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=_ROOT, limit=_LINE)
        terms = {
            "addresses": [*(at or reversed(self.addresses))],
            "name": name,
            "clients": [*clients],
            "window": window,
            "hold": hold,
        }
        assert process.stdin
        process.stdin.write(json.dumps(terms).encode() + b"\n")
        started = FrontEnd(process, self.history, clients)
        try:
            await started.reaches(attached=len(clients))
            yield started
        finally:
            await started.kill()

    async def call(self, rpc: str, first: int | None = None, **fields: Any) -> Any:
        """Call an RPC until it is answered, at one server after the other.

        Args:
            rpc: its name.
            first: the server to begin with; any by default.
            fields: of its request.
        """
        attempt = self.random.randrange(len(self._callers)) if first is None else first
        while True:
            try:
                return await self._callers[attempt % len(self._callers)](rpc, **fields)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            attempt += 1
            await asyncio.sleep(_PAUSE)

    async def create_clients(self, count: int, *patterns: str) -> list[str]:
        """Clients with these subscriptions; without any, each with some of its own."""
        created = [(await self.call("CreateClient")).client.client_id for _ in range(count)]
        for client in created:
            for pattern in patterns or self.random.sample(_PATTERNS, 3):
                await self.subscribe(client, pattern)
        self.clients += created
        return created

    async def subscribe(self, client: str, pattern: str) -> None:
        """Subscribe a client."""
        with self.history.subscribing(client, pattern):
            await self.call("Subscribe", client_id=client, channels=[pattern])

    async def unsubscribe(self, client: str, pattern: str) -> None:
        """Unsubscribe a client."""
        with self.history.unsubscribing(client, pattern):
            await self.call("Unsubscribe", client_id=client, channels=[pattern])

    async def publish(self, publisher: str, messages: int, *channels: str, padding: int = 0) -> None:
        """Publish messages one after the other, each to a channel that is drawn."""
        for number in range(messages):
            await self._publish(publisher, number, channels or CHANNELS, padding)

    @asynccontextmanager
    async def publishers(self, number: int = 3, *, rate: float = 0.0) -> AsyncIterator[None]:
        """So many publish while the context lasts, each message to a channel that is drawn.

        Args:
            number: how many.
            rate: messages a second of all together; without a pause by default.
        """
        enough = asyncio.Event()
        names = [f"p{self._publishing + one}" for one in range(number)]
        self._publishing += number
        publishing = asyncio.gather(
            *[self._publish_until(enough, name, number / rate if rate else 0.0) for name in names]
        )
        try:
            yield
            enough.set()
            await publishing
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])

    @asynccontextmanager
    async def changing_subscriptions(self) -> AsyncIterator[None]:
        """Clients subscribe to a channel, get something and give it up again, for as long as the context lasts."""
        enough = asyncio.Event()

        async def change() -> None:
            while not enough.is_set():
                client, pattern = self.random.choice(self.clients), "/b/*"
                await self.subscribe(client, pattern)
                await self.publish(f"s{len(self.history.publishes)}", 2, "/b/c")
                await self.unsubscribe(client, pattern)
                await self.publish(f"s{len(self.history.publishes)}", 2, "/b/c")

        changing = asyncio.create_task(change())
        try:
            yield
            enough.set()
            await changing
        finally:
            changing.cancel()
            await asyncio.wait([changing])

    async def _publish_until(self, enough: asyncio.Event, publisher: str, pause: float) -> None:
        loop = asyncio.get_running_loop()
        for number in count():
            if enough.is_set():
                return
            next_at = loop.time() + pause
            await self._publish(publisher, number, CHANNELS, 0)
            await asyncio.sleep(max(0.0, next_at - loop.time()))  # a steady rate, which real time has to pass for

    async def _publish(self, publisher: str, number: int, channels: Sequence[str], padding: int) -> None:
        name = f"{publisher}-{number}-{'x' * padding}"
        channel = self.random.choice(channels)
        with self.history.publishing(name, channel, publisher):
            keyed = message(channel, json.dumps(name), idempotency_key=f"{self.history.seed}-{publisher}-{number}")
            await self.call("Publish", first=0, messages=[keyed])

    async def published(self, more: int) -> None:
        """Wait until so many more messages have been published."""
        enough = self.history.answered + more

        async def reached() -> bool:
            return self.history.answered >= enough

        await until(reached)

    async def holder_of(self, client: str, *, at: int | None = None) -> str:
        """The name of the front-end that a server says has a client."""
        name: str = (await self.call("GetClient", first=at, client_id=client)).client.front_end
        return name

    async def pending(self, client: str) -> int:
        """How many messages a client has not confirmed."""
        pending: int = (await self.call("GetClient", client_id=client)).client.pending
        return pending

    async def settle(self) -> None:
        """Publish a last message to each channel, and wait until every client has got it and all that is due to it."""
        ends = set()
        for channel in CHANNELS:
            publisher = f"end{len(self.history.publishes)}"
            await self.publish(publisher, 1, channel)
            ends.add(f"{publisher}-0-")
        left = {client: self.history.due(client) for client in self.clients}

        async def all_here() -> bool:
            for client in left:
                left[client] -= self.history.got[client]
            return all(len(due) <= self.history.gaps[client] and not due & ends for client, due in left.items())

        try:
            await until(all_here)
        except TimeoutError:
            missing = {client[:4]: sorted(due)[:10] for client, due in left.items() if due}
            raise AssertionError(f"seed {self.history.seed}: these never came: {missing}") from None


@asynccontextmanager
async def staged(servers: Sequence[Server], seed: int = 0) -> AsyncIterator[Stage]:
    """A stage with servers."""
    addresses = [server.address for server in servers]
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=_IMPATIENT))
            for address in addresses
        ]
        yield Stage(addresses, [Caller(channel) for channel in channels], History(seed))
