"""Everything a page needs: pixied, two front-ends that are started again when they die, and nginx before them."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from tests.bayeux.balanced import FrontEnd, Site
from tests.sdk.servers import Server, running_server

__all__ = ["Kept", "Stage", "stage"]

ROOT = Path(__file__).parents[3]
NAMES = ("one", "two")

Say = Callable[[str], None]


class Kept:
    """A front-end that comes back when it is killed, on the same port.

    Args:
        name: its name.
        command: starts it; the port is put in.
        pause: so many seconds after its death.
        say: called with what happens.
        changed: is notified when it has been started.
    """

    def __init__(
        self, name: str, command: Callable[[int], list[str]], pause: float, say: Say, changed: asyncio.Condition
    ) -> None:
        self.name = name
        self.port = 0
        self.starts = 0
        self._command = command
        self._pause = pause
        self._say = say
        self._changed = changed
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it ended instead; what it said of that is on standard error.
        """
        # In a session of its own, for Ctrl-C is for whoever keeps it.
        self._process = await asyncio.create_subprocess_exec(
            *self._command(self.port), stdout=PIPE, cwd=ROOT, start_new_session=True
        )
        assert self._process.stdout
        said = await self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"front-end {self.name} ended when it was started")
        self.port = json.loads(said)["port"]
        async with self._changed:
            self.starts += 1
            self._changed.notify_all()
        self._say(f"front-end {self.name} is process {self._process.pid}")

    async def keep(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        while True:
            assert self._process
            await self._process.wait()
            self._say(f"front-end {self.name} (process {self._process.pid}) is dead")
            await asyncio.sleep(self._pause)
            with suppress(RuntimeError):
                await self.start()

    async def end(self) -> None:
        """End it for good, once nobody keeps it any more."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Stage:
    """What runs.

    Args:
        pixied: pixied.
        front_ends: the front-ends.
        origin: where browsers go: nginx, which knows no sticky sessions.
        changed: is notified when a front-end has been started.
    """

    def __init__(self, pixied: Server, front_ends: list[Kept], origin: str, changed: asyncio.Condition) -> None:
        self.pixied = pixied
        self.origin = origin
        self._front_ends = front_ends
        self._changed = changed

    @property
    def starts(self) -> int:
        """How often front-ends have been started."""
        return sum(one.starts for one in self._front_ends)

    async def until_started(self, times: int) -> None:
        """Wait until front-ends have been started so often."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.starts >= times)

    @property
    def port(self) -> int:
        """The balancer's port."""
        return int(self.origin.rpartition(":")[2])


def _say_nothing(what: str) -> None:
    del what


@asynccontextmanager
async def stage(*, pause: float = 1.0, max_interval: float = 30.0, say: Say = _say_nothing) -> AsyncIterator[Stage]:
    """Start all of it, and end all of it.

    Args:
        pause: so many seconds after its death a front-end is started again.
        max_interval: so many seconds a session outlives its last connect.
        say: called with what happens.
    """
    async with AsyncExitStack() as stack:
        pixied = stack.enter_context(running_server())
        changed = asyncio.Condition()
        front_ends = [Kept(name, _command(pixied.address, name, max_interval), pause, say, changed) for name in NAMES]
        for front_end in front_ends:
            stack.push_async_callback(front_end.end)
        await asyncio.gather(*(front_end.start() for front_end in front_ends))
        for front_end in front_ends:
            stack.push_async_callback(_cancelled, asyncio.create_task(front_end.keep()))
        site = Site(pixied.address, stack)
        # nginx needs to know where they are, and nothing else of them.
        await site.balance(*(FrontEnd(None, f"127.0.0.1:{one.port}") for one in front_ends))  # type: ignore[arg-type]
        yield Stage(pixied, front_ends, site.url.removesuffix("/bayeux"), changed)


def _command(pixied: str, name: str, max_interval: float) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "tests.bayeux.web.front_end", pixied, str(port), name, str(max_interval)]

    return command


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])
