"""What goes in and comes out: plain frozen values, free of protobuf."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Generic, Self, TypeAlias, TypeVar

__all__ = [
    "Batch",
    "Channel",
    "Client",
    "Counters",
    "Delivery",
    "DetachReason",
    "Detached",
    "Event",
    "EventKind",
    "Gap",
    "Holdings",
    "Message",
    "Messages",
    "Page",
    "PingResult",
    "PublishResult",
    "Seconds",
    "ServerInfo",
]

T_co = TypeVar("T_co", covariant=True)

Seconds: TypeAlias = float | timedelta
"""A duration: a number of seconds or a timedelta."""


@dataclass(frozen=True, slots=True)
class Message:
    """One Bayeux message. JSON travels as text, byte for byte as it was written.

    Attributes:
        channel: the channel's name, such as `/chat/room`.
        data: the payload as JSON text; `Message.of` makes it from a value, `value` reads it.
        id: Bayeux's message id, at most 255 bytes.
        ext: Bayeux's `ext` member as JSON text.
        extra: any other top-level members, as the text of one JSON object.
        client_id: the publisher, or empty. A secret: never delivered, and not shown by `repr`.
        exclude_publisher: the publisher does not get its own message.
        idempotency_key: within 5 minutes the same key takes effect once on its channel, or for its client. Where it is
            empty, `publish` and `queue_for` choose one, so that they can be repeated safely.
    """

    channel: str
    data: str
    id: str | None = None
    ext: str | None = None
    extra: str | None = None
    client_id: str = field(default="", repr=False)
    exclude_publisher: bool = False
    idempotency_key: str = field(default="", repr=False)

    @classmethod
    def of(
        cls,
        channel: str,
        value: Any,
        *,
        id: str | None = None,  # noqa: A002 - the member's name in Bayeux
        client_id: str = "",
        exclude_publisher: bool = False,
        idempotency_key: str = "",
    ) -> Self:
        """Make a message whose data is a value that `json.dumps` takes."""
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return cls(
            channel,
            data,
            id=id,
            client_id=client_id,
            exclude_publisher=exclude_publisher,
            idempotency_key=idempotency_key,
        )

    @property
    def value(self) -> Any:
        """The data as `json.loads` reads it."""
        return json.loads(self.data)


@dataclass(frozen=True, slots=True)
class Client:
    """One session.

    Attributes:
        client_id: the session's id, which is its secret; not shown by `repr`.
        created_at: when it was created, in UTC.
        expires_at: when it ends if nothing pings it; None while a front-end keeps it alive.
        session_timeout: how long it lives without a ping.
        subscriptions: how many channels and patterns it subscribes to.
        pending: how many messages it has not confirmed.
        front_end: who holds it: a front-end's name, `Deliver`, `DequeueFor`, or empty.
        attributes: what it was created with.
    """

    client_id: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None
    session_timeout: timedelta
    subscriptions: int
    pending: int
    front_end: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PingResult:
    """The outcome of a ping for one of many clients: unknown ones have to handshake again."""

    known: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The outcome of one message: how many subscriptions it matched, and whether its key had done this before."""

    matched_subscriptions: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that will not come, for their log was cut before they were confirmed.

    Attributes:
        channel: the subscription whose log was cut; empty for the client's own inbox.
        lost: how many messages.
    """

    channel: str
    lost: int


@dataclass(frozen=True, slots=True)
class Messages:
    """Some of one client's messages, from `dequeue_for` or `deliver`.

    Attributes:
        messages: in order.
        cursor: names the end of these messages, for `ack_cursor`.
        redelivered: so many of the messages, from the first on, may have come before.
        lost: how many messages were lost since the last answer: the sum of the gaps.
        gaps: what was lost, by subscription.
    """

    messages: tuple[Message, ...]
    cursor: str
    redelivered: int
    lost: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """One page of a list; `next_page_token` is empty on the last one."""

    items: tuple[T_co, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel or pattern that someone subscribes to: how many clients, and what its log holds."""

    channel: str
    subscribers: int
    messages: int
    bytes: int


class EventKind(IntEnum):
    """What can happen. The numbers are the contract's."""

    UNKNOWN = 0
    """Something that this version of the SDK does not know."""
    CLIENT_CREATED = 1
    CLIENT_DESTROYED = 2
    CHANNEL_CREATED = 3
    CHANNEL_DESTROYED = 4
    SUBSCRIBED = 5
    UNSUBSCRIBED = 6
    PUBLISHED = 7
    DELIVERED = 8

    @classmethod
    def _missing_(cls, value: object) -> "EventKind":
        del value  # a newer server may know more
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        at: when, in UTC.
        kind: what.
        client_id: the client it is about, or empty; not shown by `repr`.
        channel: the channel or pattern.
        reason: why a client was destroyed.
        message_id: the Bayeux id of a message, if it has one.
        recipients: delivered: how many clients got it; published: how many subscriptions it matched.
        front_end: delivered: the front-end's name.
        missed: so many events were missed just before this one, for this watcher read too slowly.
    """

    at: datetime
    kind: EventKind
    client_id: str = field(repr=False)
    channel: str
    reason: str
    message_id: str
    recipients: int
    front_end: str
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a server holds now; `bytes` is what the messages of all logs take."""

    clients: int
    attached_clients: int
    channels: int
    subscriptions: int
    links: int
    messages: int
    bytes: int
    namespaces: int


@dataclass(frozen=True, slots=True)
class Counters:
    """How often things happened since the server started."""

    published: int
    queued: int
    delivered: int
    redelivered: int
    lost: int
    duplicates: int
    clients_created: int
    clients_expired: int
    clients_destroyed: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is, holds and has done; `engine` says where the state is, `draining` that a stop has begun."""

    version: str
    engine: str
    started_at: datetime
    draining: bool
    holdings: Holdings
    counters: Counters


class DetachReason(IntEnum):
    """Why a client is no longer attached. The numbers from 1 on are the contract's."""

    REFUSED = -1
    """It could not be attached again after a broken link: `Detached.detail` says why. Its session may be over."""
    UNKNOWN = 0
    """Something that this version of the SDK does not know."""
    REQUESTED = 1
    """This front-end gave it up."""
    TAKEN_OVER = 2
    """Another attach, Deliver or DequeueFor holds it now."""
    DESTROYED = 3
    """DestroyClient ended the session."""
    EXPIRED = 4
    """The session timed out."""

    @classmethod
    def _missing_(cls, value: object) -> "DetachReason":
        del value  # a newer server may know more
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Detached:
    """A client is no longer attached: the reason, and more about it for people."""

    reason: DetachReason
    detail: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages of one attached client.

    Attributes:
        messages: in order; empty if there is only a gap to announce.
        redelivered: the client may have got these messages before.
        number: ascending over all links of this front-end, for `Attachment.confirm`.
        gaps: what was lost before these messages.
        cursor: names the end of these messages for `attach`, on any front-end's link: ascending for each client, below
            2^53. 0 if there are none.
    """

    messages: tuple[Message, ...]
    redelivered: bool
    number: int
    gaps: tuple[Gap, ...] = ()
    cursor: int = 0

    @property
    def size(self) -> int:
        """How many characters its messages' data have."""
        return sum([len(message.data) for message in self.messages])


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that the same clients of a front-end get, for those who take them by a callback.

    Attributes:
        messages: in order.
        handles: the `Attachment.handle` of everyone who gets them.
        redelivered: these clients may have got them before.
        number: as `Delivery.number`.
        cursor: as `Delivery.cursor`.
    """

    messages: tuple[Message, ...]
    handles: Sequence[int]
    redelivered: bool
    number: int
    cursor: int = 0
