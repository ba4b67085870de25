"""How a process hears one partition: what it follows there, and how far it has heard."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from time import monotonic
from typing import Any

from pixied_server.engine.redis.mail import Announcement
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.store import Feed

__all__ = ["Ear", "Log", "Topic", "seen"]

Log = tuple[int, str]
"""A log: its partition and its pattern."""

_READ_LOGS = 100
_READ_MESSAGES = 500
_READ_BYTES = 1_000_000
# So many of a log's last offsets are remembered, to tell how many messages exactly a client has lost.
_RECENT = 32
# For so many logs of each partition that this process appended to it is known how far they were.
_APPENDED = 4_000


class Topic:
    """A followed log.

    Attributes:
        followers: how many want it.
        ready: done when all that is appended from now on will be heard.
        offset: of the last message of it that was heard; -1 if that is not known.
        recent: the places and offsets of its last messages.
    """

    __slots__ = ("followers", "offset", "ready", "recent")

    def __init__(self) -> None:
        self.followers = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready.add_done_callback(seen)
        self.offset = -1
        self.recent: deque[tuple[int, int]] | None = None

    def hear(self, place: int, offset: int) -> None:
        """A message of the log was told."""
        self.offset = offset
        if self.recent is None:
            self.recent = deque(maxlen=_RECENT)
        self.recent.append((place, offset))

    def offset_at(self, place: int) -> int:
        """The offset of the last entry at a place, as far as is known."""
        for at, offset in reversed(self.recent or ()):
            if at <= place:
                return offset
        return -1


class Ear:
    """How a process hears one partition.

    Args:
        partition: the partition.
        process: the process's name.

    Attributes:
        heard: everything up to this place has been passed on.
        appended: the last place that this process knows of because it appended there.
        last_appended: the last offsets of such logs, the youngest last.
        topics: the logs that are followed, by pattern.
        unconfirmed: how many confirmations each channel has yet to get.
        marks: those that were asked for, by their names.
        wanted: one that will be asked for.
        held_back: what was told while the partition is being read; None if it is not.
        feed: the connection, or None while there is none.
    """

    def __init__(self, partition: Partition, process: str) -> None:
        self.partition = partition
        self.process_channel = f"{partition.base}process:{process}".encode()
        self.events = f"{partition.base}events".encode()
        partition.known = self.known
        self.heard = 0
        self.appended = 0
        self.last_appended: OrderedDict[str, int] = OrderedDict()
        self.topics: dict[str, Topic] = {}
        self.unconfirmed: dict[bytes, int] = {}
        self.marks: dict[str, asyncio.Future[None]] = {}
        self.wanted: asyncio.Future[None] | None = None
        self.all_confirmed: asyncio.Event = asyncio.Event()
        self.held_back: list[Announcement | tuple[str, Announcement]] | None = None
        # Marks that came while mail was held back.
        self.deferred: list[asyncio.Future[None]] = []
        self.deferred_upto = 0
        self.feed: Feed | None = None
        self.mending: asyncio.Task[None] | None = None
        self.last_mark = monotonic()

    def known(self) -> tuple[int, Mapping[str, int]]:
        """Up to which place mail was told or appended, as far as this process knows, and the last offsets of logs."""
        offsets = dict(self.last_appended)
        for pattern, topic in self.topics.items():
            if topic.offset >= 0:
                offsets[pattern] = max(topic.offset, offsets.get(pattern, 0))
        return max(self.heard, self.appended), offsets

    def append(self, place: int, offsets: Mapping[str, int]) -> None:
        """This process has appended to logs, and was told that it did."""
        self.appended = max(self.appended, place)
        for log, offset in offsets.items():
            self.last_appended[log] = offset
            self.last_appended.move_to_end(log)
        while len(self.last_appended) > _APPENDED:
            self.last_appended.popitem(last=False)

    def channel(self, pattern: str) -> bytes:
        """Where mail of a log is told."""
        return f"{self.partition.base}mail:{pattern}".encode()

    def has_hole(self, told: Announcement) -> bool:
        """Whether mail of a followed log is missing before this."""
        for pattern, offset in told.logs:
            topic = self.topics.get(pattern)
            if topic is not None and topic.offset >= 0 and offset > topic.offset + 1:
                return True
        return False

    async def read(self, upto: int) -> tuple[dict[int, Announcement], list[tuple[str, int]]]:
        """Read what the followed logs hold beyond what was heard, up to a place.

        Returns:
            The mail by its places, and how much each log should have and has not.

        Raises:
            EngineUnavailable: the store does not answer.
        """
        found: dict[int, Announcement] = {}
        gaps: list[tuple[str, int]] = []
        topics = list(self.topics.items())
        for begin in range(0, len(topics), _READ_LOGS):
            await self._read(topics[begin : begin + _READ_LOGS], upto, found, gaps)
        return found, gaps

    async def _read(
        self,
        topics: list[tuple[str, Topic]],
        upto: int,
        found: dict[int, Announcement],
        gaps: list[tuple[str, int]],
    ) -> None:
        """Read what some logs hold beyond what was heard."""
        reached = {pattern: (self.heard, topic.offset) for pattern, topic in topics if topic.ready.done()}
        while reached:
            arguments: list[str | int] = [_READ_MESSAGES, _READ_BYTES, upto, len(reached)]
            for pattern, (place, offset) in reached.items():
                arguments += (pattern, place, offset)
            _, _, *logs = await self.partition.do("read", *arguments)
            following: dict[str, tuple[int, int]] = {}
            for pattern, (offset, missing, more, entries) in zip(reached, logs, strict=True):
                if missing:
                    gaps.append((pattern, missing))
                for name, at, stored in entries:
                    last, this = map(int, name.split(b"-"))
                    told = found.setdefault(last, Announcement(last, [], at, stored))
                    told.logs.append((pattern, this))
                if (topic := self.topics.get(pattern)) is not None:
                    topic.offset = int(offset)
                if more:
                    following[pattern] = (int(entries[-1][0].split(b"-")[0]), int(offset))
            reached = following


def seen(one: "asyncio.Future[Any]") -> None:
    """Failures are told to those who wait; where nobody does, that is no fault."""
    if not one.cancelled():
        one.exception()
