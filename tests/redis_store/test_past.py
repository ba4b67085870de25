"""What is remembered of clients that a process held."""

from typing import Any, cast

from pixied_server.engine.redis.claim import RedisClaim, Step
from pixied_server.engine.redis.past import Past


class _Claim:
    """As much of a claim as is remembered of it."""

    def __init__(self, client_id: str, steps: int, taken: int) -> None:
        self.client_id = client_id
        self.size = sum(Step(number, {}, live=False, taken=[0, 1] * taken).size for number in range(steps))


def claim(client_id: str, steps: int = 1, taken: int = 0) -> RedisClaim:
    """A claim that has read in so many steps so many messages each."""
    return cast("Any", _Claim(client_id, steps, taken))


def size_of(one: RedisClaim) -> int:
    """What it takes alone."""
    past = Past(1_000_000)
    past.keep(one)
    return past.size


def test_the_oldest_are_forgotten_where_it_gets_too_much() -> None:
    """What a claim has read counts, not only that there is one."""
    small, large = claim("small"), claim("large", steps=10, taken=100)
    assert size_of(large) > 10 * size_of(small)
    past = Past(10 * size_of(small) + size_of(large))
    for number in range(10):
        past.keep(claim(f"small {number}"))
    past.keep(large)
    assert len(past) == 11
    past.keep(small)
    assert past.get("small 0") is None
    assert past.get("small 1") is not None
    past.keep(claim("another large one", steps=10, taken=100))
    assert (past.get("large"), past.get("small 9")) == (None, None)
    assert (len(past), past.get("small")) == (2, small)
    past.keep(claim("too large", steps=100, taken=100))
    assert (len(past), past.size) == (0, 0)


def test_what_is_known_of_a_client_is_of_the_last_time() -> None:
    """A client that comes and goes has one claim there, and none when it is held again."""
    past = Past(1_000_000)
    past.keep(claim("ann", steps=3))
    last = claim("ann", steps=4)
    past.keep(last)
    assert (len(past), past.size, past.get("ann")) == (1, size_of(last), last)
    assert past.pop("ann") is last
    assert past.pop("ann") is None
    assert (len(past), past.size) == (0, 0)
