"""Random identifiers that can't be guessed."""

import os
from collections.abc import Callable

__all__ = ["DEFAULT_LENGTH", "MAX_LENGTH", "Letters", "possible"]

DEFAULT_LENGTH = 32  # 36 ** 32 is 165 bits
MAX_LENGTH = 255

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
# A byte below 252 (7 times 36) stands for a letter, each as often as the others; the rest would favour some, so they
# are thrown away. One translate call per identifier is 10 times faster than one random number per letter.
_LETTERS = bytes(_ALPHABET[byte % 36] for byte in range(256))
_UNFAIR = bytes(range(252, 256))


# So many random bytes are read at once: a system call for each identifier took a tenth of a storm of handshakes.
_PORTION = 4_096


class Letters:
    """Random letters of `[a-z0-9]`, each as likely as the others and drawn once.

    Args:
        random: gives so many random bytes, from a cryptographic source.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._letters = ""

    def draw(self, length: int = DEFAULT_LENGTH) -> str:
        """Draw an identifier of 1 to 255 letters."""
        while len(self._letters) < length:
            self._letters += self._random(_PORTION).translate(_LETTERS, _UNFAIR).decode()
        identifier, self._letters = self._letters[:length], self._letters[length:]
        return identifier


def possible(length: int) -> int:
    """How many identifiers of this length there are."""
    return int(len(_ALPHABET) ** length)
