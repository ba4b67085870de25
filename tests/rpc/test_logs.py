"""What a server logs tells operators what happens, and no secret."""

import io

import pytest
from tests.cli.conftest import logs_restored
from tests.support.caller import message
from tests.support.link import attach, client_ack, detach, linked
from tests.support.refusals import refused
from tests.support.site import serving

from pixied.v1 import pipeline_pb2
from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT
from pixied_server import telemetry

__all__ = ["logs_restored"]  # a fixture

_DATA = "a private word"
_KEY = "the key of a message"


@pytest.mark.usefixtures("logs_restored")
async def test_no_client_id_and_no_payload_is_logged() -> None:
    """Not even with every line there is: however a client gets its messages, and whatever is refused or ends."""
    log = io.StringIO()
    telemetry.configure("debug", "json", log)
    async with serving() as site, linked(site, "edge-1") as link, linked(site) as other:
        alice, bob = await site.client("/a"), await site.client("/a")
        for taker in (link, other):
            await taker.attach(alice, 1)
        await link.next("detached")
        await other.attach(bob, 2, ack_mode=ACK_MODE_EXPLICIT)
        await site.publish("/a", f'"{_DATA}"', client_id=bob, idempotency_key=_KEY)
        await site("QueueFor", client_id=alice, messages=[message("/service/a", f'"{_DATA}"', idempotency_key="1")])
        await other.messages(1, 2)
        await other.send(client_ack(2, 1), detach(2), attach("nobody" * 5, 3), attach("", 4))
        for _ in range(3):
            await other.event()
        stream = site.stream("Deliver", client_id=bob)
        await stream.read()
        await site("DequeueFor", client_id=bob)
        await refused(stream.read())
        await refused(site.publish("/a", f"{_DATA} that is no JSON", client_id=bob))
        pipeline = site.both_ways("Pipeline")
        operations = [pipeline_pb2.Operation(get_client={"client_id": one}) for one in (alice, "nobody" * 5)]
        await pipeline.write(pipeline_pb2.PipelineRequest(operations=operations).SerializeToString())
        await pipeline.read()
        await pipeline.done_writing()
        await site("DestroyClient", client_id=alice, reason=f"of {alice}")
        await other.next("detached")
        await link.end()
    written = log.getvalue()
    assert '"edge-1"' in written
    for secret in (alice[:8], bob[:8], "nobody" * 2, _DATA, _KEY):
        assert secret not in written
