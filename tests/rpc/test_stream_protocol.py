"""What the protocol of a stream does not allow ends that stream, says why, and touches nothing else."""

from collections.abc import Iterable
from typing import Any

import pytest
from tests.rpc.steady import nothing_changes
from tests.support.caller import message
from tests.support.link import ack, attach, client_ack, detach, hello, linked
from tests.support.refusals import Refusal, refusal_in, refused
from tests.support.site import Site

from pixied.v1 import attach_pb2, operations_pb2, pipeline_pb2

Command = attach_pb2.AttachCommand
Operation = pipeline_pb2.Operation
CAROL = "<carol>"
_HEARTBEAT = Command(heartbeat=attach_pb2.Heartbeat())


async def _outcome(call: Any, frames: Iterable[bytes]) -> Refusal:
    """Send frames until the stream is refused."""

    async def converse() -> None:
        for frame in frames:
            await call.write(frame)
        while await call.read():
            pass

    return await refused(converse())


def _frame(commands: Iterable[Command], carol: str) -> bytes:
    frame = attach_pb2.AttachRequest(commands=commands)
    for command in frame.commands:
        if command.attach.client_id == CAROL:
            command.attach.client_id = carol
    return frame.SerializeToString()


_VIOLATIONS: dict[str, tuple[list[list[Command]], str, str]] = {
    "an empty first frame": ([[]], "STREAM_PROTOCOL", "must be `hello`"),
    "no hello": ([[attach(CAROL, 1)]], "STREAM_PROTOCOL", "must be `hello`"),
    "hello second": ([[_HEARTBEAT, hello()]], "STREAM_PROTOCOL", "must be `hello`"),
    "hello twice in a frame": ([[hello(), hello()]], "STREAM_PROTOCOL", "twice"),
    "hello twice": ([[hello()], [hello()]], "STREAM_PROTOCOL", "twice"),
    "hello without a name": ([[hello("")]], "FIELD_INVALID", "hello.front_end"),
    "a long name": ([[hello("x" * 256)]], "FIELD_INVALID", "255 bytes"),
    "a wide window": ([[hello(window=65_537)]], "FIELD_INVALID", "hello.window: 65,537"),
    "an empty frame": ([[hello()], []], "STREAM_PROTOCOL", "without a command"),
    "no command in a command": ([[hello()], [Command()]], "STREAM_PROTOCOL", "not set"),
    "too many commands": ([[hello()], [_HEARTBEAT] * 1_001], "STREAM_PROTOCOL", "1,001"),
    "too many commands at once": ([[hello(), *[_HEARTBEAT] * 1_000]], "STREAM_PROTOCOL", "1,001"),
    "an ack beyond what was sent": ([[hello()], [ack(1)]], "STREAM_PROTOCOL", "last one sent is 0"),
    "a client's ack beyond it": ([[hello()], [client_ack(1, 1)]], "STREAM_PROTOCOL", "last one sent is 0"),
    "a huge ack": ([[hello()], [ack((1 << 64) - 1)]], "STREAM_PROTOCOL", "last one sent is 0"),
    "a handle in use": ([[hello(), attach(CAROL, 7), attach(CAROL, 7)]], "STREAM_PROTOCOL", "handle 7 is in use"),
    "an unknown ack mode": ([[hello()], [attach(CAROL, 7, ack_mode=9)]], "FIELD_INVALID", "ACK_MODE_EXPLICIT"),
}


@pytest.mark.parametrize(("frames", "reason", "says"), _VIOLATIONS.values(), ids=_VIOLATIONS)
async def test_a_violation_ends_the_link(site: Site, frames: list[list[Command]], reason: str, says: str) -> None:
    """The link ends with the reason; a client it had is free, and other links have not noticed."""
    bob, carol = await site.client("/bob"), await site.client("/carol")
    async with linked(site) as other:
        await other.attach(bob, 1)
        async with nothing_changes(site):
            refusal = await _outcome(site.both_ways("Attach"), [_frame(frame, carol) for frame in frames])
        await site.publish("/bob", "1")
        assert await other.messages(1, 1) == ["1"]
        await other.attach(carol, 2)
    assert (refusal.code, refusal.reason, refusal.domain) == ("INVALID_ARGUMENT", reason, "pixied")
    assert says in refusal.text
    assert carol not in refusal.text


async def test_a_command_of_a_newer_contract_ends_the_link(site: Site) -> None:
    """A command that this server does not know can't be passed over in silence."""
    frames = [_frame([hello()], ""), attach_pb2.AttachRequest().SerializeToString() + b"\x0a\x04\xa2\x06\x01x"]
    async with nothing_changes(site):
        refusal = await _outcome(site.both_ways("Attach"), frames)
    assert (refusal.reason, "not known to this server" in refusal.text) == ("STREAM_PROTOCOL", True)


@pytest.mark.parametrize("client_id", ["", "x" * 256, "nobody"], ids=["missing", "long", "unknown"])
async def test_one_clients_wrong_id_is_no_harm_to_the_others_on_its_link(site: Site, client_id: str) -> None:
    """A browser can send any client id: attaching it fails, with a reason, and the link lives."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.send(attach(client_id, 1), attach(alice, 2))
        failed = await link.next("attach_failed")
        assert (failed.handle, refusal_in(failed.error).domain) == (1, "pixied")
        assert refusal_in(failed.error).reason in {"CLIENT_UNKNOWN", "FIELD_INVALID"}
        assert (await link.next("attached")).handles == [2]


async def test_commands_for_a_handle_that_is_free_are_no_error(site: Site) -> None:
    """A detach and an ack may cross the news that their client was lost."""
    async with linked(site) as link:
        await link.send(detach(5), client_ack(5, 0), ack(0), _HEARTBEAT)
        await link.end()


async def test_a_link_that_ends_before_hello_ends_well(site: Site) -> None:
    """A stream without a frame is no violation."""
    async with nothing_changes(site):
        call = site.both_ways("Attach")
        await call.done_writing()
        assert not await call.read()


_WRONG_FRAMES = {
    "an empty frame": ([], "without an operation"),
    "too many operations": ([Operation(ping_client=operations_pb2.PingClientRequest(client_id="x"))] * 1_001, "1,001"),
}


@pytest.mark.parametrize(("operations", "says"), _WRONG_FRAMES.values(), ids=_WRONG_FRAMES)
async def test_a_violation_ends_the_pipeline(site: Site, operations: list[Operation], says: str) -> None:
    """A frame with no operation, or too many, ends the stream before any of it is done."""
    async with nothing_changes(site):
        frame = pipeline_pb2.PipelineRequest(operations=operations).SerializeToString()
        refusal = await _outcome(site.both_ways("Pipeline"), [frame])
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "STREAM_PROTOCOL")
    assert says in refusal.text


async def test_bytes_that_are_no_frame_end_a_pipeline_after_what_came_before(site: Site) -> None:
    """What was received before garbage is still answered."""
    good = Operation(publish=operations_pb2.PublishRequest(messages=[message("/a")]))
    call = site.both_ways("Pipeline")
    await call.write(pipeline_pb2.PipelineRequest(operations=[good]).SerializeToString())
    assert len((await call.read()).results) == 1
    assert (await _outcome(call, [b"\xff\xff"])).reason == "FIELD_INVALID"
