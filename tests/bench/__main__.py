"""`make bench`: what one pixied does on this machine.

Figures of one run on one machine; compare them with each other, not with another day's. `--json FILE` writes them for
scripts. The load comes from this process, the server is another one, each busy on one core.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
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
class Row:
    """One figure: the median of the runs, the lowest and the highest, and what it has to be at least or at most."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    goal: str


async def deliveries(server: Server) -> float:
    """Deliveries a second: 1,000 subscribers on one link get 2,000 messages of 200 bytes, all confirmed, all checked."""
    total, done, expected = 0, asyncio.Event(), 0

    def take(batch: Batch) -> None:
        nonlocal total, expected
        for message in batch.messages:
            number = int(message.data[1:11])
            if number != expected or len(batch.handles) != HANDLES:
                raise AssertionError(f"message {number} came to {len(batch.handles)} clients, not {expected} to all")
            expected += 1
            # Each recipient is looked at, as a front-end has to.
            for _handle in batch.handles:
                total += 1
        if expected == MESSAGES:
            done.set()

    async with FrontEnd(server.address, "bench", on_delivery=take) as front_end:
        clients = await asyncio.gather(*(front_end.create_client() for _ in range(HANDLES)))
        await asyncio.gather(*(front_end.subscribe(client.client_id, ["/bench"]) for client in clients))
        await asyncio.gather(*(front_end.attach(client.client_id) for client in clients))
        messages = [Message("/bench", f'"{number:010}{"x" * (BYTES - 12)}"') for number in range(MESSAGES)]
        begun = perf_counter()
        await asyncio.gather(*(front_end.publish(messages[at : at + 10]) for at in range(0, MESSAGES, 10)))
        await done.wait()
        taken = perf_counter() - begun
        await asyncio.gather(*(front_end.destroy_client(client.client_id) for client in clients))
    return total / taken


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
BENCHES: dict[str, tuple[Bench, str, str]] = {
    "deliveries on one link": (deliveries, "a second", "> 500,000"),
    "Pipeline, create + subscribe": (pipelined, "clients a second", "> 30,000"),
    "FrontEnd, create + subscribe": (front_end, "clients a second", ""),
    "unary GetClient": (unary, "calls a second", ""),
    "idle client, 1 subscription": (idle_bytes, "bytes", "< 1,024"),
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
        rows.append(Row(name, median(figures), min(figures), max(figures), unit, goal))
    _report(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _report(rows: list[Row]) -> None:
    table = Table(
        "what", "median", "lowest", "highest", "unit", "goal", title="One pixied, one core for it and one for the load"
    )
    for row in rows:
        table.add_row(row.name, f"{row.value:,.0f}", f"{row.low:,.0f}", f"{row.high:,.0f}", row.unit, row.goal)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
