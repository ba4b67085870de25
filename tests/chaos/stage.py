"""What the chaos tests act with: front-ends as processes, publishers, and the history of it all."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc
from tests.support.caller import Caller, until, within
from tests.support.history import History, Holding

__all__ = ["CHANNELS", "FrontEnd", "Stage", "front_end", "staged"]

_ROOT = Path(__file__).parents[2]
CHANNELS = ("/a", "/a/b", "/b")
_PATTERNS = (*CHANNELS, "/a/*", "/a/**", "/**")
_LINE = 1 << 22


class FrontEnd:
    """A front-end process, as the test sees it: what it says becomes history."""

    def __init__(self, process: Process, history: History, clients: Sequence[str]) -> None:
        self._process = process
        self._history = history
        self._clients = clients
        self._holdings: dict[int, Holding] = {}
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())
        self.got = 0
        self.lost = 0
        self.attached = 0
        self.detached = 0

    async def reaches(self, *, got: int = 0, attached: int = 0, detached: int = 0) -> None:
        """Wait until it has told of so much."""
        async with within(), self._changed:
            await self._changed.wait_for(
                lambda: self.got >= got and self.attached >= attached and self.detached >= detached
            )

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
                self._take_down(json.loads(line))
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
        self.detached += "detached" in told


@asynccontextmanager
async def front_end(
    address: str, history: History, clients: Sequence[str], *, name: str = "edge", window: int = 8, hold: int = 0
) -> AsyncIterator[FrontEnd]:
    """A front-end that has attached these clients; killed, if it still lives, when the context is left."""
    command = (sys.executable, "-m", "tests.chaos.front_end")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=_ROOT, limit=_LINE)
    terms = {"address": address, "name": name, "clients": list(clients), "window": window, "hold": hold}
    assert process.stdin
    process.stdin.write(json.dumps(terms).encode() + b"\n")
    started = FrontEnd(process, history, clients)
    try:
        await started.reaches(attached=len(clients))
        yield started
    finally:
        await started.kill()


class Stage:
    """A server, its clients, and who publishes."""

    def __init__(self, address: str, caller: Caller, history: History) -> None:
        self.address = address
        self.caller = caller
        self.history = history
        self.random = Random(history.seed)
        self.clients: list[str] = []

    async def create_clients(self, count: int, *patterns: str) -> list[str]:
        """Clients with these subscriptions; without any, each with some of its own."""
        created = [await self.caller.client() for _ in range(count)]
        for client in created:
            for pattern in patterns or self.random.sample(_PATTERNS, 3):
                await self.subscribe(client, pattern)
        self.clients += created
        return created

    async def subscribe(self, client: str, pattern: str) -> None:
        """Subscribe a client."""
        with self.history.subscribing(client, pattern):
            await self.caller("Subscribe", client_id=client, channels=[pattern])

    async def unsubscribe(self, client: str, pattern: str) -> None:
        """Unsubscribe a client."""
        with self.history.unsubscribing(client, pattern):
            await self.caller("Unsubscribe", client_id=client, channels=[pattern])

    async def publish(self, publisher: str, messages: int, *channels: str, padding: int = 0) -> None:
        """Publish messages one after the other, each to a channel that is drawn."""
        for number in range(messages):
            await self._publish(publisher, number, channels or CHANNELS, padding)

    async def publish_until(self, enough: asyncio.Event, publisher: str) -> None:
        """Publish without a pause, each message to a channel that is drawn, until it is enough."""
        for number in count():
            if enough.is_set():
                return
            await self._publish(publisher, number, CHANNELS, 0)

    async def _publish(self, publisher: str, number: int, channels: Sequence[str], padding: int) -> None:
        name = f"{publisher}-{number}-{'x' * padding}"
        channel = self.random.choice(channels)
        with self.history.publishing(name, channel, publisher):
            await self.caller.publish(channel, json.dumps(name))

    async def pending(self, client: str) -> int:
        """How many messages a client has not confirmed."""
        pending: int = (await self.caller("GetClient", client_id=client)).client.pending
        return pending

    async def settle(self) -> None:
        """Publish a last message to each channel, and wait until every client has got it and all that is due to it."""
        ends = set()
        for channel in CHANNELS:
            publisher = f"end{len(self.history.publishes)}"
            await self.publish(publisher, 1, channel)
            ends.add(f"{publisher}-0-")

        async def all_here() -> bool:
            return all(self._has_all(client, ends) for client in self.clients)

        await until(all_here)

    def _has_all(self, client: str, ends: set[str]) -> bool:
        missing = self.history.missing(client)
        return len(missing) <= self.history.gaps[client] and not missing & ends


@asynccontextmanager
async def staged(address: str, seed: int = 0) -> AsyncIterator[Stage]:
    """A stage at a server's address."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield Stage(address, Caller(channel), History(seed))
