"""Where the engine waits for a store, what stands in one frame is asked for together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.caller import until, within
from tests.support.link import RawLink, attach, linked
from tests.support.refusals import refused
from tests.support.site import serving

from pixied.v1 import pipeline_pb2
from pixied_server.core.together import together
from pixied_server.engine.abc import Engine

_COUNT = 5
Delay = Callable[[str], None]


@pytest.fixture
def answers_together(engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch) -> Delay:
    """Have the engine answer no call of an operation before so many of them are under way."""
    monkeypatch.setattr(engine_class, "together", staticmethod(together))

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


async def _to_the_end(link: RawLink) -> None:
    while True:
        await link.event()


async def test_a_violation_beside_an_attach_leaves_no_client_behind(
    engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream ends when all that was begun has: a client that was attached too late would be held by no link."""
    monkeypatch.setattr(engine_class, "together", staticmethod(together))
    claim: Callable[..., Awaitable[Any]] = engine_class.claim
    begun, answered = asyncio.Event(), asyncio.Event()

    async def claim_late(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        await answered.wait()
        return await claim(*args, **kwargs)

    monkeypatch.setattr(engine_class, "claim", claim_late)
    async with serving() as site, linked(site) as link, within():
        alice, bob = await site.client(), await site.client()
        await link.send(attach(alice, 1, ack_mode=9), attach(bob, 2))
        ending = asyncio.ensure_future(refused(_to_the_end(link)))
        await begun.wait()
        # Whatever ends before arrives before this is answered.
        await site("GetInfo")
        assert not ending.done()
        answered.set()
        assert (await ending).reason == "FIELD_INVALID"
        await until(lambda: site.is_held_by(bob, ""))
