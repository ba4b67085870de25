"""The contract, the domain and the server agree: no RPC without a handler, no error without a status."""

from time import monotonic
from typing import Any

import pytest
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from tests.support.contract import documented_codes
from tests.support.link import attach, linked
from tests.support.refusals import Refusal, refusal_in, refused
from tests.support.site import Site

from pixied.v1 import backend_service_pb2, errors_pb2, watch_pb2
from pixied_server import errors
from pixied_server.core.turns import Turns
from pixied_server.engine.abc import Engine, EventKind
from pixied_server.errors import Reason
from pixied_server.rpc.calls import method_name
from pixied_server.rpc.services import bind
from pixied_server.rpc.status import CODES, status_of
from pixied_server.rpc.writes import WriteLimits, Writes

_BACKEND: ServiceDescriptor = backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"]
_WRITES = Writes(WriteLimits(), lambda _: None, monotonic)
_PREFIX = "ERROR_REASON_"
_ERRORS = [getattr(errors, name) for name in errors.__all__ if name not in {"PixiedError", "Reason", "masked"}]
_SECRET = "redis://user:s3cret@store"  # noqa: S105 - what must not leak


async def _nothing() -> None:
    """Handles nothing."""


@pytest.mark.parametrize("rpc", [method.name for method in _BACKEND.methods])
def test_an_rpc_without_a_handler_stops_the_start(rpc: str) -> None:
    """A contract that grew must not be served by a server that did not."""
    handlers = {method_name(method.name): _nothing for method in _BACKEND.methods if method.name != rpc}
    with pytest.raises(LookupError, match=rf"BackendService and its handlers differ in {method_name(rpc)}$"):
        bind(_BACKEND, handlers, _WRITES, Turns())


def test_a_handler_without_an_rpc_stops_the_start() -> None:
    """Code that nobody can reach is a mistake too."""
    handlers = {method_name(method.name): _nothing for method in _BACKEND.methods}
    with pytest.raises(LookupError, match="teleport"):
        bind(_BACKEND, {**handlers, "teleport": _nothing}, _WRITES, Turns())


def test_reasons_are_those_of_the_contract() -> None:
    """The domain's reasons, the contract's enum and its comments name the same, and the codes are as documented."""
    in_contract = {name.removeprefix(_PREFIX) for name in errors_pb2.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert {str(reason) for reason in Reason} == in_contract == set(documented_codes())
    assert {str(reason): code.name for reason, code in CODES.items()} == documented_codes()


def test_every_reason_has_one_error() -> None:
    """Each reason belongs to one class, but INTERNAL, which no one may raise."""
    assert sorted(error.reason for error in _ERRORS) == sorted(set(Reason) - {Reason.INTERNAL})


def test_event_kinds_are_those_of_the_contract() -> None:
    """What the engine can tell of and what Watch can say are the same."""
    in_contract = {name.removeprefix("EVENT_KIND_") for name in watch_pb2.EventKind.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert {kind.name for kind in EventKind} == in_contract


def test_a_refusal_tells_when_to_try_again() -> None:
    """RetryInfo carries the domain's delay."""
    refusal = refusal_in(status_of(errors.RateLimited("publishes", 10, 1.25)))
    assert refusal == Refusal(
        "RESOURCE_EXHAUSTED", refusal.text, "RATE_LIMITED", "pixied", retry_after=1.25, size=refusal.size
    )


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀"])
def test_details_stay_small_whatever_they_quote(letter: str) -> None:
    """Beyond about 8 KB they would be dropped on the way, so no text makes them larger than 4 KB."""
    long = letter * 10_000
    for error in (
        errors.ChannelInvalid(long, "why", field="messages[999].channel"),
        errors.DataNotJson("messages[999].data", long),
        errors.FieldInvalid("field", long),
        errors.EngineUnavailable(long),
    ):
        assert status_of(error).ByteSize() < 4_096


@pytest.fixture
def broken(engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that fails as no one foresaw wherever a client is looked at."""

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(_SECRET)

    for name in ("get_client", "ping_client", "claim", "destroy_client"):
        monkeypatch.setattr(engine_class, name, fail)


def test_texts_that_can_not_be_encoded_are_told_all_the_same() -> None:
    """What a store's error quotes may be no valid Unicode; the rest of it arrives."""
    refusal = refusal_in(status_of(errors.EngineUnavailable("the store said \ud800!")))
    assert "the store said ?!" in refusal.text


_UNFORESEEN = Refusal("INTERNAL", "internal error; the server's log has the details", "INTERNAL", "pixied")


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("rpc", ["GetClient", "PingClient", "DestroyClient", "DequeueFor", "Deliver"])
async def test_the_unforeseen_is_answered_with_a_fixed_text(site: Site, rpc: str) -> None:
    """INTERNAL tells nothing of the cause, which is in the log with its trace; the server serves on."""
    alice = await site.client()
    with structlog.testing.capture_logs() as logs:
        call = site.stream(rpc, client_id=alice).read() if rpc == "Deliver" else site(rpc, client_id=alice)
        refusal = await refused(call)
    assert refusal == Refusal(**{**_UNFORESEEN.__dict__, "size": refusal.size})
    [line] = [one for one in logs if one["log_level"] == "error"]
    assert (line["rpc"], str(line["exc_info"])) == (rpc, _SECRET)
    assert (await site("GetInfo")).holdings.clients == 1


@pytest.mark.usefixtures("broken")
async def test_the_unforeseen_ends_a_link_with_the_same_text(site: Site) -> None:
    """The link's other clients are let go of, with nothing lost."""
    alice = await site.client("/a")
    await site.publish("/a", "1")
    with structlog.testing.capture_logs() as logs:
        async with linked(site) as link:
            await link.send(attach(alice, 1))
            refusal = await refused(link.event())
    assert (refusal.code, refusal.text) == (_UNFORESEEN.code, _UNFORESEEN.text)
    assert [one["rpc"] for one in logs if one["log_level"] == "error"] == ["Attach"]
    [listed] = (await site("ListClients")).clients
    assert (listed.front_end, listed.pending) == ("", 1)


@pytest.mark.usefixtures("broken")
async def test_the_unforeseen_in_a_pipeline_ends_one_operation(site: Site) -> None:
    """It is the operation's result, and the next one is done."""
    call = site.both_ways("Pipeline")
    pipelined = b"\x22\x05\x0a\x03abc", b"\x0a\x00"  # get_client {client_id: "abc"}, generate_namespace {}
    with structlog.testing.capture_logs() as logs:
        await call.write(b"".join(b"\x0a" + bytes((len(one),)) + one for one in pipelined))
        results = [result async for result in _results(call, 2)]
    assert refusal_in(results[0].error).text == _UNFORESEEN.text
    assert results[1].HasField("generate_namespace")
    assert [one["rpc"] for one in logs if one["log_level"] == "error"] == ["Pipeline get_client"]
    call.cancel()


async def _results(call: Any, count: int) -> Any:
    while count:
        for result in (await call.read()).results:
            count -= 1
            yield result
