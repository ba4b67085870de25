"""Operations: through Pipeline and as unary calls, against bare handlers and against each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import grpc
from tests.bench.contest import Contest, Scale
from tests.bench.processes import pixied, python
from tests.bench.raw_front_end import frames_of, results_of, streams
from tests.bench.recording import Recording
from tests.bench.tally import CheckFailed

from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline
from pixied_client import Backend, FrontEnd

__all__ = ["pipeline_vs_bare", "pipeline_vs_unary", "unary_vs_bare"]

FRAME = 100
AT_ONCE = 64
GATHERED_CALLERS = 1_000
CHANNEL = "/bench"


@asynccontextmanager
async def pipeline_vs_bare(scale: Scale) -> AsyncIterator[Contest]:
    """Each side: clients are created and subscribed in frames of 100 operations, and every result is read.

    The bare server answers each frame with what pixied answered when the first run, which counts for nothing, was
    recorded: so both sides send and read the same bytes.
    """
    count = scale.of(15_000, 10_000)
    recording = Recording()
    async with pixied() as server, python("bare_server") as bare:
        await _create_and_subscribe(server.address, "", count, recording)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "recording"
            recording.save(path)
            yield Contest(
                lambda: _create_and_subscribe(server.address, "", count, Recording()),
                lambda: _create_and_subscribe(bare.address, str(path), count, Recording()),
            )


async def _create_and_subscribe(address: str, played: str, count: int, recording: Recording) -> float:
    """Returns operations a second."""
    async with streams(address, played) as front_end:
        creates = frames_of([pipeline.Operation(create_client=ops.CreateClientRequest())] * count, FRAME)
        begun = perf_counter()
        created = await front_end.ask(creates)
        ids = [result.create_client.client.client_id for result in results_of(created)]
        answers = await front_end.ask(frames_of(map(_subscribe, ids), FRAME))
        added = sum(len(result.subscribe.added) for result in results_of(answers))
        taken = perf_counter() - begun
    if added != count or len(set(ids)) != count or "" in ids:
        raise CheckFailed(f"of {count} clients {len(set(ids))} were created and {added} subscribed")
    recording.answers = created + answers
    return 2 * count / taken


def _subscribe(client_id: str) -> pipeline.Operation:
    return pipeline.Operation(subscribe=ops.SubscribeRequest(client_id=client_id, channels=[CHANNEL]))


@asynccontextmanager
async def unary_vs_bare(scale: Scale) -> AsyncIterator[Contest]:
    """Each side: GetClient, 64 calls at once. The bare handler has the same messages, and always the same answer."""
    count = scale.of(3_000, 2_000)
    async with pixied() as server, Backend(server.address) as backend:
        client_id = (await backend.create_client(3_600)).client_id
        answer = await _method(server.address, client_id)
        async with python("bare_server", answer.SerializeToString().hex()) as bare:
            yield Contest(
                lambda: _get_clients(server.address, client_id, count),
                lambda: _get_clients(bare.address, client_id, count),
            )


def _get_client(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(
        "/pixied.v1.BackendService/GetClient",
        request_serializer=ops.GetClientRequest.SerializeToString,
        response_deserializer=ops.GetClientResponse.FromString,
    )


async def _method(address: str, client_id: str) -> ops.GetClientResponse:
    async with grpc.aio.insecure_channel(address) as channel:
        answer: ops.GetClientResponse = await _get_client(channel)(ops.GetClientRequest(client_id=client_id))
        return answer


async def _get_clients(address: str, client_id: str, count: int) -> float:
    """Returns calls a second."""
    async with grpc.aio.insecure_channel(address) as channel:
        get_client = _get_client(channel)
        request = ops.GetClientRequest(client_id=client_id)
        rest = iter(range(count))

        async def caller() -> None:
            for _ in rest:
                answer = await get_client(request)
                if answer.client.client_id != client_id:
                    raise CheckFailed("another client was answered than was asked for")

        begun = perf_counter()
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        return count / (perf_counter() - begun)


@asynccontextmanager
async def pipeline_vs_unary(scale: Scale) -> AsyncIterator[Contest]:
    """Create and subscribe, with the same SDK: 1,000 callers on a FrontEnd, and 64 callers of unary RPCs.

    More callers of unary RPCs get no more done; a FrontEnd gathers what its callers ask for.
    """
    count = scale.of(20_000, 10_000)
    async with pixied() as server, FrontEnd(server.address, "bench") as front_end, Backend(server.address) as backend:
        yield Contest(
            lambda: _create_and_subscribe_each(front_end, count, GATHERED_CALLERS),
            lambda: _create_and_subscribe_each(backend, count // 20, AT_ONCE),
        )


async def _create_and_subscribe_each(operations: FrontEnd | Backend, count: int, callers: int) -> float:
    """Returns operations a second."""
    rest = iter(range(count))
    ids: set[str] = set()

    async def caller() -> None:
        for _ in rest:
            client = await operations.create_client()
            ids.add(client.client_id)
            if await operations.subscribe(client.client_id, [CHANNEL]) != [CHANNEL]:
                raise CheckFailed("a client was not subscribed")

    begun = perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    taken = perf_counter() - begun
    if len(ids) != count:
        raise CheckFailed(f"{len(ids)} of {count} clients were created")
    return 2 * count / taken
