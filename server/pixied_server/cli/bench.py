"""`pixied bench`: what an installation carries, measured with its own publishers and subscribers."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from pixied_client import PixiedError
from pixied_server.cli.connection import ServerAddress, admin
from pixied_server.cli.exits import ExitCode, fail
from pixied_server.cli.load import Load, Plan
from pixied_server.cli.output import console, table, write_json

__all__ = ["bench"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
_HANDS = 0.5  # seconds between two live figures
_LEAST_SIZE = 64


def bench(
    *,
    publishers: Annotated[int, typer.Option(min=1, max=10_000, help="Publishers.")] = Plan.publishers,
    subscribers: Annotated[int, typer.Option(min=1, max=100_000, help="Subscribers.")] = Plan.subscribers,
    channels: Annotated[int, typer.Option(min=1, max=100_000, help="Channels.")] = Plan.channels,
    rate: Annotated[
        float, typer.Option(min=0, help="Messages a second in all; 0 for as many as the server answers.")
    ] = Plan.rate,
    size: Annotated[int, typer.Option(min=_LEAST_SIZE, max=1_000_000, help="Bytes of a message's data.")] = Plan.size,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = Plan.duration,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    address: ServerAddress = None,
) -> None:
    """Measure the server at --address: publish to subscribers of its own, and see what arrives, and when.

    Every delivery is checked for order, loss and duplicates. Ctrl-C ends it early. The load is one process: if it takes
    a whole core, start several at once. It creates clients and channels of its own (/bench/...), and removes them.
    """
    plan = Plan(publishers, subscribers, channels, rate, size, duration)
    with admin(address) as server:
        server.get_info()
        load, seconds = asyncio.run(_measured(str(address), plan))
    outcome = _outcome(plan, load, seconds)
    if as_json:
        write_json(outcome)
    else:
        table(("", ""), [(name.replace("_", " "), value) for name, value in outcome.items()])
    if not load.tally.faultless:
        fail(ExitCode.REFUSED, "not every message arrived in order and once; is a front-end or the server overloaded?")


async def _measured(address: str, plan: Plan) -> tuple[Load, float]:
    load = Load(address, plan, time.perf_counter)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, load.end)
    with _live(load, plan):
        try:
            return load, await load.run()
        except* PixiedError as failures:
            raise _first(failures) from None
        finally:
            loop.remove_signal_handler(signal.SIGINT)


def _first(failures: BaseExceptionGroup[PixiedError]) -> PixiedError:
    """One of them: what stops the load stops all of it in the same way."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, PixiedError):
        raise TypeError(error)
    return error


@contextmanager
def _live(load: Load, plan: Plan) -> Iterator[None]:
    """Figures on standard error while it runs, if that is a terminal."""
    terminal = console(sys.stderr)
    if not terminal.is_terminal:
        yield
        return
    with Live(console=terminal, transient=True, auto_refresh=False) as live:
        showing = asyncio.get_running_loop().create_task(_show(live, load, plan))
        try:
            yield
        finally:
            showing.cancel()


async def _show(live: Live, load: Load, plan: Plan) -> None:
    begun = time.perf_counter()
    published = delivered = 0
    with suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(_HANDS)
            tally = load.tally
            rates = ((tally.published - published) / _HANDS, (tally.delivered - delivered) / _HANDS)
            published, delivered = tally.published, tally.delivered
            p99 = tally.latencies.percentile(99) * 1_000
            text = f"{time.perf_counter() - begun:5.1f} of {plan.duration:g} s   {rates[0]:,.0f} messages/s"
            live.update(Text(f"{text}   {rates[1]:,.0f} deliveries/s   p99 {p99:.1f} ms"), refresh=True)


def _outcome(plan: Plan, load: Load, seconds: float) -> dict[str, object]:
    tally = load.tally
    latencies = {f"p{percent:g}_ms": round(tally.latencies.percentile(percent) * 1_000, 3) for percent in PERCENTILES}
    return {
        "publishers": plan.publishers,
        "subscribers": plan.subscribers,
        "channels": plan.channels,
        "seconds": round(seconds, 3),
        "messages": tally.published,
        "messages_per_second": round(tally.published / seconds),
        "deliveries": tally.delivered,
        "deliveries_per_second": round(tally.delivered / seconds),
        **latencies,
        "lost": max(tally.missing, 0),
        "repeated": tally.repeated,
        "skipped": tally.skipped,
    }
