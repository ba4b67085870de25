"""Random identifiers that can't be guessed."""

import os
from collections.abc import Callable

__all__ = ["DEFAULT_LENGTH", "MAX_LENGTH", "draw", "possible"]

DEFAULT_LENGTH = 32  # 36 ** 32 is 165 bits
MAX_LENGTH = 255

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
# A byte below 252 (7 times 36) stands for a letter, each as often as the others; the rest would favour some, so they
# are thrown away. One translate call per identifier is 10 times faster than one random number per letter.
_LETTERS = bytes(_ALPHABET[byte % 36] for byte in range(256))
_UNFAIR = bytes(range(252, 256))


def draw(length: int = DEFAULT_LENGTH, random: Callable[[int], bytes] = os.urandom) -> str:
    """Draw an identifier of `[a-z0-9]`.

    Args:
        length: how many characters, 1 to 255.
        random: gives so many random bytes, from a cryptographic source.
    """
    letters = b""
    while len(letters) < length:
        letters += random(length + 8).translate(_LETTERS, _UNFAIR)
    return letters[:length].decode("ascii")


def possible(length: int) -> int:
    """How many identifiers of this length there are."""
    return int(len(_ALPHABET) ** length)
