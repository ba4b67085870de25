"""The processes of the main scenario: pixied, or two of them over a Redis; Faye servers; balancers; Faye clients."""

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.support.redis_servers import single

__all__ = ["FAYE", "Event", "FayeServer", "Pixied", "balancer", "client", "events", "faye_server", "pixied", "redis"]

FAYE = Path(__file__).parent / "faye"
HOST = "127.0.0.1"

Event = dict[str, object]


@dataclass(frozen=True)
class Pixied:
    """A pixied that listens."""

    address: str
    process: Process


@dataclass(frozen=True)
class FayeServer:
    """A Faye server that listens."""

    port: str
    process: Process

    @property
    def url(self) -> str:
        """Where its clients find it."""
        return f"http://{HOST}:{self.port}/faye"


def redis(stack: AsyncExitStack) -> str:
    """Start a Redis with an append-only file, gone with the stack. Gives its address as pixied takes it."""
    return stack.enter_context(single(appendonly="yes")).url


async def pixied(stack: AsyncExitStack, engine: str) -> Pixied:
    """Start a pixied. It ends with the stack as an operator would end it, if it still runs."""
    command = [sys.executable, "-m", "pixied_server", "serve", "--engine", engine]
    process = await _started(stack, [*command, "--listen", f"{HOST}:0", "--log-format", "json"], stderr=PIPE)
    while True:
        line = await process.stderr.readline()
        if not line:
            raise RuntimeError("pixied did not start")
        event = json.loads(line)
        if event["event"] == "listening":
            break
    drained = asyncio.create_task(_drain(process.stderr))
    stack.push_async_callback(_stopped, process, drained)
    return Pixied(event["addresses"][0], process)


async def faye_server(stack: AsyncExitStack, *addresses: str) -> FayeServer:
    """Start a Faye server on the first of these pixieds that answers."""
    process = await _started(stack, [_node(), FAYE / "server.js", ",".join(addresses), "0"])
    return FayeServer(str((await anext(events(process)))["port"]), process)


async def balancer(stack: AsyncExitStack, servers: Sequence[FayeServer], *, in_order: bool = False) -> str:
    """Start a balancer before Faye servers; one in order always takes the first that answers. Gives its URL."""
    ports = [server.port for server in servers]
    process = await _started(stack, [_node(), FAYE / "balancer.js", *(["--in-order"] if in_order else []), *ports])
    return f"http://{HOST}:{(await anext(events(process)))['port']}/faye"


async def client(stack: AsyncExitStack, script: str, *arguments: str) -> Process:
    """Start a script with Faye clients; what it is to read is for the caller to write."""
    return await _started(stack, [_node(), FAYE / script, *arguments], stdin=PIPE)


async def events(process: Process) -> AsyncIterator[Event]:
    """The JSON lines a process says."""
    while line := await process.stdout.readline():
        yield json.loads(line)
    if await process.wait() > 0:
        raise RuntimeError(f"a helper process ended with {process.returncode}")


async def _stopped(process: Process, drained: asyncio.Task[None]) -> None:
    if process.returncode is None:
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
