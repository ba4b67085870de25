"""How far readers have come, against the sets of messages that they have read."""

from hypothesis import given
from hypothesis import strategies as st
from tests.core.messages import entry

from pixied_server.core.progress import NOTHING, Progress, covers, earlier, later, reaches

PARTITIONS = 3
NUMBERS = range(1, 5)
PROGRESS = st.just(NOTHING) | st.tuples(*[st.sampled_from(NUMBERS)] * PARTITIONS)


def read(progress: Progress) -> set[tuple[int, int]]:
    """The messages that a reader has read, each by its partition and its number."""
    return {(partition, number) for partition, upto in enumerate(progress) for number in range(1, upto + 1)}


@given(PROGRESS, PROGRESS)
def test_two_readers_together_and_both_of_them(one: Progress, other: Progress) -> None:
    """`later` is what one of two has read, `earlier` what both have; who reaches the other has read all it has."""
    assert read(later(one, other)) == read(one) | read(other)
    assert read(earlier(one, other)) == read(one) & read(other)
    assert reaches(one, other) is (read(one) >= read(other))


@given(PROGRESS)
def test_a_reader_beside_itself(progress: Progress) -> None:
    """With itself a reader has read what it has read, and it reaches itself."""
    assert later(progress, progress) == earlier(progress, progress) == progress
    assert reaches(progress, progress)


@given(PROGRESS, st.integers(0, PARTITIONS - 1), st.sampled_from(NUMBERS))
def test_a_message_is_covered_or_beyond(progress: Progress, partition: int, number: int) -> None:
    """A message was read exactly if its partition was read up to its number, or further."""
    one = entry(number, partition=partition)
    assert covers(progress, partition, number) is ((partition, number) in read(progress))
    assert one.is_beyond(progress) is not covers(progress, partition, number)
