"""Putting frames together from parts that are encoded already.

A message is encoded once, when it is published, and the handles of an audience once, until it changes. protobuf's wire
format lets encoded parts be joined: a repeated field is its elements one after the other, each with the field's tag. So
what goes to many links and clients costs one join of bytes each. `tests/rpc` compares the result with protobuf's own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from google.protobuf.message import Message as ProtoMessage

from pixied.v1 import attach_pb2 as attach
from pixied.v1 import message_pb2 as wire
from pixied_server.core.log import Entry
from pixied_server.delivery.audience import Audience
from pixied_server.delivery.events import (
    Attached,
    AttachFailed,
    Batch,
    Closing,
    Delivery,
    Detached,
    DetachReason,
    Heartbeat,
    LinkEvent,
    Lost,
)
from pixied_server.rpc.status import status_of

__all__ = ["CLOSING_REASON", "FRAME_BYTES", "attach_frames", "closing_out", "field", "messages_field", "tag"]

# A frame is closed once it has so many bytes. The receiver's limit is 4 MiB by default, and one message may have 1 MiB.
FRAME_BYTES = 1_000_000
CLOSING_REASON = "the server is shutting down"

_LENGTH_DELIMITED = 2
_ONE_BYTE = 0x80


def tag(number: int) -> bytes:
    """The tag of a length-delimited field."""
    return _varint(number << 3 | _LENGTH_DELIMITED)


def field(tagged: bytes, payload: bytes) -> bytes:
    """A length-delimited field."""
    length = len(payload)
    return tagged + (_SMALL[length] if length < _READY else _varint(length)) + payload


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= _ONE_BYTE:
        encoded.append(number & 0x7F | _ONE_BYTE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


# Nearly all lengths, ready-made.
_READY = 1_024
_SMALL = [_varint(number) for number in range(_READY)]
# `messages` is field 1 of Batch, DequeueForResponse and DeliverResponse alike.
_MESSAGES = tag(attach.Batch.MESSAGES_FIELD_NUMBER)
_BATCHES = tag(attach.Delivery.BATCHES_FIELD_NUMBER)
_DELIVERY = tag(attach.AttachEvent.DELIVERY_FIELD_NUMBER)
_EVENTS = tag(attach.AttachResponse.EVENTS_FIELD_NUMBER)
_CURSOR = bytes((attach.Batch.CURSOR_FIELD_NUMBER << 3,))
_REDELIVERED = attach.Batch(redelivered=True).SerializeToString()
_REASONS = {reason: f"DETACH_REASON_{reason.name}" for reason in DetachReason}


def messages_field(entries: Iterable[Entry]) -> bytes:
    """The encoded field `messages` of an answer."""
    return b"".join([field(_MESSAGES, entry.message.body) for entry in entries])


def closing_out(delay_ms: int) -> wire.Closing:
    """The last word on a stream."""
    return wire.Closing(reason=CLOSING_REASON, reconnect_after_ms=delay_ms)


def attach_frames(events: Sequence[LinkEvent], turn_over: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """Events as encoded AttachResponses, each closed at about 1 MB, or when the turn is over."""
    parts: list[bytes] = []
    size = 0
    for encoded in _encoded(events):
        if parts and (size + len(encoded) > FRAME_BYTES or turn_over()):
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(field(_EVENTS, encoded))
        size += len(encoded)
    if parts:
        yield b"".join(parts)


def _encoded(events: Sequence[LinkEvent]) -> Iterator[bytes]:
    """Encoded AttachEvents; neighbours that say that clients were attached become one."""
    attached: list[int] = []
    for event in events:
        if isinstance(event, Attached):
            attached.append(event.handle)
            continue
        if attached:
            yield _attached(attached)
            attached = []
        yield _delivery(event) if isinstance(event, Delivery) else _event(event).SerializeToString()
    if attached:
        yield _attached(attached)


def _attached(handles: list[int]) -> bytes:
    return attach.AttachEvent(attached=attach.Attached(handles=handles)).SerializeToString()


def _event(event: AttachFailed | Detached | Lost | Heartbeat | Closing | Attached) -> ProtoMessage:
    match event:
        case AttachFailed(handle, error):
            return attach.AttachEvent(attach_failed=attach.AttachFailed(handle=handle, error=status_of(error)))
        case Detached(handle, reason, detail):
            detached = attach.Detached(handle=handle, reason=_REASONS[reason], detail=detail)
            return attach.AttachEvent(detached=detached)
        case Lost(handles, pattern, count):
            gap = wire.Gap(channel=pattern, lost=count)
            return attach.AttachEvent(gap=attach.ClientGap(handles=handles, gap=gap))
        case Closing(delay_ms):
            return attach.AttachEvent(closing=closing_out(delay_ms))
        case _:
            return attach.AttachEvent(heartbeat=attach.Heartbeat())


def _delivery(delivery: Delivery) -> bytes:
    number = attach.Delivery(number=delivery.number).SerializeToString()
    batches = [field(_BATCHES, _batch(batch)) for batch in delivery.batches]
    return field(_DELIVERY, b"".join([number, *batches]))


def _batch(batch: Batch) -> bytes:
    mark = _REDELIVERED if batch.redelivered else b""
    cursor = _CURSOR + _varint(batch.cursor)
    return b"".join([messages_field(batch.entries), _handles(batch.audience), mark, cursor])


def _handles(audience: Audience) -> bytes:
    if audience.encoded is None:
        audience.encoded = attach.Batch(handles=audience.handles).SerializeToString()
    return audience.encoded
