"""Health: what probes that know nothing of pixied ask of any gRPC server."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2 as health
from grpc_health.v1 import health_pb2_grpc
from tests.support.caller import until, within
from tests.support.http2 import HEADERS, connected
from tests.support.refusals import refused
from tests.support.site import Site

from pixied_server.engine.abc import Engine

_SERVING, _NOT_SERVING = health.HealthCheckResponse.SERVING, health.HealthCheckResponse.NOT_SERVING
_SERVICES = ["", "pixied.v1.BackendService", "pixied.v1.AdminService"]


@pytest.mark.parametrize("service", _SERVICES)
async def test_each_service_is_serving_until_the_stop_begins(site: Site, service: str) -> None:
    """Check says SERVING; a Watch learns of NOT_SERVING when the server drains, while streams are still open."""
    stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]
    request = health.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == _SERVING
    watching, stream = stub.Watch(request), site.stream("Watch")
    await stream.read()
    assert (await watching.read()).status == _SERVING
    await site("Drain")
    async with within():
        assert (await watching.read()).status == _NOT_SERVING
    watching.cancel()


async def test_services_do_not_serve_while_the_engine_can_not_be_used(
    site: Site, engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process as a whole is well meanwhile: to start it anew would not help."""
    stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]

    async def told() -> list[int]:
        return [(await stub.Check(health.HealthCheckRequest(service=service))).status for service in _SERVICES]

    async def told_of_trouble() -> bool:
        return await told() == [_SERVING, _NOT_SERVING, _NOT_SERVING]

    async def told_that_all_is_well() -> bool:
        return await told() == [_SERVING] * 3

    with monkeypatch.context() as trouble:
        trouble.setattr(engine_class, "trouble", property(lambda _: "the store is away"))
        await until(told_of_trouble)
    await until(told_that_all_is_well)


async def test_a_service_that_does_not_exist_is_not_found(site: Site) -> None:
    """A misspelt service in a probe is seen."""
    stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]
    refusal = await refused(stub.Check(health.HealthCheckRequest(service="pixied.v1.Backend")))
    assert refusal.code == grpc.StatusCode.NOT_FOUND.name


async def test_health_streams_do_not_hold_up_a_stop(site: Site) -> None:
    """A probe that keeps a health Watch open does not delay the exit by the grace period."""
    stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]
    watching = stub.Watch(health.HealthCheckRequest())
    await watching.read()
    await site("Drain", grace={"seconds": 60})
    async with within():
        await asyncio.wait((site.ended,))
    watching.cancel()


async def test_health_checks_that_are_not_read_do_not_hold_up_a_stop(site: Site) -> None:
    """Watchers whose window is closed from the first byte: health changes all the same, and the server ends."""
    stub = health_pb2_grpc.HealthStub(site.channel)  # type: ignore[no-untyped-call]
    async with connected(site.address, window=0) as connection, within():
        for number, service in enumerate(_SERVICES):
            request = health.HealthCheckRequest(service=service).SerializeToString()
            connection.ask(2 * number + 1, "/grpc.health.v1.Health/Watch", request)
        begun = 0
        while begun < len(_SERVICES):
            kind, _, _ = await connection.frame()
            begun += kind == HEADERS
        watching, stream = stub.Watch(health.HealthCheckRequest()), site.stream("Watch")
        assert (await watching.read()).status == _SERVING
        await stream.read()
        await site("Drain")
        assert (await watching.read()).status == _NOT_SERVING
        stream.cancel()
        watching.cancel()
        await asyncio.wait((site.ended,))
