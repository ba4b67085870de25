"""Token buckets."""

from hypothesis import given
from hypothesis import strategies as st

from pixied_server.core.rate import TokenBucket

ASKED = st.lists(st.tuples(st.integers(1, 20), st.floats(0.0, 5.0)), min_size=1, max_size=60)


@given(st.floats(0.5, 50.0), ASKED)
def test_no_more_passes_than_the_rate(rate: float, asked: list[tuple[int, float]]) -> None:
    """However it is asked, what passes is at most the rate times the time, and one burst."""
    bucket, now, passed, last = TokenBucket(rate), 1_000.0, 0, 0
    for count, later in asked:
        now += later
        if bucket.take(count, now) == 0.0:
            passed, last = passed + count, count
    assert passed - last <= rate * (now - 1_000.0) + max(rate, 1.0) + 1e-6


@given(st.floats(0.5, 50.0), ASKED)
def test_to_wait_as_told_is_enough(rate: float, asked: list[tuple[int, float]]) -> None:
    """Who waits as long as it was told passes, and who was refused has taken nothing."""
    bucket, now = TokenBucket(rate), 1_000.0
    for count, later in asked:
        now += later
        if wait := bucket.take(count, now):
            assert bucket.take(count, now) > 0.0
            now += wait + 1e-6
            assert bucket.take(count, now) == 0.0


def test_no_limit() -> None:
    """A rate of 0 lets everything pass."""
    assert TokenBucket(0.0).take(1_000_000, 0.0) == 0.0


def test_a_slow_rate_lets_one_pass_at_once() -> None:
    """A bucket of less than one a second holds one, and a full one as many as its rate."""
    slow = TokenBucket(0.5)
    assert slow.take(1, 1_000.0) == 0.0
    assert slow.take(1, 1_000.0) == 2.0
    quick = TokenBucket(3.0)
    assert [quick.take(1, 1_000.0) == 0.0 for _ in range(4)] == [True, True, True, False]
