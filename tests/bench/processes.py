"""The processes of a benchmark: each server has one of its own, and so has what loads it."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = [
    "FAYE",
    "PATIENT",
    "Server",
    "bayeux",
    "node",
    "pixied",
    "python",
    "redis",
    "redis_for_pixied",
    "resident_bytes",
    "started",
    "stop",
]

FAYE = Path(__file__).parent / "faye"
PATIENT = ("--heartbeat-interval", "30min", "--silence-limit", "1h")
"""Flags of a pixied for front-ends that answer no heartbeats."""
_LINE = 1 << 24  # bytes of the longest line that a process may say


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    process: Process


def resident_bytes(process: Process) -> int:
    """The memory that a process has now, from /proc."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError("VmRSS")


@asynccontextmanager
async def started(
    command: Sequence[str | Path], *, stdin: int = DEVNULL, stderr: int | None = None
) -> AsyncIterator[Process]:
    """A process that lives as long as the context. What it says in lines is for the caller to read."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIXIED_")}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=PIPE, stderr=stderr, env=environment, limit=_LINE
    )
    try:
        yield process
    finally:
        stop(process)
        await process.wait()


def stop(process: Process, number: int = signal.SIGTERM) -> None:
    """Send a signal to a process that may have ended.

    Not by the process's own methods: they look whether it has, and so take its end away from who waits for it.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@asynccontextmanager
async def pixied(*flags: str) -> AsyncIterator[Server]:
    """A pixied of its own on a Unix socket."""
    with TemporaryDirectory() as folder:
        address = f"unix://{folder}/pixied.sock"
        async with _listening("serve", "--listen", address, *flags) as (process, _):
            yield Server(address, process)


@asynccontextmanager
async def bayeux(backend: str, path: str) -> AsyncIterator[Server]:
    """A `pixied bayeux`, serving clients at a path on a port of its own. Its address is `host:port`.

    Args:
        backend: the address of its pixied.
        path: where clients connect.
    """
    flags = ("--address", backend, "--listen", "127.0.0.1:0", "--path", path)
    async with _listening("bayeux", *flags) as (process, said):
        yield Server(str(said["address"]), process)


@asynccontextmanager
async def _listening(*command: str) -> AsyncIterator[tuple[Process, dict[str, object]]]:
    """A command of `pixied` that serves, and what it has said of where it listens."""
    arguments = [sys.executable, "-m", "pixied_server", *command, "--log-format", "json"]
    async with started(arguments, stderr=PIPE) as process:
        while b'"listening"' not in (line := await process.stderr.readline()):
            if not line:
                raise RuntimeError(f"pixied {command[0]} did not start")
        reading = asyncio.create_task(_drain(process.stderr))
        yield process, json.loads(line)
        stop(process)
        await reading


@asynccontextmanager
async def python(module: str, *arguments: str | Path) -> AsyncIterator[Server]:
    """A module of this package that serves on a Unix socket, which is its first argument, and says so in a line."""
    with TemporaryDirectory() as folder:
        address = f"unix://{folder}/server.sock"
        async with started([sys.executable, "-m", f"tests.bench.{module}", address, *arguments]) as process:
            if not await process.stdout.readline():
                raise RuntimeError(f"{module} did not start")
            yield Server(address, process)


@asynccontextmanager
async def node(script: str, *arguments: str) -> AsyncIterator[tuple[Process, dict[str, object]]]:
    """A script of `faye/`, and the first thing that it says."""
    program = shutil.which("node")
    if program is None:
        raise RuntimeError("Node 20 or newer is needed, and node was not found")
    async with started([program, FAYE / script, *arguments], stdin=PIPE) as process:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{script} did not start")
        yield process, json.loads(line)


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """A redis-server of its own that writes nothing to disk. Gives the path of its Unix socket."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/redis.sock"
        async with _redis("--port", "0", "--unixsocket", path, "--dir", folder):
            yield path


@asynccontextmanager
async def redis_for_pixied() -> AsyncIterator[str]:
    """The same. Gives the URL that `pixied serve --engine` takes."""
    async with redis() as path:
        yield f"unix://{path}?db=0"


@asynccontextmanager
async def _redis(*settings: str) -> AsyncIterator[None]:
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is needed, and was not found; `make bench` installs it")
    async with started([program, *settings, "--save", "", "--appendonly", "no"]) as process:
        while b"eady to accept connections" not in (line := await process.stdout.readline()):
            if not line:
                raise RuntimeError("redis-server did not start")
        reading = asyncio.create_task(_drain(process.stdout))
        yield
        stop(process)
        await reading


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
