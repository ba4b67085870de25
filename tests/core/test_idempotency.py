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


def done(window: IdempotencyWindow, one: Message, now: float, outcome: int = 1) -> bool:
    """Do a thing unless it was done. Returns whether it was new."""
    if scoped(one) in window.recall([one], now):
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
    assert window.recall([message("k"), message("new")], 1.0) == {"/a\nk": 7}


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
        window.recall([message("k"), message(""), other], 0.0)
    assert refused.value.field == "messages[2].idempotency_key"
    window.remember(message("k"), 1, 0.0)
    with pytest.raises(IdempotencyKeyReused):
        window.recall([other], SECONDS - 1.0)
    assert window.recall([other], SECONDS) == {}


def test_the_same_key_twice_in_one_request() -> None:
    """One request may repeat a message: that is no reuse."""
    assert IdempotencyWindow(1).recall([message("k"), message("k")], 0.0) == {}


def test_a_key_belongs_to_a_channel_or_to_a_client() -> None:
    """The same key on another channel, or for another client, stands for another message."""
    window = IdempotencyWindow(10)
    window.remember(message("k"), 1, 0.0)
    window.remember(message("k"), 2, 0.0, client_id="ann")
    assert window.recall([message("k"), message("k", channel="/b")], 0.0) == {"/a\nk": 1}
    assert window.recall([message("k")], 0.0, client_id="ann") == {"ann\nk": 2}
    assert window.recall([message("k", body="2")], 0.0, client_id="bob") == {}
    with pytest.raises(IdempotencyKeyReused):
        window.recall([message("k", channel="/b")], 0.0, client_id="ann")


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
    assert window.recall([message("k"), message(""), message("l")], 200.0) == {"/a\nk": 1, "/a\nl": 1}
    with pytest.raises(LimitMemory) as refused:
        window.recall([message("m")], 200.0)
    assert refused.value.retry_after == pytest.approx(100.0)
    assert window.recall([message("m")], SECONDS) == {}
    assert len(window) == 1


def test_many_keys_that_are_over_at_once() -> None:
    """They are forgotten in slices, so that nobody waits for all of them, and mean nothing any more meanwhile."""
    window = IdempotencyWindow(12_000)
    for number in range(12_000):
        window.remember(message(str(number)), 1, 0.0)
    again = message("11999", body="another")
    assert window.recall([again], SECONDS) == {}
    assert 6_000 < len(window) < 8_000
    window.remember(again, 2, SECONDS)
    while len(window) > 1:
        window.forget(SECONDS)
    assert window.recall([again], SECONDS) == {scoped(again): 2}


def test_no_window_at_all() -> None:
    """A limit of nothing refuses every key, and does not know when that ends."""
    with pytest.raises(LimitMemory) as refused:
        IdempotencyWindow(0).recall([message("k")], 0.0)
    assert refused.value.retry_after is None
