"""What the memory engine keeps for each client and each subscribed pattern.

A site has a million of these, so they are as small as Python lets them be: slots, no container before it is needed.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pixied_server.core.backlog import Source
from pixied_server.core.log import Log

__all__ = ["INBOX", "NO_ATTRIBUTES", "PatternLog", "Session"]

INBOX = ""
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class PatternLog(Log):
    """A subscribed pattern: its log and who reads it."""

    __slots__ = ("_members", "_only")

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern)
        # Most patterns of a large site have one subscriber, and a set of one takes 216 bytes.
        self._only: Session | None = None
        self._members: set[Session] | None = None

    @property
    def subscribers(self) -> int:
        """How many clients subscribe to exactly this pattern."""
        return len(self._members) if self._members is not None else int(self._only is not None)

    @property
    def members(self) -> Iterator["Session"]:
        """The clients, as they are now; the log may change meanwhile."""
        if self._members is not None:
            return iter(tuple(self._members))
        return iter(() if self._only is None else (self._only,))

    def add(self, session: "Session") -> None:
        """Add a subscriber that is not one yet."""
        if self._members is not None:
            self._members.add(session)
        elif self._only is None:
            self._only = session
        else:
            self._members, self._only = {self._only, session}, None

    def remove(self, session: "Session") -> None:
        """Remove a subscriber."""
        if self._members is not None:
            self._members.remove(session)
        else:
            self._only = None


class Session:
    """A client.

    Attributes:
        deadline: when it ends if nothing happens, in seconds.
        scheduled: whether the deadlines have it.
        inbox: the log of what was queued for it alone, and its offset there.
        sent: everything up to this sequence may have been delivered to it.
        front_end: the name of who holds it, or "".
        claim: names the claim that holds it; 0 for none. A claim with another number has lost it.
        expires: while it is held, whether its deadline counts all the same.
    """

    __slots__ = (
        "_log",
        "_offset",
        "_offsets",
        "attributes",
        "claim",
        "client_id",
        "created_at",
        "deadline",
        "expires",
        "front_end",
        "inbox",
        "inbox_offset",
        "scheduled",
        "sent",
        "timeout",
    )

    def __init__(self, client_id: str, now: float, timeout: float, attributes: Mapping[str, str]) -> None:
        self.client_id = client_id
        self.created_at = now
        self.deadline = now + timeout
        self.scheduled = False
        self.timeout = timeout
        self.attributes = dict(attributes) if attributes else NO_ATTRIBUTES
        # What it subscribes to, and the offset in each log of the first entry it has not confirmed. Most clients of a
        # large site have one subscription, and a dictionary of one takes 232 bytes.
        self._log: PatternLog | None = None
        self._offset: int
        self._offsets: dict[PatternLog, int] | None = None
        self.inbox: Log | None = None
        self.inbox_offset = 0
        self.sent = 0
        self.front_end = ""
        self.claim = 0
        self.expires: bool

    @property
    def kept_alive(self) -> bool:
        """Whether an owner keeps it from expiring."""
        return self.claim != 0 and not self.expires

    def is_over(self, now: float) -> bool:
        """Whether its time has come."""
        return self.deadline <= now and not self.kept_alive

    @property
    def subscriptions(self) -> int:
        """How many channels and patterns it subscribes to."""
        return len(self._offsets) if self._offsets is not None else int(self._log is not None)

    @property
    def logs(self) -> tuple[PatternLog, ...]:
        """What it subscribes to, in the order in which it began to."""
        if self._offsets is not None:
            return tuple(self._offsets)
        return () if self._log is None else (self._log,)

    def subscribes_to(self, log: PatternLog | None) -> bool:
        """Whether it subscribes to exactly this; to None, which stands for a log that nobody has, nobody does."""
        if self._offsets is not None:
            return log in self._offsets
        return log is not None and log is self._log

    def add(self, log: PatternLog) -> None:
        """Subscribe it to what it does not subscribe to yet: it gets what is appended from now on."""
        if self._offsets is not None:
            self._offsets[log] = log.next
        elif self._log is None:
            self._log, self._offset = log, log.next
        else:
            self._offsets, self._log = {self._log: self._offset, log: log.next}, None

    def remove(self, log: PatternLog) -> None:
        """End a subscription."""
        if self._offsets is not None:
            del self._offsets[log]
        else:
            self._log = None

    def sources(self) -> Iterator[Source]:
        """The logs it reads."""
        if self._log is not None:
            yield Source(self._log, self._offset)
        elif self._offsets is not None:
            for log, offset in self._offsets.items():
                yield Source(log, offset)
        if self.inbox is not None:
            yield Source(self.inbox, self.inbox_offset)

    def pending(self) -> int:
        """How many messages it has not confirmed; each counted once where it is not too many to look at them."""
        behind = [source for source in self.sources() if source.offset < source.log.next]
        if not behind:
            return 0
        if len(behind) == 1:
            return behind[0].log.next - max(behind[0].offset, behind[0].log.first)
        together = sum(source.log.next - max(source.offset, source.log.first) for source in behind)
        if together > _EXACT:
            return together
        return len(
            {entry.sequence for source in behind for entry in source.log.read(source.offset, source.log.last_sequence)}
        )

    def confirm(self, sequence: int) -> None:
        """It has got everything up to a sequence."""
        if self._log is not None:
            self._offset = max(self._offset, self._log.offset_after(sequence))
        elif self._offsets is not None:
            for log, offset in self._offsets.items():
                if offset < log.next:
                    self._offsets[log] = max(offset, log.offset_after(sequence))
        if self.inbox is not None:
            self.inbox_offset = max(self.inbox_offset, self.inbox.offset_after(sequence))


# So many messages are looked at to count those only once that came through several subscriptions: some 25 µs.
_EXACT = 500
