"""Front-ends in processes of their own behind nginx, which gives each connection to the next one: none is sticky."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sdk.servers import TIMEOUT

CLIENTS = Path(__file__).parent / "clients"

Event = dict[str, Any]

_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/errors warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  upstream front_ends {{ {servers} }}
  server {{
    listen unix:{folder}/socket;
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://front_ends;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_buffering off;
      proxy_read_timeout 90s;
    }}
  }}
}}
"""


@dataclass
class FrontEnd:
    """One `pixied bayeux`."""

    process: Process
    address: str

    async def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Stop it as an operator would; give its exit code."""
        self.process.terminate()
        async with asyncio.timeout(TIMEOUT):
            return await self.process.wait()


class Site:
    """Front-ends on one pixied, and nginx before them.

    Args:
        pixied: pixied's address.
        stack: ends all processes.
    """

    def __init__(self, pixied: str, stack: AsyncExitStack) -> None:
        self._pixied = pixied
        self._stack = stack
        self.url = ""

    async def front_end(self, name: str, *flags: str) -> FrontEnd:
        """Start one."""
        command = [sys.executable, "-m", "pixied_server", "--address", self._pixied, "bayeux", "--name", name]
        process = await self._start(*command, "--listen", "127.0.0.1:0", "--log-format", "json", *flags, stderr=PIPE)
        assert process.stderr
        async for event in events(process.stderr):
            if event["event"] == "listening":
                break
        self._stack.push_async_callback(_reaped, asyncio.create_task(_drained(process.stderr)))
        return FrontEnd(process, event["address"])

    async def front_ends(self, *names: str) -> list[FrontEnd]:
        """Start several together: each takes a second to be there."""
        return await asyncio.gather(*map(self.front_end, names))

    async def balance(self, *front_ends: FrontEnd) -> None:
        """Start nginx before front-ends; `url` is then where clients connect."""
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pixied-")))
        port = _free_port()
        servers = " ".join(f"server {one.address} max_fails=1 fail_timeout=2s;" for one in front_ends)
        (folder / "conf").write_text(_NGINX.format(folder=folder, servers=servers, port=port))
        nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        assert nginx, "nginx is needed: apt-get install nginx-light"
        await self._start(nginx, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "errors"))
        async with asyncio.timeout(TIMEOUT):
            while not await _answers(port):  # noqa: ASYNC110 - nginx says nothing when it is ready
                await asyncio.sleep(0.02)
        self.url = f"http://127.0.0.1:{port}/bayeux"

    async def client(self, kind: str) -> "Client":
        """Start an unmodified client and wait until it is connected."""
        client = Client(await self._start("node", str(CLIENTS / "client.mjs"), kind, self.url, stdin=PIPE, stdout=PIPE))
        self._stack.push_async_callback(_reaped, client.reading)
        await client.until(lambda: bool(client.sessions))
        return client

    async def clients(self, kind: str, count: int) -> list["Client"]:
        """Start so many together."""
        return await asyncio.gather(*(self.client(kind) for _ in range(count)))

    async def _start(self, *command: str, **pipes: int) -> Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIXIED_")}
        process = await asyncio.create_subprocess_exec(*command, **pipes, env=environment, limit=1 << 22)
        self._stack.push_async_callback(_ended, process)
        return process


class Client:
    """A client in a process of its own, and all that it has said.

    Attributes:
        sessions: a name for each session that it began.
        got: the data of its messages, in order.
        answered: how many of its connects were answered.
        breaks: how much it had got whenever its connection broke.
        published: the data that was published and answered.
        disconnected: how often a session ended, by itself or by the server.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._news = asyncio.Event()
        self.sessions: list[str] = []
        self.got: list[Any] = []
        self.answered = 0
        self.breaks: list[int] = []
        self.published: list[Any] = []
        self.subscribed = 0
        self.disconnected = 0
        self.gone = False
        self.reading = asyncio.create_task(self._read())

    async def do(self, command: str, **about: object) -> None:
        """Tell it to do something."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": command, **about}).encode() + b"\n")
        await self._process.stdin.drain()

    async def subscribe(self, channel: str) -> None:
        """Subscribe, and wait until that is answered."""
        before = self.subscribed
        await self.do("subscribe", channel=channel)
        await self.until(lambda: self.subscribed > before)

    async def until(self, true: Any) -> None:
        """Wait for something that it says."""
        async with asyncio.timeout(TIMEOUT):
            while not true():
                self._news.clear()
                assert not self.gone or true(), "the client's process ended"
                await self._news.wait()

    async def _read(self) -> None:
        assert self._process.stdout
        async for event in events(self._process.stdout):
            self._take(event)
            self._news.set()
        self.gone = True
        self._news.set()

    def _take(self, event: Event) -> None:
        match event["event"]:
            case "connected":
                self.sessions.append(event["client"])
            case "answered":
                self.answered += 1
            case "broken":
                self.breaks.append(len(self.got))
            case "subscribed":
                assert event["successful"]
                self.subscribed += 1
            case "message":
                self.got.append(event["data"])
            case "disconnected":
                self.disconnected += 1
            case "published":
                if event["successful"]:
                    self.published.append(event["data"])


@asynccontextmanager
async def site(pixied: str) -> AsyncIterator[Site]:
    """Give a site, and end all its processes."""
    async with AsyncExitStack() as stack:
        yield Site(pixied, stack)


async def events(stream: asyncio.StreamReader) -> AsyncIterator[Event]:
    """Read JSON lines."""
    while line := await stream.readline():
        yield json.loads(line)


async def _drained(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _reaped(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
