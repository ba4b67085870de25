"""The main scenario: real Faye clients on two Faye servers on pixied, and servers are killed while messages flow.

Real processes all of them: pixied, two unmodified Faye servers, a TCP balancer without sticky sessions before them,
subscribers on websockets and by long-polling, publishers on both. While messages flow one Faye server hangs (SIGSTOP)
until there are messages for its clients that it has not confirmed, and is then killed (SIGKILL): so the kill always
hits messages on their way, not only by luck. Its clients come back through the balancer.

With the redis engine each Faye server has a pixied of its own, over one Redis, and knows the address of the other's.
Just before that the pixied of the *other* Faye server is killed in the same way. So that server has to go over to the
pixied that is left while all the clients come to it.

The demo shows it, and the end-to-end tests assert on it.
"""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.e2e import stage

from pixied_client import Admin

__all__ = ["ENGINES", "HELD_UP", "Outcome", "Plan", "Step", "play"]

ENGINES = ("memory", "redis")
TRANSPORTS = ("websocket", "long-polling")
# So many messages are answered while a pixied hangs. None of them can have passed through it.
HELD_UP = 10
# In so many parts the second half of the messages is published: one when a pixied hangs, the rest when a Faye server
# does.
_PARTS = 2


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        messages: what is published: channel and data, in order.
        subscribers: so many clients, half on websockets and half on long-polling.
        patterns: client i subscribes to pattern i modulo their number. Every message must match all of them.
        rate: messages a second, of all publishers together.
        engine: pixied's, one of `ENGINES`.
        timeout: so many seconds without any progress are a failure.
    """

    messages: Sequence[tuple[str, object]]
    subscribers: int
    patterns: Sequence[str]
    rate: float = 200.0
    engine: str = "memory"
    timeout: float = 60.0


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        sent: the numbers of the messages that a Faye server answered with success.
        refused: the numbers of those it refused, and why.
        got: how often each client got each message: client, number.
        at_stake: deliveries to clients of the killed server that came while it hung, so that it never confirmed them.
        at_pixied: deliveries that were due while the killed pixied hung, and not made when it was killed.
    """

    subscribers: int
    sent: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    got: Counter[tuple[int, int]] = field(default_factory=Counter)
    at_stake: int = 0
    at_pixied: int = 0

    @property
    def delivered(self) -> int:
        """Deliveries, each message once for each client."""
        return len(self.got)

    @property
    def redelivered(self) -> int:
        """Further copies."""
        return self.got.total() - len(self.got)

    @property
    def lost(self) -> int:
        """Deliveries of answered messages that are missing."""
        return self.missing(self.sent)

    def missing(self, numbers: Iterable[int]) -> int:
        """Count the deliveries of these messages that are missing."""
        return sum((client, number) not in self.got for number in numbers for client in range(self.subscribers))


Step = Callable[[str, Outcome], None]


async def play(plan: Plan, step: Step) -> Outcome:
    """Play the scenario.

    Args:
        plan: what is played.
        step: is called with a line for people on each step, and with "" on progress.

    Raises:
        RuntimeError: a process failed, or nothing moved for too long.
    """
    outcome = Outcome(plan.subscribers)
    async with AsyncExitStack() as stack:
        pixieds = await _pixieds(stack, plan.engine, lambda text: step(text, outcome))
        # Each Faye server prefers its own pixied, the first of them the one that is not killed.
        addresses = [pixied.address for pixied in pixieds]
        victim, survivor = await asyncio.gather(
            stage.faye_server(stack, *addresses), stage.faye_server(stack, *reversed(addresses))
        )
        url = await stage.balancer(stack, [victim, survivor])
        step(f"two Faye servers on ports {victim.port} and {survivor.port}, behind {url}", outcome)
        # A pixied is hit by messages that another one has taken, so some have to be published there.
        through_victim = url if len(pixieds) == 1 else await stage.balancer(stack, [victim, survivor], in_order=True)
        admin = await stack.enter_async_context(Admin(addresses[0]))
        playing = _Play(plan, outcome, step, stack, url, (through_victim, survivor.url), admin)
        await playing.run(victim.process, pixieds[1].process if len(pixieds) > 1 else None)
    return outcome


async def _pixieds(stack: AsyncExitStack, engine: str, say: Callable[[str], None]) -> Sequence[stage.Pixied]:
    if engine == "memory":
        only = await stage.pixied(stack, engine)
        say(f"pixied listens on {only.address}")
        return [only]
    store = stage.redis(stack)
    say(f"a Redis with an append-only file, at {store}")
    pixieds = await asyncio.gather(*(stage.pixied(stack, store) for _ in range(2)))
    say(f"two pixieds over it, on {' and '.join(pixied.address for pixied in pixieds)}")
    return pixieds


class _Play:
    """The part with messages in it.

    Args:
        plan: what is played.
        outcome: what became of it.
        step: as for `play`.
        stack: ends all processes.
        url: where the subscribers are.
        urls: where the publishers publish, one each. The second one's is the server that is not killed, so that
            messages flow while the other one hangs.
        admin: that of a pixied that is not killed.
    """

    def __init__(
        self,
        plan: Plan,
        outcome: Outcome,
        step: Step,
        stack: AsyncExitStack,
        url: str,
        urls: tuple[str, str],
        admin: Admin,
    ) -> None:
        self._plan = plan
        self._outcome = outcome
        self._step = step
        self._stack = stack
        self._url = url
        self._urls = urls
        self._admin = admin
        self._moved = asyncio.Event()
        self._ready = 0
        self._done = 0
        # What the publishers have still to be given. Each server is killed while some of it is being published, also
        # where everything else takes its time.
        self._left: list[tuple[Process, list[str]]] = []

    async def run(self, victim: Process, pixied: Process | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(self._hear(process)) for process in await self._subscribers()]
            await self._until(lambda: self._ready == len(TRANSPORTS))
            self._step(f"{self._plan.subscribers} clients are subscribed", self._outcome)
            for index, transport in enumerate(TRANSPORTS):
                listeners.append(tasks.create_task(self._publish(index, transport)))
            half = sum(len(self._numbers(index)) // 2 for index in range(len(TRANSPORTS)))
            await self._until(lambda: len(self._outcome.sent) >= half)
            if pixied:
                await self._kill_pixied(pixied)
            await self._kill(victim)
            await self._until(lambda: self._done == len(TRANSPORTS))
            self._step("all messages are published and answered", self._outcome)
            await self._until(lambda: not self._outcome.lost)
            for listener in listeners:
                listener.cancel()

    async def _kill(self, victim: Process) -> None:
        """With messages on their way through the victim."""
        victim.send_signal(signal.SIGSTOP)
        before = await self._pending_at(victim)
        self._go_on(_PARTS)
        at_stake = 0
        while not at_stake:
            await self._moves()
            now = await self._pending_at(victim)
            at_stake = sum(max(0, now[client] - before[client]) for client in now.keys() & before.keys())
        victim.send_signal(signal.SIGKILL)
        self._outcome.at_stake = at_stake
        sent = len(self._outcome.sent)
        self._step(
            f"killed a Faye server after {sent:,} messages, with {at_stake:,} deliveries on their way", self._outcome
        )

    async def _kill_pixied(self, pixied: Process) -> None:
        """With messages that another one has taken, and that this one has clients for."""
        before = frozenset(self._outcome.sent)
        pixied.send_signal(signal.SIGSTOP)
        self._go_on()
        await self._until(lambda: len(self._outcome.sent - before) >= HELD_UP)
        pixied.send_signal(signal.SIGKILL)
        self._outcome.at_pixied = self._outcome.missing(self._outcome.sent - before)
        self._step(
            f"killed a pixied after {len(before):,} messages, with {self._outcome.at_pixied:,} deliveries on their "
            "way; its Faye server goes over to the other one",
            self._outcome,
        )

    async def _pending_at(self, server: Process) -> dict[str, int]:
        """What each client that this Faye server holds has pending. Its name at pixied ends in its process id."""
        clients = [client async for client in self._admin.all_clients()]
        return {one.client_id: one.pending for one in clients if one.front_end.endswith(f":{server.pid}")}

    async def _subscribers(self) -> list[Process]:
        half = (self._plan.subscribers + 1) // 2
        shares = ((0, half), (half, self._plan.subscribers - half))
        patterns = self._plan.patterns
        return [
            await stage.client(self._stack, "subscribers.js", self._url, transport, str(first), str(count), *patterns)
            for transport, (first, count) in zip(TRANSPORTS, shares, strict=True)
        ]

    async def _hear(self, process: Process) -> None:
        async for event in stage.events(process):
            match event["event"]:
                case "ready":
                    self._ready += 1
                case "message":
                    self._got(int(str(event["client"])), event["data"])
            self._moved.set()

    def _got(self, client: int, data: object) -> None:
        if not isinstance(data, dict):
            raise TypeError(f"not what was published: {data!r}")
        # Their order is not looked at: a Faye client whose server dies sends older messages again after newer ones.
        self._outcome.got[client, int(data["number"])] += 1
        self._step("", self._outcome)

    def _numbers(self, index: int) -> range:
        """The messages of one of two publishers: every second one."""
        return range(index, len(self._plan.messages), len(TRANSPORTS))

    async def _publish(self, index: int, transport: str) -> None:
        """Publish every second message: half of them now, the rest when it is told to go on, and on."""
        rate = self._plan.rate / len(TRANSPORTS)
        numbers = self._numbers(index)
        lines = [_line(number, *self._plan.messages[number]) for number in numbers]
        half, most = len(lines) // 2, len(lines) * 3 // 4
        process = await stage.client(self._stack, "publisher.js", self._urls[index], transport, str(rate))
        process.stdin.write("".join(lines[:half]).encode())
        self._left.append((process, ["".join(lines[half:most]), "".join(lines[most:])]))
        async for event in stage.events(process):
            match event["event"]:
                case "published":
                    self._outcome.sent.add(numbers[int(str(event["line"]))])
                case "refused":
                    self._outcome.refused[numbers[int(str(event["line"]))]] = str(event["why"])
                case "done":
                    self._done += 1
            self._moved.set()

    def _go_on(self, parts: int = 1) -> None:
        """Have so many parts of what is left published."""
        for process, left in self._left:
            process.stdin.write("".join(left[:parts]).encode())
            del left[:parts]
            if not left:
                process.stdin.close()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._moves()

    async def _moves(self) -> None:
        """Wait for the next event of any client."""
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), self._plan.timeout)
        except TimeoutError:
            raise RuntimeError(
                f"nothing moved for {self._plan.timeout:g} s: {len(self._outcome.sent)} sent, "
                f"{self._outcome.delivered} delivered, {self._outcome.lost} missing"
            ) from None


def _line(number: int, channel: str, data: object) -> str:
    return json.dumps({"channel": channel, "data": {"number": number, "data": data}}) + "\n"
