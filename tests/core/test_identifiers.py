"""Random identifiers."""

import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pixied_server.core.identifiers import DEFAULT_LENGTH, MAX_LENGTH, Letters, possible

ALPHABET = set("abcdefghijklmnopqrstuvwxyz0123456789")


@given(st.integers(1, MAX_LENGTH))
def test_length_and_alphabet(length: int) -> None:
    """An identifier has the length asked for and the letters `[a-z0-9]`."""
    identifier = Letters().draw(length)
    assert len(identifier) == length
    assert set(identifier) <= ALPHABET


def test_a_default_identifier_cannot_be_guessed() -> None:
    """It stands for 160 bits or more."""
    assert math.log2(possible(DEFAULT_LENGTH)) >= 160
    assert len(Letters().draw()) == DEFAULT_LENGTH


def test_an_identifier_does_not_follow_from_the_state_of_a_generator() -> None:
    """Who knows the state of Python's random numbers, which their outputs give away, knows nothing of identifiers."""
    state = random.getstate()
    drawn = []
    for _ in range(2):
        random.setstate(state)
        drawn.append(Letters().draw())
    assert drawn[0] != drawn[1]


def test_each_letter_is_as_likely_as_another() -> None:
    """Each byte that counts stands for one letter, and each letter has the same number of bytes."""
    letters = Letters(lambda _: bytes(range(256)))
    assert Counter(letters.draw(126) + letters.draw(126)) == dict.fromkeys(ALPHABET, 7)


def test_a_source_that_gives_unfair_bytes_is_asked_again() -> None:
    """Bytes that would favour some letters are not used."""
    given_ = iter([b"\xff" * 12, b"\xfc\x00\xfd" * 4, b"\x01" * 12])
    assert Letters(lambda _: next(given_)).draw(6) == "aaaabb"


def test_no_more_is_asked_of_the_source_than_is_needed() -> None:
    """All letters of a portion are drawn before another portion is asked for."""
    given_ = iter([b"\x00" * 12])
    letters = Letters(lambda _: next(given_))
    assert [letters.draw(6), letters.draw(6)] == ["aaaaaa"] * 2


def test_identifiers_differ() -> None:
    """10,000 of them are 10,000: no random letter is used twice."""
    letters = Letters()
    assert len({letters.draw() for _ in range(10_000)}) == 10_000
