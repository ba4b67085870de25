"""Between the values of this package and the contract's messages. No other module knows the fields of both."""

import dataclasses
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from pixied.v1 import admin_service_pb2, attach_pb2, message_pb2, operations_pb2, watch_pb2
from pixied_client import values

__all__ = [
    "ack_mode",
    "batch_from",
    "channel_from",
    "client_from",
    "duration",
    "events_from",
    "gap_from",
    "info_from",
    "message_from",
    "message_out",
    "messages_from",
    "moment",
    "optional_moment",
    "ping_result_from",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS = 1_000_000_000

N = TypeVar("N", values.Holdings, values.Counters)


def duration(value: values.Seconds | None) -> Duration | None:
    """Make a Duration of seconds or a timedelta.

    Raises:
        ValueError: it is not a finite number, or beyond what a Duration holds.
    """
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    try:
        whole, rest = divmod(abs(round(seconds * _NANOS)), _NANOS)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"a duration has to be a finite number of seconds, not {seconds}") from error
    sign = -1 if seconds < 0 else 1
    return Duration(seconds=sign * whole, nanos=sign * rest)


def moment(stamp: Timestamp) -> datetime:
    """Make a datetime in UTC, to the microsecond. Takes a quarter of the time of protobuf's own `ToDatetime`."""
    return _EPOCH + timedelta(0, stamp.seconds, stamp.nanos // 1_000)


def optional_moment(carrier: "operations_pb2.PingClientResponse | operations_pb2.PingResult") -> datetime | None:
    """Read `expires_at`; None where it is unset, for a front-end keeps the session alive."""
    return moment(carrier.expires_at) if carrier.HasField("expires_at") else None


def ack_mode(*, explicit: bool) -> message_pb2.AckMode:
    """Name the contract's ack mode."""
    return message_pb2.ACK_MODE_EXPLICIT if explicit else message_pb2.ACK_MODE_AUTO


def message_out(message: values.Message, *, keyed: bool) -> message_pb2.Message:
    """Make the contract's message; `keyed` gives it an idempotency key of 128 random bits if it has none."""
    return message_pb2.Message(
        channel=message.channel,
        data=message.data,
        id=message.id,
        ext=message.ext,
        extra=message.extra,
        client_id=message.client_id,
        exclude_publisher=message.exclude_publisher,
        idempotency_key=message.idempotency_key or (secrets.token_urlsafe(16) if keyed else ""),
    )


def message_from(message: message_pb2.Message) -> values.Message:
    """Make a value of a delivered message."""
    return values.Message(
        message.channel,
        message.data,
        message.id if message.HasField("id") else None,
        message.ext if message.HasField("ext") else None,
        message.extra if message.HasField("extra") else None,
    )


def _each_message(messages: Iterable[message_pb2.Message]) -> tuple[values.Message, ...]:
    return tuple(map(message_from, messages))


def gap_from(gap: message_pb2.Gap) -> values.Gap:
    """Make a value of a gap."""
    return values.Gap(gap.channel, gap.lost)


def messages_from(answer: "operations_pb2.DequeueForResponse | operations_pb2.DeliverResponse") -> values.Messages:
    """Make a value of some of a client's messages."""
    gaps = tuple(map(gap_from, answer.gaps))
    return values.Messages(_each_message(answer.messages), answer.cursor, answer.redelivered, answer.lost, gaps)


def batch_from(batch: attach_pb2.Batch, number: int) -> values.Batch:
    """Make a value of a batch; the handles stay as they are, packed, however many they be."""
    return values.Batch(_each_message(batch.messages), batch.handles, batch.redelivered, number, batch.cursor)


def client_from(client: operations_pb2.Client) -> values.Client:
    """Make a value of a session."""
    timeout = client.session_timeout
    return values.Client(
        client.client_id,
        moment(client.created_at),
        moment(client.expires_at) if client.HasField("expires_at") else None,
        timedelta(0, timeout.seconds, timeout.nanos // 1_000),
        client.subscriptions,
        client.pending,
        client.front_end,
        dict(client.attributes.items()) if client.attributes else {},
    )


def ping_result_from(result: operations_pb2.PingResult) -> values.PingResult:
    """Make a value of one of many pings."""
    return values.PingResult(result.known, optional_moment(result))


def channel_from(channel: admin_service_pb2.Channel) -> values.Channel:
    """Make a value of a channel."""
    return values.Channel(channel.channel, channel.subscribers, channel.messages, channel.bytes)


def _counted(cls: type[N], counted: "admin_service_pb2.Holdings | admin_service_pb2.Counters") -> N:
    """Make a value of a message of numbers whose fields have the same names."""
    return cls(**{field.name: getattr(counted, field.name) for field in dataclasses.fields(cls)})


def info_from(info: admin_service_pb2.GetInfoResponse) -> values.ServerInfo:
    """Make a value of what a server says about itself."""
    return values.ServerInfo(
        version=info.version,
        engine=info.engine,
        started_at=moment(info.started_at),
        draining=info.draining,
        holdings=_counted(values.Holdings, info.holdings),
        counters=_counted(values.Counters, info.counters),
    )


def events_from(frame: watch_pb2.WatchResponse, missed: int) -> list[values.Event]:
    """Make values of a frame's events; the first of them bears what was missed before it."""
    events = []
    for event in frame.events:
        events.append(
            values.Event(
                at=moment(event.at),
                kind=values.EventKind(event.kind),
                client_id=event.client_id,
                channel=event.channel,
                reason=event.reason,
                message_id=event.message_id,
                recipients=event.recipients,
                front_end=event.front_end,
                missed=missed,
            )
        )
        missed = 0
    return events
