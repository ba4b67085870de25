"""A laptop: headless Chromium with an empty profile, which can be put to sleep."""

import asyncio
import os
import shutil
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Playwright
from tests.sdk.servers import TIMEOUT

__all__ = ["Laptop", "laptop"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers have a small one.
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    # Whoever made such a name could make it lead here.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
)


class Laptop:
    """One browser.

    Attributes:
        browser: to open pages with; not while it sleeps.
    """

    def __init__(self, process: Process, browser: Browser) -> None:
        self._process = process
        self.browser = browser

    def sleep(self) -> None:
        """Stop everything in it: no timer runs, and nothing is read from the network."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let everything go on where it was."""
        os.killpg(self._process.pid, signal.SIGCONT)


@asynccontextmanager
async def laptop(playwright: Playwright) -> AsyncIterator[Laptop]:
    """Start one, and end it."""
    program = shutil.which("chromium")
    assert program, "chromium is needed: apt-get install chromium"
    async with AsyncExitStack() as stack:
        profile = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pixied-", ignore_cleanup_errors=True)))
        process = await asyncio.create_subprocess_exec(
            program, *_FLAGS, f"--user-data-dir={profile}", stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
        stack.push_async_callback(_ended, process)
        browser = await playwright.chromium.connect_over_cdp(await _debugger(profile), timeout=TIMEOUT * 1_000)
        stack.push_async_callback(browser.close)
        yield Laptop(process, browser)


async def _debugger(profile: Path) -> str:
    """Wait until the browser has written where it listens."""
    told = profile / "DevToolsActivePort"
    async with asyncio.timeout(TIMEOUT):
        while not (told.exists() and len(lines := told.read_text().split()) == 2):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    port, path = lines
    return f"ws://127.0.0.1:{port}{path}"


async def _ended(process: Process) -> None:
    """End it in good order, for so its crash reporters, which are no children of it, end too."""
    os.killpg(process.pid, signal.SIGCONT)
    process.terminate()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
