"""Who, on one link, gets what is published."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pixied_server.core.channels import logs_of
from pixied_server.core.log import Entry

__all__ = ["Audience", "AudienceLimits", "Audiences"]


@dataclass(frozen=True, slots=True)
class AudienceLimits:
    """How many audiences of channels that match several patterns of a link are kept ready.

    Attributes:
        channels: those of so many channels.
        handles: so many handles in all of them; by default some 30 MB with their encoding.
    """

    channels: int = 10_000
    handles: int = 2_000_000


class Audience:
    """Handles that get the same messages, each once. Never changes, so that it can be encoded once.

    Attributes:
        handles: the handles.
        encoded: a place for the encoded handles; whoever sends them fills it.
    """

    __slots__ = ("encoded", "handles")

    def __init__(self, handles: Iterable[int]) -> None:
        self.handles = tuple(handles)
        self.encoded: bytes | None = None

    def __len__(self) -> int:
        return len(self.handles)

    def without(self, handle: int | None) -> "Audience":
        """The others."""
        if handle is None or handle not in self.handles:
            return self
        return Audience(other for other in self.handles if other != handle)


class _Recipients:
    """The handles that subscribe to one pattern, each with the position beyond which it does."""

    __slots__ = ("_audience", "_expected", "_latest", "_moments", "_since")

    def __init__(self) -> None:
        self._since: dict[int, int] = {}
        # Those that will come. There are none for most of the time, and an empty set takes 216 bytes.
        self._expected: set[int] | None = None
        self._latest = 0
        self._audience: Audience | None = None
        self._moments: list[int] | None = None

    def __len__(self) -> int:
        return len(self._since) + (len(self._expected) if self._expected is not None else 0)

    def expect(self, handle: int) -> None:
        if self._expected is None:
            self._expected = {handle}
        else:
            self._expected.add(handle)

    def _came(self, handle: int) -> None:
        if self._expected is not None:
            self._expected.discard(handle)
            if not self._expected:
                self._expected = None

    def add(self, handle: int, since: int) -> None:
        self._came(handle)
        self._since[handle] = since
        self._latest = max(self._latest, since)
        self._audience = self._moments = None

    def discard(self, handle: int) -> None:
        self._came(handle)
        if self._since.pop(handle, None) is not None:
            self._audience = self._moments = None

    def everyone(self) -> Audience:
        """All of them: the same object until someone comes or goes."""
        if self._audience is None:
            self._audience = Audience(self._since)
        return self._audience

    def all_get(self, position: int) -> bool:
        """Whether the message at this position is for all of them: so it is unless someone came after it."""
        return position > self._latest

    def those_at(self, position: int) -> Iterator[int]:
        """Those who get the message at this position."""
        return (handle for handle, since in self._since.items() if since < position)

    def youngest_before(self, position: int) -> int | None:
        """The highest position below this one beyond which one of them subscribes."""
        if self._moments is None:
            self._moments = sorted(set(self._since.values()))
        place = bisect_left(self._moments, position)
        return self._moments[place - 1] if place else None


class Audiences:
    """The audiences of one link, by pattern, kept ready until subscriptions change.

    Args:
        follow: is called with a pattern that has its first recipient.
        unfollow: is called with a pattern that has lost its last one.
        limits: what is kept ready.
    """

    def __init__(self, follow: Callable[[str], None], unfollow: Callable[[str], None], limits: AudienceLimits) -> None:
        self._follow = follow
        self._unfollow = unfollow
        self._limits = limits
        self._by_pattern: dict[str, _Recipients] = {}
        self._unions: dict[str, tuple[list[Audience], Audience]] = {}
        self._union_handles = 0

    def expect(self, pattern: str, handle: int) -> None:
        """The handle will be added: follow the pattern from now on, so that nothing is missed until then."""
        self._recipients(pattern).expect(handle)

    def add(self, pattern: str, handle: int, since: int) -> None:
        """The handle gets what is published to the pattern beyond the position."""
        self._recipients(pattern).add(handle, since)

    def _recipients(self, pattern: str) -> _Recipients:
        recipients = self._by_pattern.get(pattern)
        if recipients is None:
            recipients = self._by_pattern[pattern] = _Recipients()
            self._follow(pattern)
        return recipients

    def discard(self, pattern: str, handle: int) -> None:
        """The handle gets nothing more through the pattern. Idempotent."""
        recipients = self._by_pattern.get(pattern)
        if recipients is None:
            return
        recipients.discard(handle)
        if not recipients:
            del self._by_pattern[pattern]
            self._unfollow(pattern)

    def youngest_before(self, pattern: str, position: int) -> int | None:
        """The position at which the last of those subscribed who get a message there; None if no one gets it."""
        recipients = self._by_pattern.get(pattern)
        return recipients.youngest_before(position) if recipients is not None else None

    def subscribed_by(self, pattern: str, position: int) -> tuple[int, ...]:
        """The handles that had subscribed to exactly this pattern by a position."""
        recipients = self._by_pattern.get(pattern)
        return tuple(recipients.those_at(position + 1)) if recipients is not None else ()

    def of(self, entry: Entry) -> Audience:
        """Who gets a message, each once. The same object for every message as long as nothing changes."""
        channel, position = entry.message.channel, entry.position
        found = [one for name in logs_of(channel) if (one := self._by_pattern.get(name)) is not None]
        if not all(recipients.all_get(position) for recipients in found):
            return Audience(dict.fromkeys(handle for recipients in found for handle in recipients.those_at(position)))
        if len(found) == 1:
            return found[0].everyone()
        return self._union(channel, [recipients.everyone() for recipients in found])

    def _union(self, channel: str, parts: list[Audience]) -> Audience:
        ready = self._unions.get(channel)
        # Audiences never change, so the same parts (the same objects) have the same union.
        if ready is not None and len(ready[0]) == len(parts) and all(map(_same, ready[0], parts)):
            return ready[1]
        union = Audience(dict.fromkeys(handle for part in parts for handle in part.handles))
        self._union_handles += len(union) - (len(ready[1]) if ready is not None else 0)
        if len(self._unions) >= self._limits.channels or self._union_handles > self._limits.handles:
            self._unions.clear()
            self._union_handles = len(union)
        self._unions[channel] = (parts, union)
        return union


def _same(one: Audience, other: Audience) -> bool:
    return one is other
