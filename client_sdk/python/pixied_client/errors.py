"""What can go wrong, one exception for each reason of the contract (`pixied.v1.ErrorReason`)."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from pixied.v1 import message_pb2

__all__ = [
    "BY_REASON",
    "BatchTooLarge",
    "ChannelInvalid",
    "ChannelIsPattern",
    "ChannelReserved",
    "ClientUnknown",
    "DataNotJson",
    "DeadlineExceeded",
    "Draining",
    "EngineUnavailable",
    "FieldInvalid",
    "IdempotencyKeyReused",
    "InternalError",
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
    "StreamProtocol",
    "TakenOver",
    "TimeoutOutOfRange",
    "Unavailable",
    "closed",
    "draining",
    "from_call",
    "from_status",
]


class PixiedError(Exception):
    """A call failed. Catch this for all, or a subclass for one reason.

    Attributes:
        reason: the contract's reason, such as `CLIENT_UNKNOWN`; empty if the transport failed, not pixied.
        code: the gRPC status code.
        message: what is wrong and what would be right.
        field: the request's field that is to blame, or None.
        retry_after: after how many seconds trying again may help, or None.
    """

    reason: str = ""
    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str | None = None,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        if code is not None:
            self.code = code
        if reason is not None:
            self.reason = reason


class Unavailable(PixiedError):
    """The server could not be reached, or the connection broke before it answered."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(PixiedError):
    """No answer came in time. Whether the operation was done is unknown."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class ClientUnknown(PixiedError):
    """No live client has this id. It never existed, expired, or was destroyed."""

    reason = "CLIENT_UNKNOWN"


class NamespaceUnknown(PixiedError):
    """This namespace is not reserved."""

    reason = "NAMESPACE_UNKNOWN"


class NamespaceInUse(PixiedError):
    """A live client bears this namespace as its id; destroy the client instead."""

    reason = "NAMESPACE_IN_USE"


class ChannelInvalid(PixiedError):
    """Not a channel name, or not a pattern where one is allowed."""

    reason = "CHANNEL_INVALID"


class ChannelIsPattern(PixiedError):
    """A pattern where a channel's name is needed."""

    reason = "CHANNEL_IS_PATTERN"


class ChannelReserved(PixiedError):
    """`/meta/**`, or `/service/**` in subscribe or publish."""

    reason = "CHANNEL_RESERVED"


class DataNotJson(PixiedError):
    """`data`, `ext` or `extra` is not the JSON text it has to be."""

    reason = "DATA_NOT_JSON"


class MessageTooLarge(PixiedError):
    """One message, a client's attributes, or one whole operation exceed their limit in bytes."""

    reason = "MESSAGE_TOO_LARGE"


class BatchTooLarge(PixiedError):
    """More items in one request than the limit."""

    reason = "BATCH_TOO_LARGE"


class TimeoutOutOfRange(PixiedError):
    """A session timeout or a wait outside its limits."""

    reason = "TIMEOUT_OUT_OF_RANGE"


class PageTokenInvalid(PixiedError):
    """A page token that this call did not hand out."""

    reason = "PAGE_TOKEN_INVALID"


class FieldInvalid(PixiedError):
    """Any other field that is missing, malformed or out of range; `field` names it."""

    reason = "FIELD_INVALID"


class IdempotencyKeyReused(PixiedError):
    """The idempotency key was used for a different message within 5 minutes."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class StreamProtocol(PixiedError):
    """A frame that the stream's protocol does not allow there."""

    reason = "STREAM_PROTOCOL"


class TakenOver(PixiedError):
    """Another attach, Deliver or DequeueFor now holds this client."""

    reason = "TAKEN_OVER"


class LimitClients(PixiedError):
    """As many clients are alive as the server allows, or attached as a link allows."""

    reason = "LIMIT_CLIENTS"


class LimitSubscriptions(PixiedError):
    """The client would have more subscriptions than the server allows."""

    reason = "LIMIT_SUBSCRIPTIONS"


class LimitMemory(PixiedError):
    """It does not fit into the memory that the server's settings allow."""

    reason = "LIMIT_MEMORY"


class LimitNamespaces(PixiedError):
    """As many namespaces are reserved as the server allows, or none of this length is free."""

    reason = "LIMIT_NAMESPACES"


class RateLimited(PixiedError):
    """More calls a second than the server allows."""

    reason = "RATE_LIMITED"


class EngineUnavailable(PixiedError):
    """The store behind the engine does not answer. Try again."""

    reason = "ENGINE_UNAVAILABLE"


class Draining(PixiedError):
    """This server is shutting down. Try again, on another one if there is one."""

    reason = "DRAINING"


class NotReceived(PixiedError):
    """What the server wrote was not received in time, or too much is not received yet. Read it, and try again."""

    reason = "NOT_RECEIVED"


class InternalError(PixiedError):
    """A defect of pixied. The server's log has the details."""

    reason = "INTERNAL"


BY_REASON: Final[dict[str, type[PixiedError]]] = {
    error.reason: error
    for error in (
        ClientUnknown,
        NamespaceUnknown,
        NamespaceInUse,
        ChannelInvalid,
        ChannelIsPattern,
        ChannelReserved,
        DataNotJson,
        MessageTooLarge,
        BatchTooLarge,
        TimeoutOutOfRange,
        PageTokenInvalid,
        FieldInvalid,
        IdempotencyKeyReused,
        StreamProtocol,
        TakenOver,
        LimitClients,
        LimitSubscriptions,
        LimitMemory,
        LimitNamespaces,
        RateLimited,
        EngineUnavailable,
        Draining,
        NotReceived,
        InternalError,
    )
}

_CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
_DETAILS_TRAILER = "grpc-status-details-bin"
_DOMAIN = "pixied"


class _FailedCall(Protocol):
    """What the errors of grpc and grpc.aio have in common."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Any: ...


def from_call(failure: _FailedCall, address: str) -> PixiedError:
    """Make the exception of a failed call: pixied's own if its trailers carry one, else the transport's."""
    trailers: Iterable[tuple[str, str | bytes]] = failure.trailing_metadata() or ()
    for key, value in trailers:
        if key == _DETAILS_TRAILER and isinstance(value, bytes):
            with suppress(DecodeError):  # not pixied's doing; the code and the text say enough
                return from_status(status_pb2.Status.FromString(value))
    return _of_transport(failure.code(), failure.details() or "no reason given", address)


def from_status(status: status_pb2.Status) -> PixiedError:
    """Make the exception of a `google.rpc.Status`. A reason that this SDK does not know becomes a PixiedError."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(bad_request) or detail.Unpack(retry)
    reason = info.reason if info.domain == _DOMAIN else ""
    return BY_REASON.get(reason, PixiedError)(
        status.message,
        code=_CODES.get(status.code, grpc.StatusCode.UNKNOWN),
        reason=reason,
        field=bad_request.field_violations[0].field if bad_request.field_violations else None,
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
    )


def draining(closing: message_pb2.Closing) -> Draining:
    """Make the exception of a stream that ends because the server stops."""
    return Draining(closing.reason, code=grpc.StatusCode.UNAVAILABLE, retry_after=closing.reconnect_after_ms / 1000)


def closed(address: str) -> Unavailable:
    """Make the error of a call or stream whose connection was closed on this side."""
    return Unavailable(f"the connection to pixied at {address} was closed here")


def _of_transport(code: grpc.StatusCode, details: str, address: str) -> PixiedError:
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"cannot reach pixied at {address}: {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"no answer in time from pixied at {address}")
    return PixiedError(f"the call to pixied at {address} failed with {code.name}: {details}", code=code)
