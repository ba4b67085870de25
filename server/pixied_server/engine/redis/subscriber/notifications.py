"""The state of one partition's subscription: the logs that are followed there, and how far they were received."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from pixied_server.core.backlog import Loss
from pixied_server.engine.redis.connection.store import PubSub
from pixied_server.engine.redis.partition.codec import Announcement
from pixied_server.engine.redis.partition.protocol import Partition

__all__ = ["Barrier", "FollowedLog", "Notifications", "in_turns", "retrieved"]

_READ_LOGS = 100
_READ_MESSAGES = 500
_READ_BYTES = 1_000_000
# How many messages are passed on before others get a turn.
_IN_TURN = 200
# How many logs of each partition that this process has appended to are remembered, with their offsets.
_APPENDED = 4_000
# And how many inboxes that are not followed, with the offsets of messages that came for them.
_EARLY = 1_000


class FollowedLog:
    """A log that is followed: that of a pattern, or the inbox of a client that this process owns.

    Attributes:
        followers: how many clients read it.
        ready: done when all that is appended from now on will be received.
        offset: of the last message that was received; -1 if unknown.
        sequence: all of its messages up to this one have been passed on, or were there before it was followed.
    """

    __slots__ = ("followers", "offset", "ready", "sequence")

    def __init__(self) -> None:
        self.followers = 0
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.offset = -1
        self.sequence = 0

    def receive(self, sequence: int, offset: int) -> None:
        """Note a message that has been passed on."""
        self.sequence = sequence
        # One that came on another log's channel before this one is ready says nothing of those before it.
        if self.offset >= 0 or self.ready.done():
            self.offset = max(self.offset, offset)


@dataclass(slots=True)
class Barrier:
    """A barrier that was asked for.

    Attributes:
        passed: done when all that was published before the barrier was received.
        logs: the logs that are ready then.
    """

    passed: "asyncio.Future[None]"
    logs: dict[str, FollowedLog] = field(default_factory=dict)


class Notifications:
    """See the module.

    Args:
        partition: the partition.
        process: the process's name.

    Attributes:
        received: all messages up to this sequence have been passed on.
        appended: the highest sequence that this process has appended.
        logs: the logs that are followed, by pattern or client.
        unconfirmed: how many confirmations each channel has yet to get.
        barriers: the barriers that were asked for, by name.
        next: the barrier that will be asked for.
        held: messages that came while missed ones are being read; None while none are.
        pubsub: the pub/sub connection, or None while there is none.
    """

    def __init__(self, partition: Partition, process: str) -> None:
        self.partition = partition
        self.process_channel = f"{partition.base}process:{process}".encode()
        self.events = f"{partition.base}events".encode()
        partition.known = self.known
        self.received = 0
        self.appended = 0
        self._last_appended: OrderedDict[str, int] = OrderedDict()
        self._early: OrderedDict[str, int] = OrderedDict()
        self.logs: dict[str, FollowedLog] = {}
        self.unconfirmed: dict[bytes, int] = {}
        self.barriers: dict[str, Barrier] = {}
        self.next: Barrier | None = None
        self.all_confirmed = asyncio.Event()
        self.held: list[Announcement] | None = None
        # Barriers that came while messages were held.
        self.deferred: list[Barrier] = []
        self.deferred_upto = 0
        self.pubsub: PubSub | None = None
        self.recovering: asyncio.Task[None] | None = None
        self.last_barrier = monotonic()

    @property
    def is_misplaced(self) -> bool:
        """Whether another server has the partition: its former master passes on what it gets, but may miss some."""
        return self.pubsub is not None and self.partition.known_server not in {None, self.pubsub.node}

    def known(self) -> tuple[int, Mapping[str, int]]:
        """Return the highest sequence that was announced or appended, as far as known here, and the logs' offsets."""
        offsets = dict(self._last_appended)
        for name, log in self.logs.items():
            if log.offset > 0:
                offsets[name] = max(log.offset, offsets.get(name, 0))
        return max(self.received, self.appended), offsets

    def offset(self, name: str) -> int:
        """Return the offset of a log's last message that was received; -1 if it is unknown."""
        log = self.logs.get(name)
        return log.offset if log is not None else -1

    def append(self, sequence: int, offsets: Mapping[str, int]) -> None:
        """Remember a message that this process has appended to logs."""
        self.appended = max(self.appended, sequence)
        for log, offset in offsets.items():
            self._last_appended[log] = offset
            self._last_appended.move_to_end(log)
        while len(self._last_appended) > _APPENDED:
            self._last_appended.popitem(last=False)

    def channel(self, pattern: str) -> bytes:
        """Return the channel on which messages of a pattern's log are published."""
        return f"{self.partition.base}messages:{pattern}".encode()

    @property
    def channels(self) -> list[bytes]:
        """All channels that this process has to receive, except events."""
        return [self.process_channel, *(self.channel(name) for name in self.logs if name.startswith("/"))]

    def follow_inbox(self, client_id: str, offset: int) -> None:
        """Follow a client's inbox beyond an offset: its messages come on this process's own channel."""
        log = self.logs.get(client_id)
        if log is None:
            log = self.logs[client_id] = FollowedLog()
            self.is_ready(log)
        log.followers += 1
        # An inbox that does not exist yet begins at 0.
        log.offset = max(log.offset, offset, self._early.pop(client_id, -1), 0)

    def receive(self, announced: Announcement) -> list[tuple[str, int]]:
        """Note a message. Return the followed logs that have it, and its offset in each."""
        followed = []
        for name, offset in announced.logs:
            if (log := self.logs.get(name)) is not None:
                log.receive(announced.sequence, offset)
                followed.append((name, offset))
        if not followed:
            self._came_early(announced.logs)
        return followed

    def _came_early(self, logs: Iterable[tuple[str, int]]) -> None:
        """Remember a message that no log here follows: the answer to a claim on its client may still be under way."""
        for name, offset in logs:
            if not name.startswith("/"):
                self._early[name] = offset
        if len(self._early) > _EARLY:
            self._early.popitem(last=False)

    def is_ready(self, log: FollowedLog) -> None:
        """Note that all that is appended to a log from now on will be received."""
        log.sequence = max(log.sequence, self.received)
        log.ready.set_result(None)

    @property
    def confirmed(self) -> Mapping[str, FollowedLog]:
        """The logs that are not ready, though their channels are confirmed."""
        return {
            name: log
            for name, log in self.logs.items()
            if not log.ready.done() and self.channel(name) not in self.unconfirmed
        }

    def unfollow(self, name: str) -> None:
        """End one client's following of a log; the last one ends its subscription."""
        log = self.logs.get(name)
        if log is None:
            return
        log.followers -= 1
        if log.followers == 0:
            del self.logs[name]
            if not log.ready.done():
                # Nobody needs the log any more: those that wait for it go on.
                log.ready.set_result(None)
            if self.pubsub is not None and name.startswith("/"):
                self.pubsub.unsubscribe(self.channel(name))

    def has_hole(self, announced: Announcement) -> bool:
        """Return whether a message of a followed log is missing before this one."""
        return any(self._holes(announced))

    def _holes(self, announced: Announcement) -> Iterator[tuple[str, int]]:
        """Yield the followed logs of which messages before this one are missing, and the offset before this one."""
        for name, offset in announced.logs:
            log = self.logs.get(name)
            if log is not None and log.offset >= 0 and offset > log.offset + 1:
                yield name, offset - 1

    def let_go_of_held(self, pass_on: Callable[["Notifications", Announcement], None]) -> Announcement | None:
        """Pass on held messages, and hold no more; or up to one before which others are missing, and return that."""
        held = self.held or []
        for number, announced in enumerate(held):
            if announced.sequence > self.received:
                if self.has_hole(announced):
                    self.held = held[number:]
                    return announced
                pass_on(self, announced)
        self.held = None
        return None

    async def read_before(self, announced: Announcement) -> tuple[dict[int, Announcement], list[Loss]]:
        """Do as `read`, for what is missing before a message."""
        found: dict[int, Announcement] = {}
        losses: list[Loss] = []
        for name, offset in list(self._holes(announced)):
            await self._read([name], announced.sequence - 1, found, losses, announced=offset)
        return found, losses

    def nothing_before(self, announced: Announcement) -> None:
        """Note that what was missing before a message was read: a log that began anew has nothing more."""
        for name, offset in self._holes(announced):
            self.logs[name].offset = offset

    async def read(self, upto: int) -> tuple[dict[int, Announcement], list[Loss]]:
        """Read messages of followed logs that were not received, up to a sequence. Changes nothing.

        Returns:
            The messages by sequence, and what the logs have lost; the pattern of an inbox's loss is the client.

        Raises:
            EngineUnavailable: the store does not answer.
        """
        found: dict[int, Announcement] = {}
        losses: list[Loss] = []
        names = [name for name, log in self.logs.items() if log.ready.done()]
        for begin in range(0, len(names), _READ_LOGS):
            await self._read(names[begin : begin + _READ_LOGS], upto, found, losses)
        return found, losses

    def missed(self, losses: Iterable[Loss]) -> None:
        """What logs have lost, as it was read, counts as received."""
        for loss in losses:
            log = self.logs.get(loss.pattern)
            if log is not None:
                log.sequence = max(log.sequence, loss.sequence)
                if log.offset >= 0:
                    log.offset += loss.count

    async def _read(
        self,
        names: list[str],
        upto: int,
        found: dict[int, Announcement],
        losses: list[Loss],
        announced: int = -1,
    ) -> None:
        reached, more = 0, True
        offsets = {name: self.logs[name].offset for name in names if name in self.logs}
        # Each from its own last message on: one that is missing may be older than what came since through other logs.
        since = {name: self.logs[name].sequence for name in offsets}
        while more:
            names = [name for name in names if name in self.logs]
            if not names:
                return
            asked = [(name, max(reached, since[name]), offsets[name]) for name in names]
            read = await self.partition.read(
                asked, upto=upto, messages=_READ_MESSAGES, size=_READ_BYTES, announced=[announced] * len(asked)
            )
            for place, loss, _ in read.losses:
                losses.append(loss)
                if offsets[names[place]] >= 0:
                    offsets[names[place]] += loss.count
            for entry, places in zip(read.entries, read.offsets, strict=True):
                one = found.setdefault(entry.sequence, Announcement(entry.sequence, [], entry.at, entry.message))
                for place, offset in places:
                    one.logs.append((names[place], offset))
            reached, more = read.reached, read.more


def retrieved(one: "asyncio.Future[Any]") -> None:
    """Mark a failure as seen: that nobody waits for it is no fault."""
    if not one.cancelled():
        one.exception()


async def in_turns(sequences: Iterable[int]) -> AsyncIterator[int]:
    """Yield all of these, some at a time, and let others have their turn in between."""
    for number, sequence in enumerate(sequences, 1):
        yield sequence
        if number % _IN_TURN == 0:
            await asyncio.sleep(0)
