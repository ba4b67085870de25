"""The main scenario: real Faye clients on two Faye servers on one pixied, and one of the servers is killed.

Real processes all of them: pixied, two unmodified Faye servers, a TCP balancer without sticky sessions before them,
subscribers on websockets and by long-polling, publishers on both. While messages flow one Faye server hangs (SIGSTOP)
until there is mail for its clients that it has not confirmed, and is then killed (SIGKILL): so the kill always hits
messages on their way, not only by luck. Its clients come back through the balancer. The demo shows it, and the
end-to-end test asserts on it.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pixied_client import Admin

__all__ = ["Outcome", "Plan", "Step", "play"]

FAYE = Path(__file__).parent / "faye"
TRANSPORTS = ("websocket", "long-polling")

Event = dict[str, object]


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        messages: what is published: channel and data, in order.
        subscribers: so many clients, half on websockets and half on long-polling.
        patterns: client i subscribes to pattern i modulo their number. Every message must match all of them.
        rate: messages a second, of all publishers together.
        patience: so many seconds without any progress are a failure.
    """

    messages: Sequence[tuple[str, object]]
    subscribers: int
    patterns: Sequence[str]
    rate: float = 200.0
    patience: float = 60.0


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        sent: the numbers of the messages that a Faye server answered with success.
        refused: the numbers of those it refused, and why.
        got: how often each client got each message: client, number.
        at_stake: deliveries to clients of the killed server that came while it hung, so that it never confirmed them.
    """

    subscribers: int
    sent: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    got: Counter[tuple[int, int]] = field(default_factory=Counter)
    at_stake: int = 0

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
        return sum((client, number) not in self.got for number in self.sent for client in range(self.subscribers))


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
        address = await stack.enter_async_context(_pixied(stack))
        step(f"pixied listens on {address}", outcome)
        admin = await stack.enter_async_context(Admin(address))
        servers = [await _started(stack, [_node(), FAYE / "server.js", address, "0"]) for _ in range(2)]
        ports = [str((await _said(server))["port"]) for server in servers]
        balancer = await _started(stack, [_node(), FAYE / "balancer.js", *ports])
        url = f"http://127.0.0.1:{(await _said(balancer))['port']}/faye"
        step(f"two Faye servers on ports {' and '.join(ports)}, behind {url}", outcome)
        survivor = f"http://127.0.0.1:{ports[1]}/faye"
        await _Play(plan, outcome, step, stack, (url, survivor), admin).run(servers[0])
    return outcome


class _Play:
    """The part with messages in it.

    Args:
        plan: what is played.
        outcome: what became of it.
        step: as for `play`.
        stack: ends all processes.
        urls: where the publishers publish, one each. The first one's is the subscribers' too. The second one's is the
            server that is not killed, so that messages flow while the other one hangs.
        admin: pixied's.
    """

    def __init__(
        self, plan: Plan, outcome: Outcome, step: Step, stack: AsyncExitStack, urls: tuple[str, str], admin: Admin
    ) -> None:
        self._plan = plan
        self._outcome = outcome
        self._step = step
        self._stack = stack
        self._urls = urls
        self._admin = admin
        self._moved = asyncio.Event()
        self._ready = 0
        self._done = 0

    async def run(self, victim: Process) -> None:
        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(self._hear(process)) for process in await self._subscribers()]
            await self._until(lambda: self._ready == len(TRANSPORTS))
            self._step(f"{self._plan.subscribers} clients are subscribed", self._outcome)
            for index, transport in enumerate(TRANSPORTS):
                listeners.append(tasks.create_task(self._publish(index, transport)))
            await self._kill(victim)
            await self._until(lambda: self._done == len(TRANSPORTS))
            self._step("all messages are published and answered", self._outcome)
            await self._until(lambda: not self._outcome.lost)
            for listener in listeners:
                listener.cancel()

    async def _kill(self, victim: Process) -> None:
        """Halfway, and with messages on their way through the victim."""
        half = len(self._plan.messages) // 2
        await self._until(lambda: len(self._outcome.sent) >= half)
        victim.send_signal(signal.SIGSTOP)
        before = await self._pending_at(victim)
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

    async def _pending_at(self, server: Process) -> dict[str, int]:
        """What each client that this Faye server holds has pending. Its name at pixied ends in its process id."""
        clients = [client async for client in self._admin.all_clients()]
        return {one.client_id: one.pending for one in clients if one.front_end.endswith(f":{server.pid}")}

    async def _subscribers(self) -> list[Process]:
        half = (self._plan.subscribers + 1) // 2
        shares = ((0, half), (half, self._plan.subscribers - half))
        script = [_node(), FAYE / "subscribers.js", self._urls[0]]
        return [
            await _started(self._stack, [*script, transport, str(first), str(count), *self._plan.patterns])
            for transport, (first, count) in zip(TRANSPORTS, shares, strict=True)
        ]

    async def _hear(self, process: Process) -> None:
        async for event in _events(process):
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

    async def _publish(self, index: int, transport: str) -> None:
        """Publish every second message, as one of two publishers."""
        rate = self._plan.rate / len(TRANSPORTS)
        process = await _started(
            self._stack, [_node(), FAYE / "publisher.js", self._urls[index], transport, str(rate)], stdin=PIPE
        )
        numbers = range(index, len(self._plan.messages), len(TRANSPORTS))
        lines = [_line(number, *self._plan.messages[number]) for number in numbers]
        process.stdin.write("".join(lines).encode())
        process.stdin.close()
        async for event in _events(process):
            match event["event"]:
                case "published":
                    self._outcome.sent.add(numbers[int(str(event["line"]))])
                case "refused":
                    self._outcome.refused[numbers[int(str(event["line"]))]] = str(event["why"])
                case "done":
                    self._done += 1
            self._moved.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._moves()

    async def _moves(self) -> None:
        """Wait for the next event of any client."""
        self._moved.clear()
        try:
            await asyncio.wait_for(self._moved.wait(), self._plan.patience)
        except TimeoutError:
            raise RuntimeError(
                f"nothing moved for {self._plan.patience:g} s: {len(self._outcome.sent)} sent, "
                f"{self._outcome.delivered} delivered, {self._outcome.lost} missing"
            ) from None


def _line(number: int, channel: str, data: object) -> str:
    return json.dumps({"channel": channel, "data": {"number": number, "data": data}}) + "\n"


@asynccontextmanager
async def _pixied(stack: AsyncExitStack) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "pixied_server", "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]
    process = await _started(stack, command, stderr=PIPE)
    while True:
        line = await process.stderr.readline()
        if not line:
            raise RuntimeError("pixied did not start")
        event = json.loads(line)
        if event["event"] == "listening":
            break
    drained = asyncio.create_task(_drain(process.stderr))
    try:
        yield event["addresses"][0]
    finally:
        process.terminate()
        await process.wait()
        await drained


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def _started(stack: AsyncExitStack, command: Sequence[str | Path], **pipes: int) -> Process:
    """A process that ends with the stack."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, **pipes, env=_environment(), limit=1 << 22)
    stack.push_async_callback(_ended, process)
    return process


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _environment() -> dict[str, str]:
    """This process's, without settings that would reach the pixied that is started."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PIXIED_")}


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise RuntimeError("Node 20 or newer is needed, and node was not found")
    return node


async def _said(process: Process) -> Event:
    return await anext(_events(process))


async def _events(process: Process) -> AsyncIterator[Event]:
    """The JSON lines a process says."""
    while line := await process.stdout.readline():
        yield json.loads(line)
    if await process.wait() > 0:
        raise RuntimeError(f"a helper process ended with {process.returncode}")
