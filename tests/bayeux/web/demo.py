"""`make demo-web`: a chat in the browser on two front-ends, and a button that kills the one you are on."""

import argparse
import asyncio
import contextlib
import signal

from rich.console import Console
from tests.bayeux.web.stage import stage

__all__ = ["main"]


async def demonstrate(console: Console) -> None:
    """Run everything until Ctrl-C."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with stage(pause=3.0, max_interval=15.0, say=lambda what: console.print(f"[dim]• {what}")) as running:
        console.print(f"\n  Open [bold]{running.origin}[/bold]  and kill what you are on. Ctrl-C ends it all.\n")
        await stopped.wait()


def main() -> None:
    """Read the arguments and run."""
    argparse.ArgumentParser(prog="make demo-web", description=__doc__).parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(demonstrate(Console()))


if __name__ == "__main__":
    main()
