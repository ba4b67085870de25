"""One caller's long requests give others a turn by time: frames of few operations, of which each is long.

Without a server; a turn is over after four things, as in `tests/engine/test_turns.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.turns import looking_on, stepping, until
from tests.support.writing import Written, account, writer_to

from pixied.v1 import admin_service_pb2 as admin
from pixied.v1 import attach_pb2 as attach
from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import pipeline_pb2 as pipeline
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.core.paging import Page
from pixied_server.core.turns import Turns, caller
from pixied_server.delivery.events import AttachFailed
from pixied_server.delivery.link import LinkLimits
from pixied_server.errors import ClientUnknown, DataNotJson
from pixied_server.rpc.admin import AdminServicer, Identity
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.calls import in_turns, unary_call
from pixied_server.rpc.checks import RequestLimits, Validator
from pixied_server.rpc.frames import attach_frames
from pixied_server.rpc.operations import Operations
from pixied_server.rpc.pipeline import PipelineServicer

# So many things are done at most from one go of others to the next.
MOST = 10
_VALID = Validator(Grammar(), RequestLimits(60.0, 0.1, 3_600.0, 1 << 20, 1_000, 300.0))


@pytest.fixture(autouse=True)
def engine() -> None:
    """An engine that waits for a store gives turns whenever it does."""


class Stage:
    """A server without a network."""

    def __init__(self) -> None:
        self.turns = stepping()
        self.bench = MemoryBench(Limits(clients=2_000), self.turns)
        self.site = Site(self.bench, turns=self.turns)
        self.counters = self.bench.engine.counters
        self.drain = Drain(1.0, lambda: None, Random(1))
        self.operations = Operations(self.site.hub, _VALID, self.drain, may_wait=True)
        self.admin = AdminServicer(self.site.hub, _VALID, self.drain, Identity("1", 0.0), lambda: 0)

    async def clients(self, count: int) -> list[str]:
        """So many clients that subscribe to /a."""
        ids = [(await self.bench.engine.create_client(60.0, {})).client_id for _ in range(count)]
        for client_id in ids:
            await self.bench.engine.subscribe(client_id, ["/a"])
        return ids

    async def frame(self, *operations: pipeline.Operation) -> list[pipeline.OperationResult]:
        """Do what one frame of a Pipeline asks for."""
        servicer = PipelineServicer(self.operations, self.bench.engine, self.drain, 1_000)
        call = Call()
        request = pipeline.PipelineRequest(operations=operations).SerializeToString()
        await servicer.pipeline(given(request), writer_to(call))
        return [result for one in call.frames for result in pipeline.PipelineResponse.FromString(one).results]


class Call(Written):
    """Keeps what is written, and has a peer."""

    def __init__(self, peer: str = "one") -> None:
        self.frames: list[bytes] = []
        self._peer = peer

    def peer(self) -> str:
        """Whose it is."""
        return self._peer

    async def write(self, frame: bytes) -> None:
        """Keep a frame."""
        self.frames.append(frame)


async def given(*frames: bytes) -> AsyncIterator[bytes]:
    """The requests of a stream."""
    for frame in frames:
        yield frame


def publish(count: int, data: str = "1") -> ops.PublishRequest:
    """A request with so many messages."""
    return ops.PublishRequest(messages=[wire.Message(channel="/a", data=data)] * count)


async def test_a_frame_of_long_lists() -> None:
    """Each of which looks at all clients."""
    stage = Stage()
    await stage.clients(100)
    asked = pipeline.Operation(subscribers_of=ops.SubscribersOfRequest(channel_pattern="/**", page_size=10))
    async with looking_on() as others:
        results = await stage.frame(*[asked] * 10)
    assert [len(result.subscribers_of.client_ids) for result in results] == [10] * 10
    assert others.gone >= 10 * 100 // MOST


async def test_a_frame_of_large_batches() -> None:
    """Each of which is checked, and published, in turns."""
    stage = Stage()
    async with looking_on(lambda: stage.counters.published) as others:
        results = await stage.frame(*[pipeline.Operation(publish=publish(20))] * 10)
    assert [len(result.publish.results) for result in results] == [20] * 10
    assert 0 < others.most <= MOST
    assert others.gone >= 2 * 200 // MOST


async def test_a_batch_is_checked_before_anything_of_it_is_published() -> None:
    """In turns, for each of its messages may be large."""
    stage = Stage()
    request = publish(100)
    request.messages[99].data = "not JSON"
    async with looking_on() as others:
        with pytest.raises(DataNotJson):
            await stage.operations.publish(request)
    assert stage.counters.published == 0
    assert others.gone >= 100 // MOST


async def test_a_page_of_clients_is_written_in_turns() -> None:
    """After they are found, and described."""
    stage = Stage()
    ids = await stage.clients(100)
    async with looking_on() as others:
        answer = await stage.admin.list_clients(admin.ListClientsRequest(page_size=200))
    assert [client.client_id for client in answer.clients] == sorted(ids)
    assert others.gone >= 3 * 100 // MOST


async def test_a_frame_of_commands_of_a_link() -> None:
    """Each may be long: an Ack looks at all of a client's subscriptions."""
    stage = Stage()
    ids = await stage.clients(60)
    servicer = AttachServicer(stage.site.hub, _VALID, stage.drain, LinkTerms(60.0, 300.0, LinkLimits(), "1"))
    frames = [
        [attach.AttachCommand(hello=attach.Hello(front_end="front"))],
        [
            attach.AttachCommand(attach=attach.AttachClient(client_id=client_id, handle=handle))
            for handle, client_id in enumerate(ids)
        ],
        [attach.AttachCommand(detach=attach.DetachClient(handle=handle)) for handle in range(60)],
    ]
    requests = [attach.AttachRequest(commands=commands).SerializeToString() for commands in frames]
    async with (
        looking_on(lambda: stage.site.hub.owned) as others,
        looking_on(lambda: 60 - stage.site.hub.owned) as detaching,
    ):
        await servicer.attach(given(*requests), writer_to(Call()))
    assert stage.site.hub.owned == 0
    assert 0 < others.most <= MOST
    assert 0 < detaching.most <= MOST


def test_a_frame_of_events_is_closed_when_the_turn_is_over() -> None:
    """Each has what there was time for: all of them together are what one would have been."""
    events = [AttachFailed(handle, ClientUnknown("c")) for handle in range(30)]
    (whole,) = attach_frames(events)
    looks = iter([False, False, True] * 10)
    frames = list(attach_frames(events, lambda: next(looks)))
    assert len(frames) == 10
    assert b"".join(frames) == whole


@pytest.mark.parametrize("large", [False, True])
async def test_large_requests_are_decoded_in_turns(*, large: bool) -> None:
    """However many calls come at once; small ones do not wait."""
    stage = Stage()
    begun = 0

    async def method(_: Any) -> Any:
        nonlocal begun
        begun += 1
        return ops.PublishResponse()

    handle = unary_call("Publish", ops.PublishRequest, method, account(), stage.turns)
    raw = publish(1, f'"{"x" * (20_000 if large else 1)}"').SerializeToString()
    async with looking_on(lambda: begun) as others:
        await asyncio.gather(*(handle(raw, Call(str(number))) for number in range(50)))  # type: ignore[arg-type]
    assert begun == 50
    assert (others.most <= MOST) is large


async def test_large_frames_of_streams_are_decoded_in_turns() -> None:
    """However many streams there are."""
    turns = stepping()
    taken = 0

    async def stream() -> None:
        nonlocal taken
        async for _ in in_turns(given(b"x" * 20_000, b"x" * 20_000), turns):
            taken += 1

    async with looking_on(lambda: taken) as others:
        await asyncio.gather(*(stream() for _ in range(30)))
    assert taken == 60
    assert others.most <= MOST


class Walking:
    """An engine whose lists take until a test says so."""

    def __init__(self) -> None:
        self.walking = 0
        self.most = 0
        self.over = asyncio.Event()

    async def _list(self, *_: object, **__: object) -> Page[Any]:
        self.walking += 1
        self.most = max(self.most, self.walking)
        await self.over.wait()
        self.walking -= 1
        return Page([], "")

    subscribers_of = list_clients = list_channels = _list


async def test_a_caller_has_one_walk_at_a_time() -> None:
    """Of whatever kind; another connection has its own."""
    engine = Walking()
    hub: Any = SimpleNamespace(engine=engine, turns=Turns())
    drain = Drain(1.0, lambda: None, Random(1))
    operations = Operations(hub, _VALID, drain, may_wait=True)
    lists = AdminServicer(hub, _VALID, drain, Identity("1", 0.0), lambda: 0)

    def calls() -> list[tuple[str, type[Any], Callable[[Any], Awaitable[Any]], bytes]]:
        asked = ops.SubscribersOfRequest(channel_pattern="/a").SerializeToString()
        return [
            ("SubscribersOf", ops.SubscribersOfRequest, operations.subscribers_of, asked),
            ("ListClients", admin.ListClientsRequest, lists.list_clients, b""),
            ("ListChannels", admin.ListChannelsRequest, lists.list_channels, b""),
        ]

    walks = [
        asyncio.ensure_future(unary_call(name, kind, method, account(), hub.turns)(raw, Call(peer)))  # type: ignore[arg-type]
        for peer in ("one", "two")
        for name, kind, method, raw in calls()
    ]
    await until(lambda: engine.walking == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert engine.walking == 2
    engine.over.set()
    await asyncio.gather(*walks)
    assert engine.most == 2
    assert caller.get() == ""
