"""Real servers over a real store: what of the engine shows outside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
from grpc_health.v1 import health_pb2 as health
from grpc_health.v1 import health_pb2_grpc
from structlog.testing import capture_logs
from tests.support.caller import message, until
from tests.support.contract import input_of
from tests.support.link import attach, linked, messages_of
from tests.support.redis_servers import documented_rights, single
from tests.support.refusals import refused
from tests.support.site import Site, serving

from pixied.v1 import pipeline_pb2 as wire
from pixied_server.app import EngineRefused


@pytest.fixture
async def sites(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[list[Site]]:
    """Two servers over one store."""
    prefix = f"servers-{abs(hash(request.node.name))}"
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(serving(engine=redis_url, redis_prefix=prefix, redis_partitions=4))
            for _ in range(2)
        ]


def _operation(name: str, rpc: str, **fields: object) -> wire.Operation:
    return wire.Operation(**{name: input_of(rpc)(**fields)})


async def test_operations_of_a_frame_see_those_before_them(sites: list[Site]) -> None:
    """Though they are begun at once: a publish reaches whom the frame has subscribed before it, and no one else."""
    here, there = sites
    ids = [await here.client() for _ in range(20)]
    call = here.both_ways("Pipeline")
    operations = [_operation("subscribe", "Subscribe", client_id=one, channels=["/a"]) for one in ids[:10]]
    operations += [_operation("publish", "Publish", messages=[message("/a", str(number))]) for number in range(5)]
    operations += [_operation("unsubscribe", "Unsubscribe", client_id=one, channels=["/a"]) for one in ids[:5]]
    operations += [_operation("publish", "Publish", messages=[message("/a", "5")])]
    operations += [_operation("subscribe", "Subscribe", client_id=one, channels=["/a"]) for one in ids[10:]]
    await call.write(wire.PipelineRequest(operations=operations).SerializeToString())
    results: list[wire.OperationResult] = []
    while len(results) < len(operations):
        results += (await call.read()).results
    call.cancel()
    matched = [one.publish.results[0].matched_subscriptions for one in results if one.HasField("publish")]
    assert matched == [10, 10, 10, 10, 10, 5]
    assert await there.taken(ids[0]) == []
    assert await there.taken(ids[7]) == [str(number) for number in range(6)]
    assert await there.taken(ids[15]) == []


async def test_a_frame_attaches_many(sites: list[Site]) -> None:
    """Clients that are attached in one frame all come, each with its messages."""
    here, there = sites
    ids = [await there.client("/a") for _ in range(50)]
    await there.publish("/a", "1")
    async with linked(here) as link:
        await link.send(*[attach(client_id, handle) for handle, client_id in enumerate(ids, 1)])
        got: dict[int, list[str]] = {}
        while len(got) < len(ids):
            event = await link.event()
            if event.HasField("delivery"):
                for handle in range(1, 51):
                    if taken := messages_of(event.delivery, handle):
                        got[handle] = taken
    assert set(map(tuple, got.values())) == {("1",)}


@pytest.mark.parametrize("without", [(), ("-info", "-config|get")], ids=["all that is documented", "no INFO or CONFIG"])
async def test_a_user_with_no_more_rights_than_are_documented_can_do_everything(without: tuple[str, ...]) -> None:
    """Sessions, subscriptions, messages and their end, with the keys and channels of the prefix alone."""
    with single() as server:
        server("ACL", "SETUSER", "pixied", "on", ">secret", *documented_rights("mine"), *without)
        port = urlsplit(server.url)
        url = f"redis://pixied:secret@{port.hostname}:{port.port}/0"
        async with serving(engine=url, redis_prefix="mine") as site:
            client_id = await site.client("/a", "/a/*", "/**")
            await site.publish("/a", "1")
            async with linked(site) as link:
                await link.attach(client_id, 1)
                assert messages_of(await link.next("delivery"), 1) == ["1"]
                await site.publish("/a/b", "2")
                assert messages_of(await link.next("delivery"), 1) == ["2"]
            await site("DestroyClient", client_id=client_id)
        denied = {dict(zip(entry[::2], entry[1::2], strict=True))[b"object"] for entry in server("ACL", "LOG")}
        assert denied <= {b"info", b"config|get"}
        assert bool(denied) == bool(without)


async def test_health_tells_of_the_store() -> None:
    """Without a store the services are NOT_SERVING, the process lives, and refusals say when to try again.

    The log says why.
    """
    with single(aof=True) as server, capture_logs() as lines:
        async with serving(engine=server.url, redis_timeout=1.0) as site:
            stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]

            async def is_(status: str, service: str = "pixied.v1.BackendService") -> bool:
                answer = await stub.Check(health.HealthCheckRequest(service=service))
                return bool(answer.status == health.HealthCheckResponse.ServingStatus.Value(status))

            client_id = await site.client("/a")
            await asyncio.to_thread(server.kill)
            await until(lambda: is_("NOT_SERVING"))
            assert await is_("SERVING", "")
            refusal = await refused(site.publish("/a", "1"))
            assert (refusal.reason, refusal.retry_after is None) == ("ENGINE_UNAVAILABLE", False)
            await asyncio.to_thread(server.start)
            await until(lambda: is_("SERVING"))
            await site.publish("/a", "2")
            assert await site.taken(client_id) == ["2"]
        # Why may change meanwhile: at first a connection breaks, then there is none.
        assert any(server.address in line["why"] for line in lines if line["event"] == "engine is unavailable")


@pytest.mark.parametrize(
    ("engine", "settings", "why"),
    [
        ("redis://127.0.0.1:1/0", {"redis_timeout": 0.1}, "can't be reached"),
        ("redis://u:secret@127.0.0.1:1/0", {"redis_timeout": 0.1}, "can't be reached"),
        ("redis://127.0.0.1:1/x", {}, "can't be used"),
    ],
)
async def test_a_store_that_can_not_be_used_is_told(engine: str, settings: dict[str, float], why: str) -> None:
    """The server does not start, says why, and does not show a password."""
    with pytest.raises(EngineRefused, match=why) as refusal:
        async with serving(engine=engine, **settings):
            pass
    assert "secret" not in str(refusal.value)


async def test_a_store_of_other_settings_is_refused(redis_url: str) -> None:
    """How many partitions there are can't be changed while there is anything in them."""
    async with serving(engine=redis_url, redis_prefix="other", redis_partitions=2):
        pass
    with pytest.raises(EngineRefused, match="2 partitions"):
        async with serving(engine=redis_url, redis_prefix="other", redis_partitions=3):
            pass


async def test_a_store_that_would_lose_messages_is_refused() -> None:
    """An eviction policy would take messages away in silence."""
    with single(maxmemory_policy="allkeys-lru") as server, pytest.raises(EngineRefused, match="noeviction"):
        async with serving(engine=server.url):
            pass
