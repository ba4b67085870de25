"""A server of its own for one measurement."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Server", "serving"]


@dataclass(frozen=True)
class Server:
    """A running pixied."""

    address: str
    process: Process

    def resident_bytes(self) -> int:
        """The memory it has now, from /proc."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise LookupError("VmRSS")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Server]:
    """A pixied on a Unix socket in the folder."""
    address = f"unix://{folder}/pixied.sock"
    command = (sys.executable, "-m", "pixied_server", "serve", "--listen", address, "--log-format", "json")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIXIED_")}
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE, env=environment)
    try:
        while b'"listening"' not in await process.stderr.readline():
            if process.stderr.at_eof():
                raise RuntimeError("pixied did not start")
        yield Server(address, process)
    finally:
        process.terminate()
        await process.wait()
