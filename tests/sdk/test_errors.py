"""Errors: one exception for each reason, made of a status or of a failed call."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

import pixied_client
from pixied.v1 import errors_pb2
from pixied_client import errors
from pixied_client.errors import BY_REASON, PixiedError, from_call, from_status

REASONS = [name.removeprefix("ERROR_REASON_") for name, number in errors_pb2.ErrorReason.items() if number]


def status_of(reason: str, *details: Message, code: int = code_pb2.INVALID_ARGUMENT) -> status_pb2.Status:
    """The status of an error of pixied."""
    status = status_pb2.Status(code=code, message="what is wrong")
    for detail in (error_details_pb2.ErrorInfo(reason=reason, domain="pixied"), *details):
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class FailedCall:
    """What grpc raises, in the least form."""

    # ruff: noqa: D102 - the methods are grpc's

    def __init__(
        self, code: grpc.StatusCode, details: str | None, trailers: list[tuple[str, str | bytes]] | None
    ) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> list[tuple[str, str | bytes]] | None:
        return self._trailers


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_class(reason: str) -> None:
    """Each reason of the contract becomes an exception of its own, which the package exports."""
    error = from_status(status_of(reason))
    assert type(error) is BY_REASON[reason]
    assert error.reason == reason
    assert getattr(pixied_client, type(error).__name__) is type(error)


def test_no_class_without_reason() -> None:
    """No exception stands for a reason that the contract does not have."""
    assert set(BY_REASON) == set(REASONS)


def test_details() -> None:
    """An exception tells code, message, field and when to try again."""
    bad = error_details_pb2.BadRequest(field_violations=[error_details_pb2.BadRequest.FieldViolation(field="channel")])
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    error = from_status(status_of("CHANNEL_INVALID", bad, retry))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.message, str(error)) == ("what is wrong", "what is wrong")
    assert error.field == "channel"
    assert error.retry_after == 1.5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Unavailable("gone"), grpc.StatusCode.UNAVAILABLE),
        (errors.closed("here:1"), grpc.StatusCode.UNAVAILABLE),
        (errors.DeadlineExceeded("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (PixiedError("odd"), grpc.StatusCode.UNKNOWN),
    ],
)
def test_an_error_that_no_server_sent_has_its_code(error: PixiedError, code: grpc.StatusCode) -> None:
    """Who looks at the code alone finds what gRPC would say of such a failure."""
    assert error.code is code


def test_no_details() -> None:
    """Without details there is no field, and no time to try again."""
    error = from_status(status_of("INTERNAL", code=code_pb2.INTERNAL))
    assert error.field is None
    assert error.retry_after is None


def test_reason_of_a_newer_server() -> None:
    """A reason that this SDK does not know is a PixiedError with that reason."""
    error = from_status(status_of("MOON_FULL", code=99))
    assert type(error) is PixiedError
    assert error.reason == "MOON_FULL"
    assert error.code is grpc.StatusCode.UNKNOWN


def test_reason_of_another_domain() -> None:
    """Details of a proxy's domain are not taken for pixied's."""
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="CLIENT_UNKNOWN", domain="proxy.example"))
    assert type(from_status(status)) is PixiedError


def test_trailers() -> None:
    """A failed call's exception is made of the status in its trailers."""
    trailers: list[tuple[str, str | bytes]] = [
        ("other", "x"),
        ("grpc-status-details-bin", status_of("DRAINING", code=code_pb2.UNAVAILABLE).SerializeToString()),
    ]
    error = from_call(FailedCall(grpc.StatusCode.UNAVAILABLE, "text", trailers), "here")
    assert type(error) is errors.Draining


def test_a_failure_without_any_detail() -> None:
    """It says at least where it happened; gRPC may give neither a text nor trailers."""
    failure = FailedCall(grpc.StatusCode.UNAVAILABLE, None, None)
    assert str(from_call(failure, "here:1")) == "cannot reach pixied at here:1: no reason given"


def test_broken_trailers() -> None:
    """Details that can't be read are passed over: the code and the text remain."""
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", b"\xff\xff")]
    error = from_call(FailedCall(grpc.StatusCode.UNAVAILABLE, "text", trailers), "here")
    assert type(error) is errors.Unavailable


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable, "cannot reach pixied at here:1: refused"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded, "no answer in time from pixied at here:1"),
        (grpc.StatusCode.UNKNOWN, PixiedError, "the call to pixied at here:1 failed with UNKNOWN: refused"),
    ],
)
def test_transport(code: grpc.StatusCode, kind: type[PixiedError], text: str) -> None:
    """What fails on the way names the address, and is no answer of pixied."""
    error = from_call(FailedCall(code, "refused", []), "here:1")
    assert type(error) is kind
    assert str(error) == text
    assert error.reason == ""
    assert error.code is code
