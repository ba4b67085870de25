"""Where the engine waits for a store, what stands in one frame is asked for together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.caller import within
from tests.support.link import attach, linked
from tests.support.site import serving

from pixied.v1 import pipeline_pb2
from pixied_server.engine.abc import Engine

_COUNT = 5
Delay = Callable[[str], None]


@pytest.fixture
def answers_together(engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch) -> Delay:
    """Have the engine answer no call of an operation before so many of them are under way."""
    monkeypatch.setattr(engine_class, "waits", True)

    def delay(name: str) -> None:
        carry_out: Callable[..., Awaitable[Any]] = getattr(engine_class, name)
        all_there = asyncio.Barrier(_COUNT)

        async def carry_out_together(*args: Any, **kwargs: Any) -> Any:
            async with within():
                await all_there.wait()
            return await carry_out(*args, **kwargs)

        monkeypatch.setattr(engine_class, name, carry_out_together)

    return delay


async def test_clients_are_attached_together(answers_together: Delay) -> None:
    """Those that stand together in a frame."""
    async with serving() as site, linked(site) as link:
        clients = [await site.client() for _ in range(_COUNT)]
        answers_together("claim")
        attaches = [attach(client_id, handle) for handle, client_id in enumerate(clients)]
        await link.send(*attaches)
        attached: list[int] = []
        while len(attached) < _COUNT:
            attached += (await link.next("attached")).handles
        assert sorted(attached) == list(range(_COUNT))


async def test_operations_of_a_pipeline_are_carried_out_together(answers_together: Delay) -> None:
    """Those of different clients."""
    async with serving() as site:
        clients = [await site.client() for _ in range(_COUNT)]
        answers_together("get_client")
        frame = pipeline_pb2.PipelineRequest(
            operations=[pipeline_pb2.Operation(get_client={"client_id": client_id}) for client_id in clients]
        )
        pipeline = site.both_ways("Pipeline")
        await pipeline.write(frame.SerializeToString())
        async with within():
            results = (await pipeline.read()).results
        assert [one.get_client.client.client_id for one in results] == clients
        pipeline.cancel()
