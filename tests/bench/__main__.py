"""`make bench`: what one pixied does on this machine.

Figures of one run on one machine; compare them with each other, not with another day's. `--json FILE` writes them for
scripts. The load comes from this process, the server is another one, each busy on one core.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import grpc
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tests.bench.process import Server, serving

from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline
from pixied_client import Backend, Batch, FrontEnd, Message

__all__ = ["main"]

HANDLES = 1_000
MESSAGES = 2_000
BYTES = 200
CLIENTS = 30_000
IDLE = 100_000
FRAME = 500


@dataclass(frozen=True)
class Goal:
    """What a figure has to be: above something, below something, or nothing in particular."""

    above: float | None = None
    below: float | None = None

    def verdict(self, value: float) -> str:
        """The goal in words, and whether this value meets it."""
        if self.above is None and self.below is None:
            return ""
        text, met = (
            (f"> {self.above:,.0f}", value > self.above)
            if self.above is not None
            else (f"< {self.below:,.0f}", value < self.below)
        )
        return f"{text} {'reached' if met else 'MISSED'}"


@dataclass(frozen=True)
class Row:
    """One figure: the median of the runs, the lowest and the highest, and what the median has to be."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    goal: str


class Tally:
    """What arrived, looked at as a front-end has to: delivery by delivery, each to be its subscriber's next message.

    Args:
        texts: the data that each subscriber gets, in order.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._next: dict[int, int] = {}
        self._complete = 0
        self.done = asyncio.Event()

    def expect(self, handles: Iterable[int]) -> None:
        """Whose deliveries count."""
        self._next = dict.fromkeys(handles, 0)

    def take(self, batch: Batch) -> None:
        """Count a batch.

        Raises:
            AssertionError: a message is not its recipient's next one.
        """
        texts, following = self._texts, self._next
        for message in batch.messages:
            data = message.data
            for handle in batch.handles:
                number = following[handle]
                if data != texts[number]:
                    raise AssertionError(f"subscriber {handle} got {data:.14} instead of message {number}")
                following[handle] = number + 1
        if all(number == len(texts) for number in following.values()):
            self.done.set()


async def deliveries(server: Server) -> float:
    """Deliveries a second: 1,000 subscribers on one link get 2,000 messages of 200 bytes; each delivery is checked."""
    texts = [f'"{number:010}{"x" * (BYTES - 12)}"' for number in range(MESSAGES)]
    tally = Tally(texts)
    async with FrontEnd(server.address, "bench", on_delivery=tally.take) as front_end:
        clients = await asyncio.gather(*(front_end.create_client() for _ in range(HANDLES)))
        await asyncio.gather(*(front_end.subscribe(client.client_id, ["/bench"]) for client in clients))
        attached = await asyncio.gather(*(front_end.attach(client.client_id) for client in clients))
        tally.expect(attachment.handle for attachment in attached)
        messages = [Message("/bench", text) for text in texts]
        begun = perf_counter()
        await asyncio.gather(*(front_end.publish(messages[at : at + 10]) for at in range(0, MESSAGES, 10)))
        await tally.done.wait()
        taken = perf_counter() - begun
        await asyncio.gather(*(front_end.destroy_client(client.client_id) for client in clients))
    return HANDLES * MESSAGES / taken


async def pipelined(server: Server) -> float:
    """Clients a second, each created and subscribed through one Pipeline, frames of 500 operations."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream = channel.stream_stream(
            "/pixied.v1.BackendService/Pipeline",
            request_serializer=pipeline.PipelineRequest.SerializeToString,
            response_deserializer=pipeline.PipelineResponse.FromString,
        )()
        begun = perf_counter()
        creates = [pipeline.Operation(create_client=ops.CreateClientRequest()) for _ in range(CLIENTS)]
        ids = [one.create_client.client.client_id for one in await _through(stream, creates)]
        subscribes = [ops.SubscribeRequest(client_id=client_id, channels=["/bench"]) for client_id in ids]
        results = await _through(stream, [pipeline.Operation(subscribe=one) for one in subscribes])
        taken = perf_counter() - begun
        if not all(one.subscribe.added for one in results):
            raise AssertionError("a client was not subscribed")
        await _through(
            stream,
            [pipeline.Operation(destroy_client=ops.DestroyClientRequest(client_id=client_id)) for client_id in ids],
        )
        await stream.done_writing()
    return CLIENTS / taken


async def _through(
    stream: grpc.aio.StreamStreamCall, operations: list[pipeline.Operation]
) -> list[pipeline.OperationResult]:
    frames = [
        pipeline.PipelineRequest(operations=operations[at : at + FRAME]) for at in range(0, len(operations), FRAME)
    ]

    async def write() -> None:
        for frame in frames:
            await stream.write(frame)

    writing = asyncio.create_task(write())
    results: list[pipeline.OperationResult] = []
    while len(results) < len(operations):
        results += (await stream.read()).results
    await writing
    return results


async def front_end(server: Server) -> float:
    """Clients a second, each created and subscribed through the Python SDK's FrontEnd, 5,000 at once."""
    count = CLIENTS // 3
    async with FrontEnd(server.address, "bench") as sdk:

        async def one() -> str:
            client = await sdk.create_client()
            await sdk.subscribe(client.client_id, ["/bench"])
            return client.client_id

        begun = perf_counter()
        ids = [
            client_id
            for _ in range(0, count, 5_000)
            for client_id in await asyncio.gather(*(one() for _ in range(5_000)))
        ]
        taken = perf_counter() - begun
        await asyncio.gather(*(sdk.destroy_client(client_id) for client_id in ids))
    return len(ids) / taken


async def unary(server: Server) -> float:
    """GetClient calls a second, one unary RPC each, 64 at once."""
    count = 4_000
    async with Backend(server.address) as backend:
        client = await backend.create_client()
        rest = iter(range(count))

        async def worker() -> None:
            for _ in rest:
                await backend.get_client(client.client_id)

        begun = perf_counter()
        await asyncio.gather(*(worker() for _ in range(64)))
        return count / (perf_counter() - begun)


async def idle_bytes(server: Server) -> float:
    """Bytes that an idle client with one subscription of its own takes, over 100,000 of them."""
    before = server.resident_bytes()
    async with FrontEnd(server.address, "bench") as sdk:
        for start in range(0, IDLE, 5_000):
            clients = await asyncio.gather(*(sdk.create_client(3_600.0) for _ in range(5_000)))
            names = ((client.client_id, f"/bench/{start + index}") for index, client in enumerate(clients))
            await asyncio.gather(*(sdk.subscribe(client_id, [name]) for client_id, name in names))
    return (server.resident_bytes() - before) / IDLE


Bench = Callable[[Server], Awaitable[float]]
BENCHES: dict[str, tuple[Bench, str, Goal]] = {
    "deliveries on one link": (deliveries, "a second", Goal(above=500_000)),
    "Pipeline, create + subscribe": (pipelined, "clients a second", Goal(above=30_000)),
    "FrontEnd, create + subscribe": (front_end, "clients a second", Goal()),
    "unary GetClient": (unary, "calls a second", Goal()),
    "idle client, 1 subscription": (idle_bytes, "bytes", Goal(below=1_024)),
}


async def measure(bench: Bench, runs: int) -> list[float]:
    """Run a benchmark so many times, each on a new server."""
    figures = []
    for _ in range(runs):
        async with fresh() as server:
            figures.append(await bench(server))
    return figures


@asynccontextmanager
async def fresh() -> AsyncIterator[Server]:
    """A server of its own on a Unix socket."""
    with TemporaryDirectory() as folder:
        async with serving(Path(folder)) as server:
            yield server


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rows = []
    for name, (bench, unit, goal) in track(BENCHES.items(), "measuring", console=Console(stderr=True), transient=True):
        runs = 1 if bench is idle_bytes else options.runs
        figures = asyncio.run(measure(bench, runs))
        rows.append(Row(name, median(figures), min(figures), max(figures), unit, goal.verdict(median(figures))))
    _report(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _report(rows: list[Row]) -> None:
    table = Table(
        "what", "median", "lowest", "highest", "unit", "goal", title="One pixied, one core for it and one for the load"
    )
    for row in rows:
        table.add_row(row.name, f"{row.value:,.0f}", f"{row.low:,.0f}", f"{row.high:,.0f}", row.unit, row.goal)
    # A pipe has no width of its own to fold cells to.
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
