"""Logs: what stays readable, and what an offset and a sequence say of each other."""

from weakref import WeakSet

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.messages import entry, sequences

from pixied_server.core.log import Bounds, Entry, Log
from pixied_server.core.message import OVERHEAD, Message

# True: append, at a sequence a few further on; False: lose the oldest.
STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=120)


def told(steps: list[tuple[bool, int]]) -> tuple[Log, list[int], int]:
    """A log after these steps, all sequences that it ever had, and how many are gone."""
    log, all_of_them, gone = Log("/a"), [], 0
    sequence = 0
    for append, further in steps:
        sequence += further
        if append:
            log.append(entry(sequence, size=further))
            all_of_them.append(sequence)
        elif len(log):
            assert log.drop_oldest().sequence == all_of_them[gone]
            gone += 1
    return log, all_of_them, gone


@given(STEPS)
def test_a_log_keeps_order_and_count(steps: list[tuple[bool, int]]) -> None:
    """A log reads as what was appended without what was lost; offsets count both."""
    log, ever, gone = told(steps)
    assert sequences(log) == ever[gone:]
    assert (log.first, log.next, len(log)) == (gone, len(ever), len(ever) - gone)
    assert log.cut == (ever[gone - 1] if gone else 0)
    assert log.last_sequence == (ever[-1] if ever else 0)
    assert log.bytes == sum(one.message.size for one in log.read(0, 1 << 60))
    assert (log.oldest.sequence if log.oldest else None) == (ever[gone] if gone < len(ever) else None)


@given(STEPS, st.integers(0, 130), st.integers(0, 400))
def test_reading_starts_and_stops_where_it_is_told(steps: list[tuple[bool, int]], offset: int, upto: int) -> None:
    """A read gives what is left from an offset on, up to a sequence."""
    log, ever, gone = told(steps)
    assert sequences(log, offset, upto) == [one for one in ever[max(gone, offset) :] if one <= upto]


@given(STEPS, st.integers(0, 400))
def test_the_offset_after_a_position(steps: list[tuple[bool, int]], sequence: int) -> None:
    """It is exact where the log still knows, and where entries beyond it are gone it never hides one of them."""
    log, ever, gone = told(steps)
    exact = sum(one <= sequence for one in ever)
    found = log.offset_after(sequence)
    if sequence >= log.cut:
        assert found == exact
    else:
        assert 0 <= found <= exact < gone


@given(STEPS)
def test_holders_are_the_logs_that_have_an_entry(steps: list[tuple[bool, int]]) -> None:
    """An entry knows how many logs have it."""
    log, _, _ = told(steps)
    other = Log("/b")
    for one in log.read(0, 1 << 60):
        other.append(one)
        assert one.log_count == 2
    while len(log):
        assert log.drop_oldest().log_count == 1


def test_entries_that_are_lost_are_not_kept() -> None:
    """However many others a log has."""

    class Weak(Entry):
        """An entry that can be referred to weakly."""

    log, kept = Log("/a"), WeakSet[Entry]()
    for sequence in range(1, 1_001):
        one = Weak(sequence, 0.0, Message("/a", b""))
        kept.add(one)
        log.append(one)
    del one
    for left in range(999, -1, -1):
        log.drop_oldest()
        assert len(kept) == left


def test_an_empty_log_has_nothing_to_lose() -> None:
    """To take from an empty log is an error of the caller."""
    with pytest.raises(IndexError):
        Log("/a").drop_oldest()


@pytest.mark.parametrize(
    ("bounds", "now", "too_much"),
    [
        (Bounds(2, 10_000, 10.0), 5.0, False),
        (Bounds(1, 10_000, 10.0), 5.0, True),
        (Bounds(2, 2 * OVERHEAD + 3, 10.0), 5.0, True),
        (Bounds(2, 10_000, 10.0), 10.0, False),
        (Bounds(2, 10_000, 10.0), 10.1, True),
    ],
    ids=["fits", "count", "bytes", "just young enough", "too old"],
)
def test_bounds(bounds: Bounds, now: float, *, too_much: bool) -> None:
    """A log exceeds its bounds by count, by bytes, or by the age of its oldest entry."""
    log = Log("/a")
    log.append(entry(1, at=0.0))
    log.append(entry(2, at=4.0))
    assert log.exceeds(bounds, now) is too_much
    assert not Log("/b").exceeds(bounds, now)
