"""Doing a thing once although it is asked for twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixied_server.core.idempotency import SECONDS, IdempotencyWindow, scoped
from pixied_server.core.message import Message
from pixied_server.errors import IdempotencyKeyReused, LimitMemory

KEYS = st.sampled_from(["", "k", "l", "m"])


def message(key: str, body: str = "1", channel: str = "/a", publisher: str = "", *, exclude: bool = False) -> Message:
    """A message with a key."""
    return Message(channel, body.encode(), publisher=publisher, exclude_publisher=exclude, key=key)


def recalled(window: IdempotencyWindow, messages: list[Message], now: float, client_id: str = "") -> list[int | None]:
    """What came of the messages of a request that is not refused; None for those that are new."""
    window.check(messages, now, client_id=client_id)
    return [window.outcome_of(one, now, client_id=client_id) for one in messages]


def done(window: IdempotencyWindow, one: Message, now: float, outcome: int = 1) -> bool:
    """Do a thing unless it was done. Returns whether it was new."""
    if recalled(window, [one], now) != [None]:
        return False
    if one.key:
        window.remember(one, outcome, now)
    return True


@given(st.lists(st.tuples(KEYS, st.floats(0.0, 200.0)), max_size=40))
def test_a_key_does_a_thing_once_in_five_minutes(story: list[tuple[str, float]]) -> None:
    """Within 5 minutes of the first time a key does nothing; after that, and without a key, it does."""
    window, now = IdempotencyWindow(100), 0.0
    first: dict[str, float] = {}
    for key, later in story:
        now += later
        new = key == "" or key not in first or first[key] + SECONDS <= now
        assert done(window, message(key), now) is new
        if new:
            first[key] = now


def test_the_outcome_is_remembered() -> None:
    """A repeat is told what the first time came to."""
    window = IdempotencyWindow(10)
    window.remember(message("k"), 7, 0.0)
    assert recalled(window, [message("k"), message("new")], 1.0) == [7, None]


def test_what_is_about_to_be_done_keeps_its_key_without_an_outcome() -> None:
    """Another message with this key is refused; the same one is not done yet, until one of the two has done it."""
    window = IdempotencyWindow(10)
    window.remember(message("k"), None, 0.0)
    with pytest.raises(IdempotencyKeyReused):
        window.check([message("k", body="2")], 1.0)
    assert recalled(window, [message("k")], 1.0) == [None]
    window.remember(message("k"), 3, 2.0)
    window.remember(message("k"), None, 3.0)
    assert recalled(window, [message("k")], 3.0) == [3]
    assert len(window) == 1


@pytest.mark.parametrize(
    "other",
    [
        message("k", body="2"),
        message("k", publisher="p"),
        message("k", exclude=True),
    ],
)
def test_a_key_is_good_for_one_message(other: Message) -> None:
    """Another message under a known key is refused, in the same request as well, and the field is named."""
    window = IdempotencyWindow(10)
    with pytest.raises(IdempotencyKeyReused) as refused:
        window.check([message("k"), message(""), other], 0.0)
    assert refused.value.field == "messages[2].idempotency_key"
    window.remember(message("k"), 1, 0.0)
    with pytest.raises(IdempotencyKeyReused):
        window.check([other], SECONDS - 1.0)
    assert recalled(window, [other], SECONDS) == [None]


def test_the_same_key_twice_in_one_request() -> None:
    """One request may repeat a message: that is no reuse."""
    assert recalled(IdempotencyWindow(1), [message("k"), message("k")], 0.0) == [None, None]


def test_a_key_belongs_to_a_channel_or_to_a_client() -> None:
    """The same key on another channel, or for another client, stands for another message."""
    window = IdempotencyWindow(10)
    window.remember(message("k"), 1, 0.0)
    window.remember(message("k"), 2, 0.0, client_id="ann")
    assert recalled(window, [message("k"), message("k", channel="/b")], 0.0) == [1, None]
    assert recalled(window, [message("k")], 0.0, "ann") == [2]
    assert recalled(window, [message("k", body="2")], 0.0, "bob") == [None]
    with pytest.raises(IdempotencyKeyReused):
        window.check([message("k", channel="/b")], 0.0, client_id="ann")


WORDS = st.text("a", min_size=1, max_size=2)
NAMES = st.tuples(WORDS, st.sampled_from(["channel", "client"]), WORDS)


@given(NAMES, NAMES)
def test_scopes_are_apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """A key is not another one, however channels, clients and keys are spelt."""
    names = {
        scoped(message(key, channel=f"/{scope}"), scope if kind == "client" else "")
        for scope, kind, key in (one, other)
    }
    assert len(names) == len({one, other})


def test_a_full_window_refuses_new_keys_alone() -> None:
    """Known keys and messages without one pass a full window; a new key waits until the oldest is 5 minutes old."""
    window = IdempotencyWindow(2)
    window.remember(message("k"), 1, 0.0)
    window.remember(message("l"), 1, 100.0)
    assert recalled(window, [message("k"), message(""), message("l")], 200.0) == [1, None, 1]
    with pytest.raises(LimitMemory) as refused:
        window.check([message("m")], 200.0)
    assert refused.value.retry_after == pytest.approx(100.0)
    assert recalled(window, [message("m")], SECONDS) == [None]
    assert len(window) == 1


def test_many_keys_that_are_over_at_once() -> None:
    """A new key forgets two of them, and a sweep one in each step; meanwhile they mean nothing."""
    window = IdempotencyWindow(100)
    for number in range(100):
        window.remember(message(str(number)), 1, 0.0)
    again = message("99", body="another")
    assert recalled(window, [again], SECONDS) == [None]
    assert len(window) == 98
    window.remember(again, 2, SECONDS)
    assert len(list(window.sweep(SECONDS))) == 98
    assert len(window) == 1
    assert recalled(window, [again], SECONDS) == [2]


def test_no_window_at_all() -> None:
    """A limit of nothing refuses every key, and does not know when that ends."""
    with pytest.raises(LimitMemory) as refused:
        IdempotencyWindow(0).check([message("k")], 0.0)
    assert refused.value.retry_after is None
