"""A client that this process owns: what it reads, and how far it is.

To its owner, a client is in one of these states:

| state | what it means | and then |
|---|---|---|
| unclaimed | no process owns it: its messages stay in the logs | a process claims it: claiming |
| claiming | Redis lists this process as owner; not all of the client's logs are followed yet | all are: catching up |
| catching up | it reads its logs, from its progress on | it has read everything that was received: live |
| live | it gets what its link gets | it has to read by itself: behind. It has a new subscription: behind |
| behind | as catching up; its progress goes back to where a new subscription begins | as catching up |
| yielding | another process wants it: this one writes what it knows of it | that is written: unclaimed |
| lost | another process, or another claim of this one, owns it | nothing: this claim is over |
| ended | its session is over | nothing |

`Ownership` moves it through claiming, yielding, lost and ended, its link through the others (`join`, `seek`). One
sequence for a partition says how far a client is in all of its logs there. Two rules keep that true:

- A subscription begins where its log was when the client became a member. The client may already be further in that
  partition. So when the log is followed, progress goes back to there (`add`), and the older logs are remembered to be
  `ahead`: they are not read again, and messages that came through them are not taken again.
  Where one of the older subscriptions ends meanwhile, what came through it may come again, marked as redelivered.
- Until such a subscription was read, nothing is confirmed beyond its begin: not by this process (`capped`), and not by
  scripts that it runs while it does not know of the subscription yet (the record's `cap`).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

from pixied_server.core.backlog import Loss
from pixied_server.core.channels import logs_of
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, earlier, later, reaches
from pixied_server.engine.abc import Checkpoint, LogName, Reading
from pixied_server.engine.redis.ownership.found import Found
from pixied_server.engine.redis.partition.codec import Start
from pixied_server.engine.redis.partition.portions import read_in_portions
from pixied_server.engine.redis.partition.protocol import Partition, Read

__all__ = ["OwningProcess", "RedisClaim", "Starts"]

Starts: TypeAlias = Mapping[LogName, Start]
"""Where a client's subscriptions begin, for each log. The log with the pattern "" is its inbox."""


class OwningProcess(Protocol):
    """What a claim needs of the process."""

    partitions: Sequence[Partition]

    @property
    def received(self) -> Progress:
        """How far messages were received, for each partition."""
        ...

    def announced(self, log: LogName, /) -> int:
        """Return the offset of the last message of a log, or an inbox, that was received; -1 if unknown."""
        ...

    def joined(self, claim: "RedisClaim") -> None:
        """Note that the client has joined its link's live messages, or left them."""
        ...


class RedisClaim:
    """The claim of the Redis engine. See `engine.abc.Claim`, and the module.

    Args:
        owner: this process.
        client_id: the client.
        number: the claim's.
        starts: its subscriptions, and its inbox.
        progress: what the client has confirmed.
        sent: up to where messages may have been delivered.
        checkpoint: its link's; None if it confirms by itself.

    Attributes:
        front_end: the owner's name.
        expires: whether the session timeout runs on.
        changes: the number of the last change of its subscriptions that is known.
        unsettled: whether nobody knows what former owners have sent.
        live: whether the client gets its messages as they are announced.
        joined_at: its progress when it last became live.
        lost: whether it is over.
        ended: whether it is over because the session is.
        followed: the logs that are followed for it.
    """

    def __init__(
        self,
        owner: OwningProcess,
        client_id: str,
        number: int,
        starts: Starts,
        progress: Progress,
        sent: Progress,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.client_id = client_id
        self.number = number
        self.checkpoint = checkpoint
        self.sent = sent
        self.front_end = ""
        self.expires = False
        self.changes = 0
        self.unsettled = False
        self.live = False
        self.joined_at = NOTHING
        self.lost = False
        self.ended = False
        self.followed: set[LogName] = set()
        self._owner = owner
        self._progress = list(progress)
        self._starts = dict(starts)
        # Subscriptions whose logs are not followed yet; and those that came while the client was live, which has yet to
        # read their logs.
        self._coming: dict[LogName, Start] = {}
        self._fresh: dict[LogName, Start] = {}
        # Logs that were read further than the partition's progress says, and how far.
        self._ahead: dict[LogName, int] = {}
        # A read that began before such a change may miss messages, or return too many.
        self._changed = 0

    # What it reads

    @property
    def progress(self) -> Progress:
        """See `engine.abc.Claim`."""
        return tuple(self._progress)

    @property
    def logs(self) -> list[LogName]:
        """The logs of the patterns that the client subscribes to, and that it reads."""
        return [log for log in self._starts if log[0]]

    @property
    def all_patterns(self) -> set[str]:
        """The patterns that the client subscribes to, whether it reads their logs already or will."""
        return {pattern for pattern, _ in (*self._starts, *self._coming) if pattern}

    @property
    def complete(self) -> bool:
        """Whether it reads all logs that the client is known to subscribe to."""
        return not self._coming and not self._fresh

    @property
    def expected_inbox(self) -> Starts:
        """The inbox, if messages may have been queued there of which nobody was notified."""
        return {log: start for log, start in self._coming.items() if not log[0]}

    def reads(self, log: LogName) -> bool:
        """Return whether it reads a log, or will."""
        return log in self._starts or log in self._coming

    def patterns(self) -> list[str]:
        """See `engine.abc.Claim`."""
        return list(dict.fromkeys(pattern for pattern, _ in self._starts if pattern))

    def expect(self, starts: Starts) -> None:
        """Note further logs, to be read once they are followed."""
        self._coming.update(starts)

    def expected(self, starts: Starts) -> Starts:
        """Return those of these logs that are still expected."""
        return {log: start for log, start in starts.items() if self._coming.get(log) is start}

    def add(self, starts: Starts) -> None:
        """Read expected logs, which are followed now, from where the subscriptions begin."""
        expected = self.expected(starts)
        self.let_be(expected)
        fresh = {log: start for log, start in expected.items() if log not in self._starts}
        self._starts |= fresh
        self._changed += bool(fresh)
        if self.live:
            self._fresh |= fresh
        else:
            self._go_back(fresh)

    def let_be(self, starts: Starts) -> None:
        """Expect logs no longer."""
        for log in self.expected(starts):
            del self._coming[log]

    def read_again(self, starts: Starts, sequence: int) -> None:
        """Read the inbox, which was expected, again beyond a sequence: some of that may have been delivered since."""
        again = {log: replace(start, sequence=sequence) for log, start in self.expected(starts).items()}
        self.let_be(starts)
        self.was_sent(self._owner.received)
        self._changed += 1
        for log in again:
            self._ahead.pop(log, None)
        if self.live:
            self._fresh |= again
        else:
            self._go_back(again)

    def remove(self, pattern: str) -> list[LogName]:
        """Stop reading the logs of a pattern, or expecting them. Return these logs."""
        logs = {log for log in (*self._starts, *self._coming) if log[0] == pattern}
        for log in logs:
            self._note_sent(log)
            for one in (self._starts, self._coming, self._fresh, self._ahead):
                one.pop(log, None)
        self._changed += bool(logs)
        return list(logs)

    def _note_sent(self, log: LogName) -> None:
        """Note what the client has got through a log that it will not read: another one may bring it again, marked."""
        _, partition = log
        reached = self._ahead.get(log, 0)
        others = (*self._coming.items(), *self._fresh.items())
        if log in self._starts and any(other != log and other[1] == partition for other, _ in others):
            reached = max(reached, (self._owner.received if self.live else self._progress)[partition])
        if reached:
            sent = list(self.sent or (0,) * len(self._progress))
            sent[partition] = max(sent[partition], reached)
            self.sent = tuple(sent)

    def _go_back(self, fresh: Starts) -> None:
        """Move progress back to where new logs begin, if the client is further in their partitions."""
        for partition in {partition for _, partition in fresh}:
            reached = self._progress[partition]
            unread = {log: at.sequence for log, at in fresh.items() if log[1] == partition and at.sequence < reached}
            if not unread:
                continue
            for log in self._starts:
                if log[1] == partition and log not in unread:
                    self._ahead[log] = max(reached, self._ahead.get(log, 0))
            self._progress[partition] = min(unread.values())

    def advance(self, progress: Progress) -> None:
        """Begin further on: the client has got its messages up to here."""
        self._progress = list(later(tuple(self._progress), progress))

    def was_sent(self, progress: Progress) -> None:
        """Note that messages up to here may have been delivered before."""
        self.sent = later(self.sent, progress)

    def capped(self, progress: Progress) -> Progress:
        """See `engine.abc.Claim`."""
        if not self.live:
            progress = earlier(progress, self.progress)
        if self.complete or not progress:
            return progress
        capped = list(progress)
        for (_, partition), start in (*self._coming.items(), *self._fresh.items()):
            capped[partition] = min(capped[partition], start.sequence)
        return tuple(capped)

    # Reading

    async def read(self, *, messages: int, size: int, least: int) -> Reading:
        """See `engine.abc.Claim`."""
        while True:
            reading = await self._read(messages, size, least)
            if reading is None:
                # A change made the read void: the caller reads again.
                return Reading([], 0, [], self.progress, self.progress, done=False)
            if reading.entries or reading.losses or reading.done or reading.upto == reading.begin:
                return reading
            # The client itself has published all of these messages, and does not get them.

    async def _read(self, messages: int, size: int, least: int) -> Reading | None:
        changed = self._changed
        begin, upto = self.progress, self._owner.received
        behind = self._behind(upto)
        announced = {number: [self._announced(log) for log, _, _ in logs] for number, logs in behind.items()}
        found = Found(behind, announced, list(later(begin, upto)), messages, size)
        for number in found.asking:
            found.reached[number] = begin[number]
        found.turn(sum(begin))
        while some := found.next():
            left, room = found.left // len(some), max(1, found.room // len(some))
            answers = await asyncio.gather(*[self._ask(found, number, upto, left, room, 0) for number in some])
            if self._changed != changed:
                return None
            for number, read in zip(some, answers, strict=True):
                found.take(number, read, self._new(read))
            found.narrow(some)
        if least and found.large and found.left > 0:
            number = found.large[0]
            read = await self._ask(found, number, upto, 1, 1, 1)
            if self._changed != changed:
                return None
            found.take(number, read, self._new(read))
        return self._taken(found, begin)

    def _behind(self, upto: Progress) -> dict[int, list[tuple[LogName, int, int]]]:
        """Return logs that may have unread messages, by partition, and the sequence and offset each was read to."""
        behind: dict[int, list[tuple[LogName, int, int]]] = {}
        for log, start in self._starts.items():
            sequence = max(self._ahead.get(log, self._progress[log[1]]), start.sequence)
            if sequence < upto[log[1]]:
                behind.setdefault(log[1], []).append((log, sequence, start.offset))
        return behind

    def _announced(self, log: LogName) -> int:
        pattern, partition = log
        return self._owner.announced((pattern or self.client_id, partition))

    async def _ask(self, found: "Found", number: int, upto: Progress, messages: int, size: int, least: int) -> Read:
        asked = [
            (pattern or self.client_id, sequence, offset) for (pattern, _), sequence, offset in found.behind[number]
        ]
        partition = self._owner.partitions[number]
        announced = found.announced[number]
        return await read_in_portions(
            partition, asked, upto=upto[number], messages=max(1, messages), size=size, least=least, announced=announced
        )

    def _new(self, read: Read) -> Iterable[Entry]:
        """Return the messages that the client has not got already, through a log that is ahead.

        An inbox is as far ahead as any other log of its partition: what is read from it the client has not got.
        """
        return [entry for entry in read.entries if not self._had(entry)] if self._ahead else read.entries

    def _had(self, entry: Entry) -> bool:
        for pattern in logs_of(entry.message.channel):
            log = (pattern, entry.partition)
            if entry.sequence <= self._ahead.get(log, 0) and entry.sequence > self._starts[log].sequence:
                return True
        return False

    def _taken(self, found: "Found", begin: Progress) -> Reading:
        """Make a reading: redelivered messages first; those of each partition in order."""
        self._progress = list(map(max, found.reached, begin))
        for log, offset in found.gone.items():
            # What is announced as lost is lost once.
            self._starts[log] = replace(self._starts[log], offset=max(offset, self._starts[log].offset))
        for log, sequence in list(self._ahead.items()):
            if sequence <= self._progress[log[1]]:
                del self._ahead[log]
        old = [entry for entry in found.entries if not entry.is_beyond(self.sent)]
        new = [entry for entry in found.entries if entry.is_beyond(self.sent)]
        wanted = [
            [entry for entry in sorted(some, key=_order) if not entry.message.skips(self.client_id)]
            for some in (old, new)
        ]
        losses = _together(
            Loss("" if loss.pattern == self.client_id else loss.pattern, loss.count) for loss in found.losses
        )
        done, large = not found.asking, bool(found.large)
        return Reading(
            [*wanted[0], *wanted[1]], len(wanted[0]), losses, begin, self.progress, done, found.own, large=large
        )

    # How far it has got

    def join(self) -> None:
        """See `engine.abc.Claim`."""
        self.live = True
        self.joined_at = self.progress
        self._owner.joined(self)

    def seek(self, progress: Progress, sent: Progress) -> Progress:
        """See `engine.abc.Claim`."""
        self.live = False
        if not reaches(progress, sent):
            self.was_sent(sent)
        self._progress = list(later(self.progress, progress))
        fresh, self._fresh = self._fresh, {}
        self._go_back(fresh)
        self._owner.joined(self)
        return self.progress


def _together(losses: Iterable[Loss]) -> list[Loss]:
    """Sum up losses by pattern."""
    counts: dict[str, int] = {}
    for loss in losses:
        counts[loss.pattern] = counts.get(loss.pattern, 0) + loss.count
    return [Loss(pattern, count) for pattern, count in counts.items()]


def _order(entry: Entry) -> tuple[int, int]:
    return entry.sequence, entry.partition
