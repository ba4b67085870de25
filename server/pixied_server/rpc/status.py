"""How the domain's errors become gRPC statuses."""

from collections.abc import Mapping
from types import MappingProxyType

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from pixied_server.errors import PixiedError, Reason
from pixied_server.rpc.convert import duration_out

__all__ = ["CODES", "DOMAIN", "INTERNAL_TEXT", "end", "internal_status", "status_of"]

DOMAIN = "pixied"
INTERNAL_TEXT = "internal error; the server's log has the details"
# Error details beyond about 8 KB of metadata are dropped on the way, so no text may take more bytes than this.
_TEXT = 1_000
_DETAILS_KEY = "grpc-status-details-bin"

CODES: Mapping[Reason, grpc.StatusCode] = MappingProxyType(
    {
        Reason.CLIENT_UNKNOWN: grpc.StatusCode.NOT_FOUND,
        Reason.NAMESPACE_UNKNOWN: grpc.StatusCode.NOT_FOUND,
        Reason.NAMESPACE_IN_USE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CHANNEL_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.CHANNEL_IS_PATTERN: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.CHANNEL_RESERVED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.DATA_NOT_JSON: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.MESSAGE_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.BATCH_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TIMEOUT_OUT_OF_RANGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.PAGE_TOKEN_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.FIELD_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.IDEMPOTENCY_KEY_REUSED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.STREAM_PROTOCOL: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TAKEN_OVER: grpc.StatusCode.ABORTED,
        Reason.LIMIT_CLIENTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.LIMIT_SUBSCRIPTIONS: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.LIMIT_MEMORY: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.LIMIT_NAMESPACES: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.ENGINE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
        Reason.NOT_RECEIVED: grpc.StatusCode.UNAVAILABLE,
        Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    }
)


def status_of(error: PixiedError) -> Status:
    """The status of a refusal: its text, its reason, the field to blame, and when to try again."""
    text = error.message.encode(errors="replace")[:_TEXT].decode(errors="ignore")
    status = _status(error.reason, text)
    if error.field:
        blame = BadRequest.FieldViolation(field=error.field, description=text)
        _pack(status, BadRequest(field_violations=[blame]))
    if error.retry_after is not None:
        _pack(status, RetryInfo(retry_delay=duration_out(error.retry_after)))
    return status


def internal_status() -> Status:
    """The status of anything unforeseen. It says nothing: the exception's text may hold secrets."""
    return _status(Reason.INTERNAL, INTERNAL_TEXT)


def end(context: "grpc.aio.ServicerContext[bytes, bytes]", status: Status) -> None:
    """Let a call end with a status when its handler returns.

    `abort` would do so by an exception that the call itself keeps, in a cycle with everything that it has come by.
    """
    context.set_trailing_metadata(((_DETAILS_KEY, status.SerializeToString()),))
    context.set_code(_CODE_OF[status.code])
    context.set_details(status.message)


_CODE_OF = {code.value[0]: code for code in grpc.StatusCode}


def _status(reason: Reason, text: str) -> Status:
    status = Status(code=CODES[reason].value[0], message=text)
    _pack(status, ErrorInfo(reason=reason, domain=DOMAIN))
    return status


def _pack(status: Status, detail: ErrorInfo | BadRequest | RetryInfo) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)
