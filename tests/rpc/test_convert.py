"""Moments and spans of time on their way into and out of the contract."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from pixied.v1.operations_pb2 import Client as WireClient
from pixied_server.engine.abc import Client
from pixied_server.rpc.convert import duration_out, fill_client, seconds_in, timestamp_out


@pytest.fixture(autouse=True)
def engine() -> None:
    """Nothing here needs one."""


_MOMENTS = {
    1_700_000_000.0: Timestamp(seconds=1_700_000_000),
    1_700_000_001.25: Timestamp(seconds=1_700_000_001, nanos=250_000_000),
    1_700_000_002.75: Timestamp(seconds=1_700_000_002, nanos=750_000_000),
}
_SPANS = {
    0.0: Duration(),
    0.125: Duration(nanos=125_000_000),
    60.0: Duration(seconds=60),
    90.5: Duration(seconds=90, nanos=500_000_000),
}


@pytest.mark.parametrize(("at", "expected"), _MOMENTS.items())
def test_a_moment(at: float, expected: Timestamp) -> None:
    """Seconds since the epoch and nanoseconds."""
    assert timestamp_out(at) == expected


@pytest.mark.parametrize(("seconds", "expected"), _SPANS.items())
def test_a_span(seconds: float, expected: Duration) -> None:
    """There and back."""
    assert duration_out(seconds) == expected
    assert seconds_in(expected) == seconds


@pytest.mark.parametrize(("at", "moment"), _MOMENTS.items())
@pytest.mark.parametrize(("seconds", "span"), _SPANS.items())
def test_the_times_of_a_client(at: float, moment: Timestamp, seconds: float, span: Duration) -> None:
    """They are written as any others are."""
    written = WireClient()
    fill_client(written, Client("alice", at, at + 60, seconds, 0, 0, "", {}))
    ends_at = Timestamp(seconds=moment.seconds + 60, nanos=moment.nanos)
    assert (written.created_at, written.expires_at, written.session_timeout) == (moment, ends_at, span)
