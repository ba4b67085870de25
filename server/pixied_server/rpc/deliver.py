"""Deliver: one client's messages on a stream of its own."""

from pixied.v1 import operations_pb2 as ops
from pixied_server.admin import Drain
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.tap import Taken, Tap, parse_cursor, tapped
from pixied_server.rpc.calls import decode, first_of
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import gaps_out
from pixied_server.rpc.frames import closing_out, messages_field
from pixied_server.rpc.operations import MESSAGES_BYTES
from pixied_server.rpc.writer import Writer

__all__ = ["DeliverServicer"]

_MESSAGES = 1_000


class DeliverServicer:
    """Streams one client's messages.

    Args:
        hub: the hub.
        valid: checks requests.
        drain: knows of open streams, and when they have to end.
    """

    def __init__(self, hub: Hub, valid: Validator, drain: Drain) -> None:
        self._hub = hub
        self._valid = valid
        self._drain = drain

    async def deliver(self, raw: bytes, writer: Writer) -> None:
        """Serve one stream to its end."""
        request = decode(ops.DeliverRequest, raw)
        client_id = self._valid.name("client_id", request.client_id)
        explicit = self._valid.ack_mode(request.ack_mode)
        cursor = parse_cursor(request.ack_cursor)
        with self._drain.stream():
            async with tapped(self._hub, client_id, "Deliver", explicit=explicit, cursor=cursor) as tap:
                await self._stream(tap, writer)
            closing = ops.DeliverResponse(closing=closing_out(self._drain.delay_ms()))
            await writer.write(closing.SerializeToString())

    async def _stream(self, tap: Tap, writer: Writer) -> None:
        # Only the waiting is given up when the stop begins: a write that is cut short would break the stream.
        while not self._drain.begun:
            # One that waited with a thousand others for the same message writes in its turn.
            await self._hub.turns.give()
            async with writer.room(MESSAGES_BYTES):
                taken = await tap.take(messages=_MESSAGES, size=MESSAGES_BYTES)
                await writer.write(_encoded(taken))
            tap.all_taken()
            await first_of(tap.wait(), self._drain.wait())


def _encoded(taken: Taken) -> bytes:
    head = ops.DeliverResponse(
        cursor=taken.cursor,
        redelivered=taken.redelivered,
        lost=sum(loss.count for loss in taken.losses),
        gaps=gaps_out(taken.losses),
    )
    return head.SerializeToString() + messages_field(taken.entries)
