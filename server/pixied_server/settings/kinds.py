"""What a setting's value may be, and how people write it.

A kind reads a value from any of the four places it can stand (a flag's or a variable's text, a TOML value, a Python
value), shows it the way it is written, and describes its range. All three come from the same numbers, so what `--help`
promises is what is checked.
"""

import ipaddress
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

__all__ = ["Address", "Addresses", "Choice", "Count", "Duration", "Engine", "Kind", "Name", "Size", "Switch"]

UNIX_PATH_LIMIT = 107
"""Bytes that a Unix socket's path may have on Linux (`sockaddr_un`, without its closing zero)."""


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of value."""

    metavar: ClassVar[str] = "TEXT"
    unit: ClassVar[str] = ""
    noun: ClassVar[str] = "known"

    def parse(self, given: object) -> object:
        """Reads a value.

        Raises:
            ValueError: It is none of this kind; the text says what is wrong and what would be right.
        """
        value = self._read(given)
        if value is None:
            raise ValueError(f"{given!r} is not {self.noun}; right would be {self.range()}")
        if not self._admits(value):
            raise ValueError(f"{given!r} is out of range; right would be {self.range()}")
        return value

    def show(self, value: object) -> str:
        """Writes a value the way `parse` reads it."""
        return self._write(value)

    @abstractmethod
    def range(self) -> str:
        """Says which values are right."""

    @abstractmethod
    def _read(self, given: object) -> object | None:
        """The value, or None if this is not of the kind."""

    def _admits(self, value: Any) -> bool:
        """Whether a value of the kind is in its range."""
        del value
        return True

    def _write(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class _Number(Kind):
    low: float
    high: float

    def _admits(self, value: float) -> bool:
        return self.low <= value <= self.high

    def range(self) -> str:
        """Says which values are right."""
        return f"{self.show(self.low)} to {self.show(self.high)}"


def _quantity(given: object, units: Mapping[str, float], bare: str) -> float | None:
    """Reads `64MiB`, `1.5 h` or a number, which is in the `bare` unit. None if it is no such thing."""
    if isinstance(given, str):
        match = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", given)
        factor = units.get(match[2] or bare) if match else None
        return None if match is None or factor is None else float(match[1]) * factor
    return None if isinstance(given, bool) or not isinstance(given, int | float) else given


@dataclass(frozen=True)
class Count(_Number):
    """A whole number.

    Args:
        low: The smallest right value.
        high: The largest right value.
        zero: What 0 means, if it does not mean none.
    """

    zero: str = ""
    metavar: ClassVar[str] = "N"
    noun: ClassVar[str] = "a whole number"

    def range(self) -> str:
        """Says which values are right."""
        return f"{self.low:,} to {self.high:,}" + (f" (0: {self.zero})" if self.zero else "")

    def _read(self, given: object) -> int | None:
        if isinstance(given, str):
            return int(given) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", given) else None
        return given if isinstance(given, int) and not isinstance(given, bool) else None


@dataclass(frozen=True)
class Duration(_Number):
    """A length of time; a number is in seconds.

    Args:
        low: The shortest right value, in seconds.
        high: The longest right value, in seconds.
        unset: What it means not to set it, where that is allowed.
    """

    unset: str = ""
    metavar: ClassVar[str] = "DURATION"
    unit: ClassVar[str] = "seconds"
    noun: ClassVar[str] = "a duration, such as 100ms, 45s, 5min, 1h, 2d or a number of seconds"
    UNITS: ClassVar[Mapping[str, float]] = {"d": 86_400, "h": 3_600, "min": 60, "s": 1, "ms": 0.001}

    def _read(self, given: object) -> float | None:
        seconds = _quantity(given, self.UNITS, bare="s")
        return float(seconds) if seconds is not None and math.isfinite(seconds) else None

    def _write(self, value: float | None) -> str:
        if value is None:
            return self.unset
        for unit, seconds in self.UNITS.items():
            amount = round(value / seconds, 9)
            if amount >= 1 and amount.is_integer():
                return f"{amount:.0f}{unit}"
        return f"{value:g}s"


@dataclass(frozen=True)
class Size(_Number):
    """An amount of memory; a number is in bytes.

    Args:
        low: The smallest right value, in bytes.
        high: The largest right value, in bytes.
    """

    metavar: ClassVar[str] = "SIZE"
    unit: ClassVar[str] = "bytes"
    noun: ClassVar[str] = "a size, such as 64KiB, 16MiB, 2GiB or a number of bytes"
    UNITS: ClassVar[Mapping[str, float]] = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

    def _read(self, given: object) -> int | None:
        size = _quantity(given, self.UNITS, bare="B")
        return int(size) if size is not None and float(size).is_integer() else None

    def _write(self, value: int) -> str:
        shown = (f"{value // size:.0f}{unit}" for unit, size in self.UNITS.items() if value and value % size == 0)
        return next(shown, str(value))


@dataclass(frozen=True)
class Switch(Kind):
    """On or off."""

    metavar: ClassVar[str] = ""
    noun: ClassVar[str] = "a switch"
    WORDS: ClassVar[Mapping[str, bool]] = {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }

    def range(self) -> str:
        """Says which values are right."""
        return "true or false"

    def _read(self, given: object) -> bool | None:
        if isinstance(given, str):
            return self.WORDS.get(given.strip().lower())
        return given if isinstance(given, bool) else None

    def _write(self, value: bool) -> str:  # noqa: FBT001 the value is what this is about
        return "true" if value else "false"


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words.

    Args:
        words: The words, in lower case.
    """

    words: tuple[str, ...]
    metavar: ClassVar[str] = "WORD"

    def range(self) -> str:
        """Says which values are right."""
        return " or ".join(filter(None, (", ".join(self.words[:-1]), self.words[-1])))

    def _read(self, given: object) -> str | None:
        word = given.strip().lower() if isinstance(given, str) else None
        return word if word in self.words else None


@dataclass(frozen=True)
class Name(Kind):
    """A short name of letters, digits, `-`, `_` and `.`."""

    metavar: ClassVar[str] = "NAME"

    def range(self) -> str:
        """Says which values are right."""
        return "1 to 64 letters, digits, -, _ or ."

    def _read(self, given: object) -> str | None:
        return given if isinstance(given, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else None


@dataclass(frozen=True)
class Engine(Kind):
    """Where the state is: `memory`, or the address of a store. A password in it is never shown."""

    SCHEMES: ClassVar[tuple[str, ...]] = (
        "redis",
        "rediss",
        "redis+unix",
        "unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
    )
    metavar: ClassVar[str] = "memory|URL"

    def parse(self, given: object) -> object:
        """See `Kind.parse`; the error does not repeat what may hold a password."""
        value = self._read(given)
        if value is None:
            shown = "this address" if "://" in str(given) or "@" in str(given) else repr(given)
            raise ValueError(f"{shown} is not known; right would be {self.range()}")
        return value

    def range(self) -> str:
        """Says which values are right."""
        return "memory, or a URL such as redis://127.0.0.1:6379/0 (also rediss, redis+sentinel, redis+cluster, unix)"

    def _read(self, given: object) -> str | None:
        if not isinstance(given, str):
            return None
        text = given.strip()
        known = text == "memory" or (text.partition("://")[0] in self.SCHEMES and "://" in text)
        return text if known else None

    def _write(self, value: Any) -> str:
        # A password may hold what has to be escaped and was not: up to the last @ all may be one, and a user without
        # a password may be.
        text = re.sub(r"(password=).*", r"\1***", str(value), flags=re.DOTALL)
        return re.sub(r"//([^:@]*:)?.*@", r"//\1***@", text, flags=re.DOTALL)


@dataclass(frozen=True)
class Address:
    """Where a server listens: a host and port, or a Unix socket.

    Args:
        text: The address as gRPC takes it.
        local: True if nobody but this machine's own programs can reach it.
    """

    FORMS: ClassVar[str] = "host:port, [ipv6]:port or unix:///absolute/path"

    text: str
    local: bool

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads an address.

        Raises:
            ValueError: It is none; the text says why.
        """
        return cls._unix(text) if text.startswith("unix:") else cls._tcp(text)

    @classmethod
    def _unix(cls, text: str) -> "Address":
        path = text.removeprefix("unix://")
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError(f"{text!r} is not a Unix socket's address; right would be unix:///absolute/path")
        if len(path.encode()) > UNIX_PATH_LIMIT:
            raise ValueError(f"{text!r} is too long for a Unix socket; right would be {UNIX_PATH_LIMIT} bytes or less")
        return cls(text, local=True)

    @classmethod
    def _tcp(cls, text: str) -> "Address":
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or port is None or parts.netloc != text or "@" in text or any(c.isspace() for c in text):
            raise ValueError(f"{text!r} is not an address; right would be {cls.FORMS}, with a port from 0 to 65,535")
        return cls(text, local=_is_loopback(host))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A name may resolve to anything, and to something else tomorrow.
        return False


@dataclass(frozen=True)
class Addresses(Kind):
    """One or more addresses; as text, with commas between them."""

    metavar: ClassVar[str] = "ADDRESS"
    noun: ClassVar[str] = "a list of addresses"

    def range(self) -> str:
        """Says which values are right."""
        return f"one or more of {Address.FORMS}"

    def _read(self, given: object) -> tuple[str, ...] | None:
        items = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
            return None
        return tuple(Address.parse(item).text for item in items)

    def _write(self, value: tuple[str, ...]) -> str:
        return ",".join(value)
