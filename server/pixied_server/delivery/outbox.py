"""The live messages of a link that wait to be sent, and how far behind the link is."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, covers, reaches
from pixied_server.delivery.hub import Hub
from pixied_server.engine.abc import LogName

__all__ = ["Outbox", "OutboxLimits"]


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How many live messages wait for a slow reader; the rest stays in the logs.

    Attributes:
        messages: how many messages.
        bytes: how many bytes.
    """

    messages: int = 10_000
    bytes: int = 4_000_000


class Outbox:
    """Messages in the order in which they came. When it is full, later ones are not kept but read from the logs.

    Args:
        hub: the hub.
        limits: when it is full.
    """

    def __init__(self, hub: Hub, limits: OutboxLimits) -> None:
        self._hub = hub
        self._limits = limits
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        # How far messages were taken out, and how far they were put in, while there are any.
        self._taken: list[int] = []
        self._kept: list[int] = []
        # Those that came after younger ones: the engine found them missing.
        self._late: deque[Entry] = deque()
        # Once full: the logs with messages that were not kept, and the offset of the first such message in each.
        self._beyond: dict[LogName, int] = {}
        # While such logs are read: which, up to where, and late messages of others, which that read passes over.
        self._asked: Collection[LogName] = ()
        self._upto: Progress = NOTHING
        self._passed_over: list[Entry] = []

    def __bool__(self) -> bool:
        return bool(self._waiting or self._beyond)

    @property
    def ready(self) -> bool:
        """Whether there is a message to take without a read."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether further messages have to be read from the logs later."""
        return bool(self._beyond) or len(self._waiting) >= self._limits.messages or self._bytes >= self._limits.bytes

    @property
    def progress(self) -> Progress:
        """Everything up to here has been taken out."""
        if not self._late:
            return self.reached
        taken = list(self._taken)
        for entry in self._late:
            taken[entry.partition] = min(taken[entry.partition], entry.sequence - 1)
        return tuple(taken)

    @property
    def reached(self) -> Progress:
        """Nothing beyond this has been taken out."""
        if self._waiting:
            return tuple(self._taken)
        return tuple(self._kept) if self._beyond else self._hub.head

    def is_late(self, entry: Entry) -> bool:
        """Whether younger messages came before this one."""
        kept = self._kept if self._waiting or self._beyond else self._hub.head
        return entry.sequence < kept[entry.partition]

    def put(self, entry: Entry, appended: Iterable[tuple[str, int]]) -> None:
        """Add a new message, which was appended to the logs of these patterns at an offset in each."""
        late = self.is_late(entry)
        # A late one is kept in any case: it is older than what will be read.
        if self.full and not late:
            self._leave(entry, [((pattern, entry.partition), offset) for pattern, offset in appended])
            return
        if not self._waiting:
            self._taken = list(self.reached)
            if not late:
                self._taken[entry.partition] = entry.sequence - 1
            self._kept = list(self._taken)
        if late:
            self._keep_late(entry)
            return
        self._kept[entry.partition] = entry.sequence
        self._waiting.append(entry)
        self._bytes += entry.message.size

    def _keep_late(self, entry: Entry) -> None:
        self._late.append(entry)
        self._waiting.append(entry)
        self._bytes += entry.message.size

    def _leave(self, entry: Entry, logs: list[tuple[LogName, int]]) -> None:
        """Leave a message in its logs, to be read later."""
        for log, offset in logs:
            self._beyond.setdefault(log, offset)
        if covers(self._upto, entry.partition, entry.sequence) and not any(log in self._asked for log, _ in logs):
            self._passed_over.append(entry)

    def reads(self, log: LogName) -> bool:
        """Whether what a log has lost is found out when it is read."""
        return log in self._beyond

    def forget(self, pattern: str) -> None:
        """Forget a pattern that no client of the link subscribes to any more."""
        self._beyond = {log: offset for log, offset in self._beyond.items() if log[0] != pattern}

    async def take(self, size: int) -> tuple[Entry | None, Sequence[Loss]]:
        """Take the next entry, or None if there is none, and the losses found; reads about `size` bytes ahead."""
        losses: Sequence[Loss] = ()
        if not self._waiting and self._beyond:
            losses = await self._read_on(size)
        return self.take_ready(), losses

    def take_ready(self) -> Entry | None:
        """Take the next entry, or None if there is none, or it would have to be read first."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        if self._late and self._late[0] is entry:
            self._late.popleft()
        else:
            self._taken[entry.partition] = entry.sequence
        self._bytes -= entry.message.size
        return entry

    async def _read_on(self, size: int) -> Sequence[Loss]:
        asked, head = dict(self._beyond), self._hub.head
        self._taken = list(self._kept)
        self._asked, self._upto = asked, head
        try:
            read = await self._hub.engine.read(
                asked, tuple(self._kept), head, messages=self._limits.messages, size=size
            )
            passed_over = self._passed_over
        finally:
            self._asked, self._upto, self._passed_over = (), NOTHING, []
        self._waiting.extend(read.entries)
        self._bytes += sum(entry.message.size for entry in read.entries)
        self._kept = list(read.upto)
        for log, offset in read.offsets.items():
            if log in self._beyond:
                self._beyond[log] = offset
        self._take_up(passed_over)
        if reaches(read.upto, self._hub.head):
            self._beyond.clear()
        return [loss for loss in read.losses if (loss.pattern, loss.partition) in asked]

    def _take_up(self, passed_over: Iterable[Entry]) -> None:
        """Keep messages that came while other logs were read beyond them: no read to come would find them."""
        for entry in passed_over:
            if entry.sequence <= self._kept[entry.partition]:
                self._keep_late(entry)
