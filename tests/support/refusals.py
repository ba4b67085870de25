"""Refused calls: what a client learns from a status and its details."""

from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

__all__ = ["Refusal", "refusal_in", "refusal_of", "refused"]

_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True)
class Refusal:
    """What a refused call or operation said.

    Args:
        code: the gRPC code's name.
        text: the status message.
        reason: of the ErrorInfo; "" without one.
        domain: of the ErrorInfo.
        fields: of the BadRequest.
        retry_after: of the RetryInfo, in seconds; None without one.
        size: of the encoded details, in bytes.
    """

    code: str
    text: str
    reason: str = ""
    domain: str = ""
    fields: tuple[str, ...] = ()
    retry_after: float | None = None
    size: int = 0


def refusal_in(status: Status) -> Refusal:
    """What a status says."""
    info, blame, retry = ErrorInfo(), BadRequest(), RetryInfo()
    retry_after = None
    for detail in status.details:
        known = [detail.Unpack(kind) for kind in (info, blame, retry)]
        assert any(known), detail.type_url
        retry_after = retry.retry_delay.ToTimedelta().total_seconds() if known[2] else retry_after
    fields = tuple(violation.field for violation in blame.field_violations)
    return Refusal(
        _CODES[status.code], status.message, info.reason, info.domain, fields, retry_after, status.ByteSize()
    )


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """What a failed call says: its trailer must agree with its code and message."""
    code, text = error.code().name, error.details() or ""
    raw = dict(error.trailing_metadata() or ()).get(_DETAILS)
    if raw is None:
        return Refusal(code, text)
    refusal = refusal_in(Status.FromString(raw))
    assert (refusal.code, refusal.text) == (code, text)
    return refusal


async def refused(call: Awaitable[object]) -> Refusal:
    """What the refusal of this call says; a call that is answered fails the test."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)
