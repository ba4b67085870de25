"""Between the contract's messages and the domain's values."""

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from pixied.v1 import admin_service_pb2 as admin
from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied.v1 import watch_pb2 as watch
from pixied_server.core.backlog import Loss
from pixied_server.core.message import Message
from pixied_server.engine.abc import Channel, Client, Event, EventKind

__all__ = [
    "channel_out",
    "duration_out",
    "event_out",
    "fill_client",
    "gaps_out",
    "kind_in",
    "message_in",
    "seconds_in",
    "timestamp_out",
]

_NANOS = 1_000_000_000


def message_in(message: wire.Message) -> Message:
    """A checked message. The request's message is emptied of what is not for subscribers; the rest becomes the body."""
    publisher, key, exclude = message.client_id, message.idempotency_key, message.exclude_publisher
    if publisher or key or exclude:
        message.client_id = ""
        message.idempotency_key = ""
        message.exclude_publisher = False
    return Message(message.channel, message.SerializeToString(), message.id, publisher, exclude, key)


def seconds_in(duration: Duration) -> float:
    """A duration in seconds."""
    return float(duration.seconds) + duration.nanos / _NANOS


def timestamp_out(at: float) -> Timestamp:
    """A moment; `at` in seconds since the epoch."""
    seconds = int(at)
    return Timestamp(seconds=seconds, nanos=int((at - seconds) * _NANOS))


def duration_out(seconds: float) -> Duration:
    """A duration, from seconds."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * _NANOS))


def fill_client(target: ops.Client, client: Client) -> None:
    """Write a client into an empty message.

    Field by field, in place: with constructors and their keywords it takes 3 times as long, a fifth of CreateClient.
    """
    target.client_id = client.client_id
    _fill_timestamp(target.created_at, client.created_at)
    if client.expires_at is not None:
        _fill_timestamp(target.expires_at, client.expires_at)
    _fill_duration(target.session_timeout, client.session_timeout)
    # What is nothing yet, in a new client, need not be written.
    if client.subscriptions:
        target.subscriptions = client.subscriptions
    if client.pending:
        target.pending = client.pending
    if client.front_end:
        target.front_end = client.front_end
    if client.attributes:
        target.attributes.update(client.attributes)


def _fill_duration(target: Duration, seconds: float) -> None:
    whole = int(seconds)
    target.seconds = whole
    if seconds != whole:
        target.nanos = round((seconds - whole) * _NANOS)


def _fill_timestamp(target: Timestamp, at: float) -> None:
    target.seconds = int(at)
    target.nanos = int(at % 1 * _NANOS)


def channel_out(channel: Channel) -> admin.Channel:
    """A channel as the contract has it."""
    return admin.Channel(
        channel=channel.pattern, subscribers=channel.subscribers, messages=channel.messages, bytes=channel.bytes
    )


def gaps_out(losses: Iterable[Loss]) -> list[wire.Gap]:
    """Losses as the contract has them."""
    return [wire.Gap(channel=loss.pattern, lost=loss.count) for loss in losses]


_KINDS_IN = {int(watch.EventKind.Value(f"EVENT_KIND_{kind.name}")): kind for kind in EventKind}


def kind_in(number: int) -> EventKind | None:
    """An event's kind; None for one that does not exist."""
    return _KINDS_IN.get(number)


def event_out(event: Event) -> watch.Event:
    """An event as the contract has it."""
    return watch.Event(
        at=timestamp_out(event.at),
        kind=f"EVENT_KIND_{event.kind.name}",
        client_id=event.client_id,
        channel=event.channel,
        reason=event.reason,
        message_id=event.message_id,
        recipients=event.recipients,
        front_end=event.front_end,
    )
