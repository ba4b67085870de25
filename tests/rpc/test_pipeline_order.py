"""What a pipeline has under way together where the engine waits for a store, and what waits for what is before it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message
from tests.engine.benches import Limits
from tests.support.caller import message, within
from tests.support.contract import output_of
from tests.support.turns import stepping
from tests.support.writing import Written, writer_to

from pixied.v1 import pipeline_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.core.together import together
from pixied_server.core.turns import Turns
from pixied_server.engine.memory import MemoryEngine
from pixied_server.rpc.pipeline import PipelineServicer

_RPCS = {one.name: one.message_type.name.removesuffix("Request") for one in wire.Operation.DESCRIPTOR.fields}
_MOST = 10_000


@pytest.fixture(autouse=True)
def engine() -> None:
    """Nothing here needs one."""


class _Operations:
    """Operations that do nothing.

    Args:
        turns: so many turns of the loop each of them takes.

    Attributes:
        together: their numbers, as they began; those that were under way together are one group.
    """

    def __init__(self, turns: int) -> None:
        self.together: list[list[int]] = []
        self._turns = turns
        self._begun = 0
        self._under_way = 0

    def __getattr__(self, name: str) -> Callable[[Message], Awaitable[Message]]:
        async def carry_out(_: Message) -> Message:
            if not self._under_way:
                self.together.append([])
            self.together[-1].append(self._begun)
            self._begun += 1
            self._under_way += 1
            for _turn in range(self._turns):
                await asyncio.sleep(0)
            self._under_way -= 1
            answer: Message = output_of(_RPCS[name])()
            return answer

        return carry_out


class _Context(Written):
    """Where the answers are written."""

    def __init__(self) -> None:
        self.results: list[str | None] = []

    async def write(self, frame: bytes) -> None:
        self.results += [one.WhichOneof("result") for one in wire.PipelineResponse.FromString(frame).results]


class _Waits:
    """Does operations together as an engine does that waits for a store."""

    together = staticmethod(together)


async def _served(operations: Any, frame: list[wire.Operation], engine: Any) -> None:
    """Have a frame carried out by such operations, and see that each was answered in its place."""
    context: Any = _Context()
    servicer = PipelineServicer(operations, engine, Drain(1.0, lambda: None, Random(1)), _MOST)

    async def requests() -> AsyncIterator[bytes]:
        yield wire.PipelineRequest(operations=frame).SerializeToString()

    async with within():
        await servicer.pipeline(requests(), writer_to(context))
    assert context.results == [one.WhichOneof("operation") for one in frame]


async def _together(*frame: wire.Operation, engine: Any = None) -> list[list[int]]:
    """Which operations of a frame are under way together."""
    # More turns than it takes to begin all that can be begun.
    operations = _Operations(turns=20)
    await _served(operations, list(frame), engine or _Waits())
    return operations.together


def _memory(turns: Turns | None = None) -> MemoryEngine:
    return MemoryEngine(Limits().of_engine, lambda: 0.0, turns=turns)


def _of(client_id: str, name: str = "subscribe") -> wire.Operation:
    return wire.Operation(**{name: {"client_id": client_id}})


_PUBLISH = wire.Operation(publish={"messages": [message("/a")]})
_CREATE = wire.Operation(create_client={})
_NAMESPACE = wire.Operation(generate_namespace={})
_SUBSCRIBERS = wire.Operation(subscribers_of={"channel_pattern": "/a"})


async def test_operations_of_different_clients_are_under_way_together() -> None:
    """None of them can see or change what another one does."""
    assert await _together(_of("alice"), _of("bob", "queue_for"), _of("carol", "dequeue_for")) == [[0, 1, 2]]


async def test_operations_of_one_client_wait_for_each_other() -> None:
    """The client's next operation sees what the last one did; another client's does not wait."""
    assert await _together(_of("alice"), _of("bob"), _of("alice", "unsubscribe")) == [[0, 1], [2]]


async def test_publishes_are_under_way_together() -> None:
    """The engine keeps their order."""
    assert await _together(_PUBLISH, _PUBLISH, _PUBLISH) == [[0, 1, 2]]


async def test_publishes_wait_for_subscriptions_and_the_clients_for_publishes() -> None:
    """Whoever subscribes before a publish gets it; whoever subscribes after it does not."""
    frame = [_of("alice"), _of("bob"), _PUBLISH, _PUBLISH, _of("alice"), _of("carol"), _PUBLISH]
    assert await _together(*frame) == [[0, 1], [2, 3], [4, 5], [6]]


async def test_what_makes_something_new_is_under_way_together_with_all() -> None:
    """No operation before it in the frame can name it; publishes and clients don't wait for it either."""
    assert await _together(_CREATE, _PUBLISH, _CREATE, _NAMESPACE, _PUBLISH) == [[0, 1, 2, 3, 4]]
    assert await _together(_NAMESPACE, _of("alice"), _CREATE, _of("bob")) == [[0, 1, 2, 3]]


async def test_clients_wait_for_publishes_before_what_makes_something_new() -> None:
    """What stands between a publish and a client's operation does not let the client's operation begin early."""
    assert await _together(_PUBLISH, _CREATE, _of("alice")) == [[0, 1], [2]]
    assert await _together(_PUBLISH, _NAMESPACE, _CREATE, _of("alice")) == [[0, 1, 2], [3]]


@pytest.mark.parametrize("other", [_of("alice"), _PUBLISH, _CREATE, _NAMESPACE])
async def test_what_is_about_many_clients_is_under_way_alone(other: wire.Operation) -> None:
    """It sees what all before it did, and nothing of what comes after it."""
    assert await _together(other, _SUBSCRIBERS, other) == [[0], [1], [2]]


@pytest.mark.parametrize(("name", "most"), [("dequeue_for", 20), ("subscribed_to", 20), ("ping_client", 500)])
async def test_so_many_are_under_way_together_at_most(name: str, most: int) -> None:
    """Their answers are kept until all of them have answered: of those that may be large there are fewer."""
    groups = await _together(*[_of(f"client{number}", name) for number in range(most * 2 + 1)])
    assert list(map(len, groups)) == [most, most, 1]


async def test_where_the_engine_waits_for_nothing_one_is_carried_out_after_the_other() -> None:
    """There is nothing to gain."""
    assert await _together(_of("alice"), _CREATE, _PUBLISH, engine=_memory()) == [[0], [1], [2]]


async def test_others_have_their_turns_while_a_large_frame_is_carried_out() -> None:
    """With an engine that waits for nothing, too: whenever a turn is over, here after ten looks at the clock."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    taking = asyncio.create_task(take_turns())
    # A pause that takes time would take more of it here than a test may.
    await _served(_Operations(turns=0), [_PUBLISH] * _MOST, _memory(stepping(10)))
    taking.cancel()
    assert turns >= _MOST / 100


class _SlowContext(Written):
    """Where frames wait until they may go.

    Attributes:
        begun: how many were begun.
        gone: those that have gone.
        open: set when they may go.
    """

    def __init__(self) -> None:
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.gone: list[wire.PipelineResponse] = []
        self.open = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        self.begun.put_nowait(None)
        await self.open.wait()
        self.gone.append(wire.PipelineResponse.FromString(frame))


async def test_the_news_of_a_stop_waits_for_a_frame_that_is_being_written() -> None:
    """Two frames at once are more than gRPC takes."""
    context: Any = _SlowContext()
    drain = Drain(1.0, lambda: None, Random(1))
    servicer = PipelineServicer(_Operations(turns=0), _Waits(), drain, _MOST)  # type: ignore[arg-type]
    over = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield wire.PipelineRequest(operations=[_PUBLISH]).SerializeToString()
        await over.wait()

    serving = asyncio.ensure_future(servicer.pipeline(requests(), writer_to(context)))
    async with within():
        await context.begun.get()
        drain.begin()
        for _ in range(20):  # more turns than it takes to begin the next frame
            await asyncio.sleep(0)
        assert context.begun.empty()
        context.open.set()
        await context.begun.get()
        over.set()
        await serving
    assert [(len(one.results), one.HasField("closing")) for one in context.gone] == [(1, False), (0, True)]


class _LargeAnswers:
    """Operations with answers of some 200 KB.

    Attributes:
        begun: how many were begun.
    """

    def __init__(self) -> None:
        self.begun = 0

    def __getattr__(self, name: str) -> Callable[[Message], Awaitable[Message]]:
        async def carry_out(_: Message) -> Message:
            self.begun += 1
            answer: Message = output_of(_RPCS[name])(channels=["/" + "a" * 254] * 800)
            return answer

        return carry_out


async def test_no_more_large_answers_are_made_than_are_taken() -> None:
    """While a front-end does not read, the rest of its frame waits, and takes no memory."""
    context: Any = _SlowContext()
    operations: Any = _LargeAnswers()
    servicer = PipelineServicer(operations, _Waits(), Drain(1.0, lambda: None, Random(1)), _MOST)  # type: ignore[arg-type]
    frame = [_of(f"client {number}", "subscribed_to") for number in range(100)]

    async def requests() -> AsyncIterator[bytes]:
        yield wire.PipelineRequest(operations=frame).SerializeToString()

    serving = asyncio.ensure_future(servicer.pipeline(requests(), writer_to(context)))
    async with within():
        await context.begun.get()
        for _ in range(20):  # more turns than it takes to begin what can be begun
            await asyncio.sleep(0)
        assert operations.begun == 20
        context.open.set()
        await serving
    assert sum(len(one.results) for one in context.gone) == 100
