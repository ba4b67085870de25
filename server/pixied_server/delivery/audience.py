"""Audiences: the clients of one link that get a message."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pixied_server.core.backlog import Loss
from pixied_server.core.channels import logs_of
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, covers, later

__all__ = ["Audience", "AudienceLimits", "Audiences"]


@dataclass(frozen=True, slots=True)
class AudienceLimits:
    """How many audiences are kept ready of channels that match several patterns of a link.

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
        encoded: the encoded handles; set by the first sender.
    """

    __slots__ = ("encoded", "handles")

    def __init__(self, handles: Iterable[int]) -> None:
        self.handles = tuple(handles)
        self.encoded: bytes | None = None

    def __len__(self) -> int:
        return len(self.handles)

    def without(self, handle: int | None) -> "Audience":
        """Return the other handles."""
        if handle is None or handle not in self.handles:
            return self
        return Audience(other for other in self.handles if other != handle)


class _Recipients:
    """The handles that subscribe to one pattern, each with the progress at which its subscription begins."""

    __slots__ = ("_audience", "_expected", "_latest", "_since")

    def __init__(self) -> None:
        self._since: dict[int, Progress] = {}
        # Handles that will be added. Usually there are none, and an empty set takes 216 bytes.
        self._expected: set[int] | None = None
        self._latest = NOTHING
        self._audience: Audience | None = None

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

    def add(self, handle: int, since: Progress) -> None:
        self._came(handle)
        self._since[handle] = since
        self._latest = later(self._latest, since)
        self._audience = None

    def discard(self, handle: int) -> None:
        self._came(handle)
        if self._since.pop(handle, None) is not None:
            self._audience = None

    def everyone(self) -> Audience:
        """Return all of them: the same object until one comes or goes."""
        if self._audience is None:
            self._audience = Audience(self._since)
        return self._audience

    def all_get(self, entry: Entry) -> bool:
        """Return whether the message is for all of them: none has subscribed after it."""
        return entry.is_beyond(self._latest)

    def those_who_get(self, entry: Entry) -> Iterator[int]:
        """Return those that subscribed before the message came."""
        return (handle for handle, since in self._since.items() if entry.is_beyond(since))

    def those_who_lost(self, loss: Loss) -> Iterator[int]:
        """Return those that subscribed before the youngest of the lost messages."""
        return (handle for handle, since in self._since.items() if not covers(since, loss.partition, loss.sequence))


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
        """Follow the pattern for a handle that will be added, so that it misses nothing until then."""
        self._recipients(pattern).expect(handle)

    def __contains__(self, pattern: str) -> bool:
        """Whether a handle gets, or will get, what is published to exactly this pattern."""
        return pattern in self._by_pattern

    def add(self, pattern: str, handle: int, since: Progress) -> None:
        """Add a handle: it gets what is published to the pattern from here on."""
        self._recipients(pattern).add(handle, since)

    def _recipients(self, pattern: str) -> _Recipients:
        recipients = self._by_pattern.get(pattern)
        if recipients is None:
            recipients = self._by_pattern[pattern] = _Recipients()
            self._follow(pattern)
        return recipients

    def discard(self, pattern: str, handle: int) -> None:
        """Remove a handle: it gets nothing more through the pattern. Idempotent."""
        recipients = self._by_pattern.get(pattern)
        if recipients is None:
            return
        recipients.discard(handle)
        if not recipients:
            del self._by_pattern[pattern]
            self._unfollow(pattern)

    def those_who_lost(self, loss: Loss) -> tuple[int, ...]:
        """Return the handles that should have got messages which their pattern's log has lost."""
        recipients = self._by_pattern.get(loss.pattern)
        return tuple(recipients.those_who_lost(loss)) if recipients is not None else ()

    def of(self, entry: Entry) -> Audience:
        """Return the audience of a message, each handle once. The same object as long as nothing changes."""
        channel = entry.message.channel
        found = [one for name in logs_of(channel) if (one := self._by_pattern.get(name)) is not None]
        if not all(recipients.all_get(entry) for recipients in found):
            return Audience(dict.fromkeys(handle for recipients in found for handle in recipients.those_who_get(entry)))
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
