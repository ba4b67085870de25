"""Channel names and patterns: their grammar, and who matches whom.

The grammar is that of the Bayeux specification 1.0, section 2.2.1 (Channel Names): a channel is `/` and segments, and a
pattern is what a client subscribes to: a channel, or one whose whole last segment is `*` (any one segment) or `**` (one
or more segments). `/a/**` does not match `/a`.
"""

import re
from collections.abc import Iterator
from math import inf

from pixied_server.errors import ChannelInvalid, ChannelIsPattern, ChannelReserved

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Grammar", "is_pattern", "logs_of", "matches", "meets"]

MAX_BYTES = 255
MAX_DEPTH = 32

_BAYEUX = r"A-Za-z0-9\-_!~()$@"
# What CometD's server lets pass beyond the specification.
_COMETD = _BAYEUX + r" #+.{}"
_WILDCARDS = ("/*", "/**")
_REMEMBERED = 10_000
# What is remembered of what channels match, in bytes: 20,000 channels of three segments, or 1,500 of the longest.
_KNOWN_BYTES = 10_000_000
# What a string takes beside its characters, with its place in a tuple; and such a tuple in a dictionary.
_NAME_OVERHEAD = 57
_KNOWN_OVERHEAD = 150


class Grammar:
    """Decides which names are channels and patterns.

    Args:
        cometd: admit CometD's wider set of characters.
    """

    def __init__(self, *, cometd: bool = False) -> None:
        segment = f"[{_COMETD if cometd else _BAYEUX}]+"
        self._channel = re.compile(rf"(?:/{segment}){{1,{MAX_DEPTH}}}", re.ASCII)
        self._pattern = re.compile(rf"(?:/{segment}){{0,{MAX_DEPTH - 1}}}/\*\*?", re.ASCII)
        # Publishers and subscribers return to the same names, and to look a name up takes a fifth of checking it.
        self._publishable: set[str] = set()
        self._subscribable: set[str] = set()
        self._allowed = "A-Z a-z 0-9 - _ ! ~ ( ) $ @" + (" space # + . { }" if cometd else "")

    def check_publishable(self, channel: str, *, field: str = "channel") -> None:
        """Accept a channel that one can publish to.

        Raises:
            ChannelInvalid, ChannelIsPattern, ChannelReserved: `/meta/**` and `/service/**`.
        """
        if channel in self._publishable:
            return
        self.check_queueable(channel, field=field)
        if channel.startswith("/service/") or channel == "/service":
            why = "/service/** is a client's private line; use QueueFor"
            raise ChannelReserved(channel, why, field=field)
        _remember(channel, self._publishable)

    def check_queueable(self, channel: str, *, field: str = "channel") -> None:
        """Accept a channel that a message for one client can bear.

        Raises:
            ChannelInvalid, ChannelIsPattern, ChannelReserved: `/meta/**`.
        """
        if not self._is_channel(channel):
            if self._is_pattern(channel):
                raise ChannelIsPattern(channel, field=field)
            raise ChannelInvalid(channel, self._why_not(channel), field=field)
        _refuse_meta(channel, field)

    def check_subscribable(self, pattern: str, *, field: str = "channels") -> None:
        """Accept a channel or pattern that a client can subscribe to.

        Raises:
            ChannelInvalid, ChannelReserved: `/meta/**` and `/service/**`.
        """
        if pattern in self._subscribable:
            return
        self.check_pattern(pattern, field=field)
        _refuse_meta(pattern, field)
        if pattern.startswith("/service/") or pattern == "/service":
            why = "/service/** is a client's private line; nothing is published there"
            raise ChannelReserved(pattern, why, field=field)
        _remember(pattern, self._subscribable)

    def check_pattern(self, pattern: str, *, field: str = "channel") -> None:
        """Accept any channel or pattern.

        Raises:
            ChannelInvalid: it is neither.
        """
        if not (self._is_channel(pattern) or self._is_pattern(pattern)):
            raise ChannelInvalid(pattern, self._why_not(pattern), field=field)

    def _is_channel(self, name: str) -> bool:
        return len(name) <= MAX_BYTES and self._channel.fullmatch(name) is not None

    def _is_pattern(self, name: str) -> bool:
        return len(name) <= MAX_BYTES and self._pattern.fullmatch(name) is not None

    def _why_not(self, name: str) -> str:  # noqa: PLR0911 - one return for each fault, in order
        if not name:
            return "it is empty"
        if len(name.encode(errors="replace")) > MAX_BYTES:
            return f"it is longer than {MAX_BYTES} bytes"
        if not name.startswith("/"):
            return "it must start with a slash"
        if name.count("/") > MAX_DEPTH:
            return f"it has more than {MAX_DEPTH} segments"
        if "//" in name or name.endswith("/"):
            return "a segment is empty"
        if "*" in name:
            return "a wildcard, * or **, must be the whole last segment"
        return f"a segment may have the characters {self._allowed}"


def _remember(name: str, names: set[str]) -> None:
    if len(names) >= _REMEMBERED:
        names.clear()
    names.add(name)


def _refuse_meta(name: str, field: str) -> None:
    if name.startswith("/meta/") or name == "/meta":
        raise ChannelReserved(name, "/meta/** belongs to the Bayeux protocol itself", field=field)


def is_pattern(name: str) -> bool:
    """Whether a valid name ends in a wildcard."""
    return name.endswith(_WILDCARDS)


class _Known:
    """What channels match that were asked for: publishers return to the same ones."""

    def __init__(self) -> None:
        self.logs: dict[str, tuple[str, ...]] = {}
        self._size = 0

    def add(self, channel: str) -> tuple[str, ...]:
        parents = tuple(_parents(channel))
        logs = (channel, f"{parents[-1]}/*", *(f"{parent}/**" for parent in parents))
        self._size += sum(map(len, logs)) + _NAME_OVERHEAD * len(logs) + _KNOWN_OVERHEAD
        if self._size > _KNOWN_BYTES:
            self.logs.clear()
            self._size = 0
        self.logs[channel] = logs
        return logs


_known = _Known()


def logs_of(channel: str) -> tuple[str, ...]:
    """The patterns that a channel matches: depth + 2 of them, however many exist.

    Its own name, one `*`, and one `**` per level: `/a/b` gives `/a/b`, `/a/*`, `/**`, `/a/**`.
    """
    logs = _known.logs.get(channel)
    return _known.add(channel) if logs is None else logs


def _parents(channel: str) -> Iterator[str]:
    """All proper prefixes of a channel, from the root (empty) down."""
    end = 0
    while end != -1:
        yield channel[:end]
        end = channel.find("/", end + 1)


def matches(pattern: str, channel: str) -> bool:
    """Whether a publish to the channel reaches the pattern."""
    return pattern in logs_of(channel)


def meets(one: str, other: str) -> bool:
    """Whether some channel name matches both patterns. Symmetric; a channel is a pattern that only it matches."""
    # A stem that another one begins with comes before it.
    (stem, wild), (other_stem, other_wild) = sorted([_split(one), _split(other)])
    if other_stem[: len(stem)] != stem:
        return False
    shortest, longest = _reach(stem, wild)
    other_shortest, other_longest = _reach(other_stem, other_wild)
    return max(shortest, other_shortest) <= min(longest, other_longest)


def _split(pattern: str) -> tuple[list[str], str]:
    """A pattern's fixed segments, and its wildcard or an empty string."""
    segments = pattern.split("/")[1:]
    if segments[-1] in ("*", "**"):
        return segments[:-1], segments[-1]
    return segments, ""


def _reach(stem: list[str], wild: str) -> tuple[int, float]:
    """How many segments a channel that matches may have: the fewest and the most."""
    if wild == "":
        return len(stem), len(stem)
    return len(stem) + 1, len(stem) + 1 if wild == "*" else inf
