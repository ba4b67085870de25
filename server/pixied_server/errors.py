"""What can go wrong in pixied's domain, in the domain's own words.

Every error knows its `reason` (the contract's `ErrorReason` without its prefix) and forms its own text from
identifiers. Which gRPC status a reason becomes is the shell's business: see `rpc.status`.
"""

from enum import StrEnum
from typing import ClassVar

__all__ = [
    "BatchTooLarge",
    "ChannelInvalid",
    "ChannelIsPattern",
    "ChannelReserved",
    "ClientUnknown",
    "DataNotJson",
    "Draining",
    "EngineUnavailable",
    "FieldInvalid",
    "IdempotencyKeyReused",
    "LimitClients",
    "LimitMemory",
    "LimitNamespaces",
    "LimitSubscriptions",
    "MessageTooLarge",
    "NamespaceInUse",
    "NamespaceUnknown",
    "NotReceived",
    "PageTokenInvalid",
    "PixiedError",
    "RateLimited",
    "Reason",
    "StreamProtocol",
    "TakenOver",
    "TimeoutOutOfRange",
    "masked",
]


class Reason(StrEnum):
    """The reasons of the contract's `ErrorReason`, without their prefix."""

    CLIENT_UNKNOWN = "CLIENT_UNKNOWN"
    NAMESPACE_UNKNOWN = "NAMESPACE_UNKNOWN"
    NAMESPACE_IN_USE = "NAMESPACE_IN_USE"
    CHANNEL_INVALID = "CHANNEL_INVALID"
    CHANNEL_IS_PATTERN = "CHANNEL_IS_PATTERN"
    CHANNEL_RESERVED = "CHANNEL_RESERVED"
    DATA_NOT_JSON = "DATA_NOT_JSON"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    TIMEOUT_OUT_OF_RANGE = "TIMEOUT_OUT_OF_RANGE"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a reason, no secret
    FIELD_INVALID = "FIELD_INVALID"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    STREAM_PROTOCOL = "STREAM_PROTOCOL"
    TAKEN_OVER = "TAKEN_OVER"
    LIMIT_CLIENTS = "LIMIT_CLIENTS"
    LIMIT_SUBSCRIPTIONS = "LIMIT_SUBSCRIPTIONS"
    LIMIT_MEMORY = "LIMIT_MEMORY"
    LIMIT_NAMESPACES = "LIMIT_NAMESPACES"
    RATE_LIMITED = "RATE_LIMITED"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    DRAINING = "DRAINING"
    NOT_RECEIVED = "NOT_RECEIVED"
    INTERNAL = "INTERNAL"


def masked(secret: str) -> str:
    """Enough of a secret to recognise it, too little to use it: its first 4 characters, none of a short one."""
    return f"{secret[:4]}…" if len(secret) >= _LONG_SECRET else "not shown"


_LONG_SECRET = 16


class PixiedError(Exception):
    """A refusal. It changed nothing.

    Args:
        message: what is wrong and what would be right, for people.
        field: the path of the request's field that is to blame, such as `messages[2].data`, or "".
        retry_after: seconds after which trying again may help, or None where it does not.
    """

    reason: ClassVar[Reason]

    def __init__(self, message: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class ClientUnknown(PixiedError):
    """No live client has this id."""

    reason = Reason.CLIENT_UNKNOWN

    def __init__(self, client_id: str) -> None:
        super().__init__(
            f"no live client has this id ({masked(client_id)}): it expired, was destroyed or never was; create another",
            field="client_id",
        )


class NamespaceUnknown(PixiedError):
    """This namespace is not reserved."""

    reason = Reason.NAMESPACE_UNKNOWN

    def __init__(self, namespace: str) -> None:
        super().__init__(f"the namespace {masked(namespace)} is not reserved", field="namespace")


class NamespaceInUse(PixiedError):
    """A live client bears this namespace."""

    reason = Reason.NAMESPACE_IN_USE

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"the namespace {masked(namespace)} is the id of a live client; destroy the client instead",
            field="namespace",
        )


class ChannelInvalid(PixiedError):
    """Not a channel name, or not a pattern where one is allowed."""

    reason = Reason.CHANNEL_INVALID

    def __init__(self, channel: str, why: str, *, field: str = "channel") -> None:
        super().__init__(f"{_shown(channel)} is not a channel: {why}", field=field)


class ChannelIsPattern(PixiedError):
    """A pattern where a channel's name is needed."""

    reason = Reason.CHANNEL_IS_PATTERN

    def __init__(self, channel: str, *, field: str = "channel") -> None:
        super().__init__(f"{_shown(channel)} is a pattern; name one channel, without a wildcard", field=field)


class ChannelReserved(PixiedError):
    """A channel that is not for this operation."""

    reason = Reason.CHANNEL_RESERVED

    def __init__(self, channel: str, why: str, *, field: str = "channel") -> None:
        super().__init__(f"{_shown(channel)} is reserved: {why}", field=field)


class DataNotJson(PixiedError):
    """A member of a message is not the JSON text it has to be."""

    reason = Reason.DATA_NOT_JSON

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field} is not what it has to be: {why}", field=field)


class MessageTooLarge(PixiedError):
    """One message, or a client's attributes, exceed their limit."""

    reason = Reason.MESSAGE_TOO_LARGE

    def __init__(self, what: str, size: int, limit: int, *, field: str) -> None:
        super().__init__(f"{what} of {size:,} bytes is larger than the limit of {limit:,}", field=field)


class BatchTooLarge(PixiedError):
    """More items in one request than the limit."""

    reason = Reason.BATCH_TOO_LARGE

    def __init__(self, field: str, size: int, limit: int) -> None:
        super().__init__(f"{size:,} {field} in one request; the limit is {limit:,}: send several requests", field=field)


class TimeoutOutOfRange(PixiedError):
    """A session timeout or a wait outside its limits."""

    reason = Reason.TIMEOUT_OUT_OF_RANGE

    def __init__(self, field: str, seconds: float, low: float, high: float) -> None:
        super().__init__(f"{field} of {seconds:g} s is out of range; it may be {low:g} s to {high:g} s", field=field)


class PageTokenInvalid(PixiedError):
    """A page token that this call did not hand out."""

    reason = Reason.PAGE_TOKEN_INVALID

    def __init__(self) -> None:
        super().__init__(
            "page_token was not handed out by this call with these filters; leave it empty for the first page",
            field="page_token",
        )


class FieldInvalid(PixiedError):
    """Any other field that is missing, malformed or out of range."""

    reason = Reason.FIELD_INVALID

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}", field=field)


class IdempotencyKeyReused(PixiedError):
    """The idempotency key was used for a different message."""

    reason = Reason.IDEMPOTENCY_KEY_REUSED

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} was used for a different message within 5 minutes; choose a new key for each message", field=field
        )


class StreamProtocol(PixiedError):
    """A frame that the stream's protocol does not allow there."""

    reason = Reason.STREAM_PROTOCOL


class TakenOver(PixiedError):
    """Another attach, Deliver or DequeueFor now holds this client."""

    reason = Reason.TAKEN_OVER

    def __init__(self, client_id: str) -> None:
        super().__init__(f"another attach, Deliver or DequeueFor now holds the client {masked(client_id)}")


class LimitClients(PixiedError):
    """As many clients are alive, or attached to one link, as may be."""

    reason = Reason.LIMIT_CLIENTS

    def __init__(self, where: str, limit: int, *, retry_after: float | None = None) -> None:
        super().__init__(f"the limit of {limit:,} clients {where} is reached", retry_after=retry_after)


class LimitSubscriptions(PixiedError):
    """The client would have more subscriptions than it may."""

    reason = Reason.LIMIT_SUBSCRIPTIONS

    def __init__(self, limit: int) -> None:
        super().__init__(f"the client would have more than {limit:,} subscriptions", field="channels")


class LimitMemory(PixiedError):
    """It does not fit into the memory that pixied may use."""

    reason = Reason.LIMIT_MEMORY


class LimitNamespaces(PixiedError):
    """No namespace of this length can be reserved."""

    reason = Reason.LIMIT_NAMESPACES


class RateLimited(PixiedError):
    """More calls a second than the settings allow."""

    reason = Reason.RATE_LIMITED

    def __init__(self, what: str, limit: float, retry_after: float) -> None:
        super().__init__(
            f"more than {limit:g} {what} a second; try again in {retry_after:.3f} s", retry_after=retry_after
        )


class EngineUnavailable(PixiedError):
    """The store behind the engine does not answer.

    Attributes:
        ambiguous: what was asked for may have been done all the same.
    """

    reason = Reason.ENGINE_UNAVAILABLE

    def __init__(self, why: str, *, retry_after: float = 1.0, ambiguous: bool = False) -> None:
        super().__init__(f"the store does not answer: {why}", retry_after=retry_after)
        self.ambiguous = ambiguous


class Draining(PixiedError):
    """This server is shutting down."""

    reason = Reason.DRAINING

    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__(
            "this server is shutting down; try again, on another one if there is one", retry_after=retry_after
        )


class NotReceived(PixiedError):
    """The caller does not receive what is written to it, or too many callers do not."""

    reason = Reason.NOT_RECEIVED

    def __init__(self, why: str, *, retry_after: float = 1.0) -> None:
        super().__init__(f"{why}; read what comes, and call again", retry_after=retry_after)


_SHOWN = 60


def _shown(channel: str) -> str:
    """A channel as a message may show it: quoted, and not of any length."""
    return repr(channel if len(channel) <= _SHOWN else channel[:_SHOWN] + "…")
