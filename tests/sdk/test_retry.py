"""When a call is tried again, and after which pause."""

import grpc
import pytest

from pixied_client import Backoff, PixiedError, Retries
from pixied_client.retry import Attempts

AWAY = PixiedError("away", code=grpc.StatusCode.UNAVAILABLE)


def attempts_of(
    retries: Retries, *, repeatable: bool = True, deadline: float = 1_000.0, chance: float = 1.0
) -> Attempts:
    """Attempts of a call whose jitter is always the same part of the longest pause."""
    return Attempts(retries, repeatable=repeatable, deadline=deadline, random=lambda: chance)


def test_pauses_grow() -> None:
    """Each pause may be twice as long as the one before, up to the longest."""
    backoff = Backoff(first=0.1, longest=1.0)
    assert [backoff.pause(n, lambda: 1.0) for n in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_pauses_have_defaults() -> None:
    """A front-end comes back within 5 s, a single call is tried again within 1 s; both begin with little."""
    assert [Backoff().pause(n, lambda: 1.0) for n in (0, 1, 60)] == [0.1, 0.2, 5.0]
    attempts = attempts_of(Retries())
    assert [attempts.pause_after(AWAY, 0.0) for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_no_pause_ends_at_the_deadline() -> None:
    """There would be no time left for the attempt."""
    attempts = attempts_of(Retries(backoff=Backoff(first=1.0, longest=1.0)), deadline=10.0)
    assert attempts.pause_after(AWAY, 9.0) is None


def test_full_jitter() -> None:
    """All of a pause is random: it may be nothing at all."""
    assert Backoff().pause(5, lambda: 0.0) == 0.0


def test_days_of_failures() -> None:
    """However many failures there were, a pause can be computed."""
    assert Backoff(longest=5.0).pause(1_000_000, lambda: 1.0) == 5.0


def test_attempts_end() -> None:
    """After the last attempt there is no pause, but the error."""
    attempts = attempts_of(Retries(attempts=3, backoff=Backoff(first=1.0, longest=9.0)))
    assert [attempts.pause_after(AWAY, 0.0) for _ in range(3)] == [1.0, 2.0, None]


def test_as_long_as_the_deadline_allows() -> None:
    """Unless a number is given, attempts end with the deadline alone."""
    attempts = attempts_of(Retries(backoff=Backoff(first=1.0, longest=1.0)), deadline=100.0)
    assert [attempts.pause_after(AWAY, float(now)) for now in range(100)] == [*[1.0] * 99, None]


def test_unsafe_calls() -> None:
    """What must not be done twice is not tried twice."""
    assert attempts_of(Retries(), repeatable=False).pause_after(AWAY, 0.0) is None


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.UNAVAILABLE])
def test_only_unavailable(code: grpc.StatusCode) -> None:
    """Only an unavailable server is tried again."""
    assert attempts_of(Retries()).pause_after(PixiedError("no", code=code), 0.0) is None


def test_retry_info() -> None:
    """The server's own time is the least pause, and the jitter comes on top."""
    asked = PixiedError("away", code=grpc.StatusCode.UNAVAILABLE, retry_after=3.0)
    attempts = attempts_of(Retries(backoff=Backoff(first=0.5, longest=1.0)), chance=0.5)
    assert attempts.pause_after(asked, 0.0) == 3.25


def test_deadline() -> None:
    """No attempt begins after the deadline, and no pause is waited for in vain."""
    attempts = attempts_of(Retries(backoff=Backoff(first=1.0, longest=1.0)), deadline=10.0)
    assert attempts.pause_after(AWAY, 8.9) == 1.0
    assert attempts.pause_after(AWAY, 9.1) is None
    assert attempts.remaining(9.0) == 1.0
    assert attempts.remaining(11.0) == 0.0
