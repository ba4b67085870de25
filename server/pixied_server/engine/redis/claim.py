"""The mail of a client of the Redis engine, and how far it has got it.

How far: for each log that the client reads, a place in that log's partition. Everyone else has one number, a position.
While the client gets its mail as it is announced, `Positions` tell what places a position stands for; while it reads,
the claim itself does, for it numbers what it reads.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pixied_server.core.backlog import Loss
from pixied_server.core.channels import logs_of
from pixied_server.engine.abc import Keeper, Reading
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.mail import decoded, entry_of
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.positions import Positions

__all__ = ["Cursors", "Place", "RedisClaim", "Step", "Store"]


# So many steps of a client are remembered.
_STEPS = 1_000
# What a place takes in memory, in bytes, roughly.
_PLACE = 100


@dataclass(slots=True)
class Place:
    """How far a log has been read: everything up to a place. The offset is of its last entry, or of one before."""

    place: int
    offset: int


# The log with the pattern "" is the client's inbox.
Cursors = Mapping[Log, Place]


class Store(Protocol):
    """What a claim needs of the engine."""

    partitions: Sequence[Partition]
    positions: Positions

    def offset_at(self, log: Log, place: int) -> int:
        """The offset of a log's last entry at a place; -1 if that is not known."""
        ...

    def joined(self, claim: "RedisClaim") -> None:
        """The client has joined its holder's live mail, or left it."""
        ...


@dataclass(slots=True)
class Step:
    """How far a client's mail had been read at a position, and what came after that.

    Attributes:
        position: the position.
        cursors: what had been read there.
        live: from there on the client got its mail as it was announced, until the next step.
        taken: what was read on the way there from the step before: partition and place of each message, in turns.
        begin: the position before the first of these.
    """

    position: int
    cursors: Cursors
    live: bool
    taken: Sequence[int] = ()
    begin: int = 0

    def passed(self, position: int) -> dict[int, int]:
        """The last places on the way, by partition, at a position."""
        passed = 2 * max(position - self.begin, 0)
        return dict(zip(self.taken[:passed:2], self.taken[1:passed:2], strict=True))

    @property
    def size(self) -> int:
        """What it takes in memory, in bytes, roughly."""
        return 200 + _PLACE * len(self.cursors) + 8 * len(self.taken)


@dataclass(slots=True)
class _Found:
    """An entry of one partition, not numbered yet."""

    place: int
    at: bytes
    stored: bytes


class RedisClaim:
    """The claim of the Redis engine. See `engine.abc.Claim`.

    Args:
        store: the engine.
        client_id: the client.
        number: the claim's.
        cursors: what the client has confirmed.
        sent: up to which places mail may have been delivered, by partition.
        keeper: whoever confirms for it, or None.
        trail: what an earlier claim of this process knows: the client may name a cursor of that time.

    Attributes:
        front_end: the holder's name.
        expires: whether the session timeout runs on.
        changes: up to which change its subscriptions are known.
        unsettled: whether nobody knows what the holders before it have sent.
        live: whether the client gets its mail as it is announced.
        lost: whether it is over.
        ended: whether it is over because the session is.
        followed: the logs that are followed for it.
        handed_out: up to which position mail was delivered, once it is over.
    """

    def __init__(
        self,
        store: Store,
        client_id: str,
        number: int,
        cursors: dict[Log, Place],
        sent: dict[int, int],
        keeper: Keeper | None,
        trail: Sequence[Step] = (),
    ) -> None:
        self.client_id = client_id
        self.number = number
        self.keeper = keeper
        self.sent = sent
        self.front_end = ""
        self.expires = False
        self.changes = 0
        self.unsettled = False
        self.live = False
        self.lost = False
        self.ended = False
        self.handed_out = 0
        self.followed: set[Log] = set()
        self._store = store
        self._cursors = cursors
        self._coming: dict[Log, Place] = {}
        # From where on each log was read.
        self._begun = {log: at.place for log, at in cursors.items()}
        self._changes = 0
        # Mail of its own that was announced while it was live, with positions: more of it may have been told to nobody.
        self._own: list[tuple[int, Place]] = []
        self.trail = [*trail, Step(store.positions.reserve(1) + 1 if trail else 0, dict(cursors), live=False)]

    # What it reads

    @property
    def all_logs(self) -> Sequence[Log]:
        """Those and its inbox."""
        return list(self._cursors)

    @property
    def reads_all(self) -> bool:
        """Whether it reads all that the client subscribes to, as far as is known."""
        return not self._coming

    @property
    def all_patterns(self) -> set[str]:
        """What the client subscribes to, whether it reads it already or will."""
        return {pattern for _, pattern in (*self._cursors, *self._coming) if pattern}

    def reads(self, log: Log) -> bool:
        """Whether it reads a log, or will."""
        return log in self._cursors or log in self._coming

    @property
    def logs(self) -> Sequence[Log]:
        """The logs of the patterns the client subscribes to."""
        return [log for log in self._cursors if log[1]]

    def patterns(self) -> list[str]:
        """See `engine.abc.Claim`."""
        return list(dict.fromkeys(pattern for _, pattern in self._cursors if pattern))

    def expect(self, cursors: Cursors) -> None:
        """The client will read further logs from these places on, once what is older has been announced."""
        self._coming.update(cursors)

    def expected(self, cursors: Cursors) -> Cursors:
        """Those of these that are still expected."""
        return {log: place for log, place in cursors.items() if self._coming.get(log) is place}

    def add(self, cursors: Cursors) -> None:
        """The client reads logs that were expected."""
        for log, place in self.expected(cursors).items():
            del self._coming[log]
            if log not in self._cursors:
                self._cursors[log] = place
                self._begun[log] = place.place
                self._changes += 1

    def remove(self, pattern: str) -> list[Log]:
        """The client no longer reads the logs of a pattern, and will not. Returns them."""
        logs = {log for log in (*self._cursors, *self._coming) if log[1] == pattern}
        for log in logs:
            self._cursors.pop(log, None)
            self._coming.pop(log, None)
            self._begun.pop(log, None)
        # Whoever subscribes again begins anew: how far these logs were read says nothing of that.
        for step in self.trail:
            step.cursors = {log: at for log, at in step.cursors.items() if log not in logs}
        return list(logs)

    def advance(self, cursors: Cursors) -> None:
        """Before anything is read: the client has got its mail up to these places, where they are further."""
        if not cursors:
            return
        for log, place in cursors.items():
            known = self._cursors.get(log)
            if known is not None and known.place < place.place:
                self._cursors[log] = Place(place.place, max(place.offset, known.offset))
        self._note(replace(self.trail[-1], cursors=dict(self._cursors)))

    def was_sent(self, places: Mapping[int, int]) -> None:
        """Mail up to these places of partitions may have been delivered before."""
        for partition, place in places.items():
            self.sent[partition] = max(place, self.sent.get(partition, 0))

    # Reading

    async def read(self, *, messages: int, size: int) -> Reading:
        """See `engine.abc.Claim`."""
        while True:
            changes, steps = self._changes, len(self.trail)
            reading = await self._read(messages, size)
            passed_over = not (reading.entries or reading.losses or reading.done)
            if not passed_over or self._changes != changes or len(self.trail) == steps:
                return reading
            # All of it was the client's own, and not for it.

    async def _read(self, messages: int, size: int) -> Reading:
        positions = self._store.positions
        changes = self._changes
        upto = {partition: positions.last(partition) for partition, _ in self._cursors}
        before = positions.reserve(messages)
        answers = await self._asked(upto, messages, size)
        if self._changes != changes:
            # What it read is of a time before; it begins again.
            return Reading([], 0, [], before, done=False)
        losses: dict[str, int] = {}
        found = self._merged(answers, losses)
        taken = self._taken(found, messages, size)
        done = len(taken) == len(found) and not any(answer.more for answer in answers)
        self._advance(answers, found, taken)
        entries = [entry_of(before + number, one.at, one.stored) for number, (_, _, one) in enumerate(taken, 1)]
        redelivered = sum(not fresh for fresh, _, _ in taken)
        wanted = [not entry.message.skips(self.client_id) for entry in entries]
        redelivered = sum(wanted[:redelivered])
        end = before + messages if done else before + len(taken)
        if entries or losses or done:
            self._note(
                Step(
                    end,
                    dict(self._cursors),
                    live=False,
                    taken=array("Q", [number for _, part, one in taken for number in (part, one.place)]),
                    begin=before,
                )
            )
        kept = [entry for entry, is_wanted in zip(entries, wanted, strict=True) if is_wanted]
        return Reading(kept, redelivered, [Loss(pattern, count) for pattern, count in losses.items()], end, done)

    async def _asked(self, upto: Mapping[int, int], messages: int, size: int) -> "list[_Answer]":
        """What the logs hold from the cursors on, partition by partition."""
        by_partition: dict[int, list[Log]] = {}
        for log, place in self._cursors.items():
            if place.place < upto[log[0]]:
                by_partition.setdefault(log[0], []).append(log)
        asked = []
        for partition, logs in by_partition.items():
            arguments: list[str | int] = [messages, size, upto[partition], len(logs)]
            for log in logs:
                place = self._cursors[log]
                arguments += (log[1] or self.client_id, place.place, place.offset)
            asked.append((partition, logs, self._store.partitions[partition].do("read", *arguments)))
        answers = []
        for partition, logs, future in asked:
            _, reached, *found = await future
            answers += [
                _Answer(log, int(reached), int(offset), missing, entries, more=bool(more))
                for log, (offset, missing, more, entries) in zip(logs, found, strict=True)
            ]
            del partition
        return answers

    def _merged(self, answers: "Iterable[_Answer]", losses: dict[str, int]) -> list[tuple[bool, int, _Found]]:
        """What can be taken, in order: first what may have been sent before; and each partition keeps its own order.

        Where a log of a partition has more than was read, the others are not read beyond it.
        """
        bounds: dict[int, int] = {}
        ahead: dict[int, int] = {}
        for (partition, _), at in self._cursors.items():
            ahead[partition] = max(at.place, ahead.get(partition, 0))
        different: dict[tuple[int, int], _Found] = {}
        for answer in answers:
            if answer.missing:
                losses[answer.log[1]] = losses.get(answer.log[1], 0) + answer.missing
            if answer.more:
                partition = answer.log[0]
                bounds[partition] = min(answer.last_place, bounds.get(partition, answer.last_place))
            for one in answer.found:
                if one.place > ahead[answer.log[0]] or not self._had(answer.log, one):
                    different.setdefault((answer.log[0], one.place), one)
        merged = [
            (place > self.sent.get(partition, 0), partition, one)
            for (partition, place), one in different.items()
            if place <= bounds.get(partition, place)
        ]
        merged.sort(key=_order)
        return merged

    def _had(self, log: Log, one: _Found) -> bool:
        """Whether an entry came through another log of the partition, which has been read further than this one."""
        others = {
            pattern
            for (partition, pattern), at in self._cursors.items()
            if partition == log[0] and pattern != log[1] and self._begun[partition, pattern] < one.place <= at.place
        }
        return bool(others) and not others.isdisjoint(logs_of(decoded(one.stored).channel))

    def _taken(self, found: list[tuple[bool, int, _Found]], messages: int, size: int) -> list[tuple[bool, int, _Found]]:
        taken = 0
        for _, _, one in found[:messages]:
            size -= len(one.stored)
            if taken and size < 0:
                break
            taken += 1
        return found[:taken]

    def _advance(
        self, answers: "Iterable[_Answer]", found: list[tuple[bool, int, _Found]], taken: list[tuple[bool, int, _Found]]
    ) -> None:
        """Move the cursors to the end of what was taken."""
        left = {partition: one.place for _, partition, one in reversed(found[len(taken) :])}
        for answer in answers:
            if answer.log not in self._cursors:
                continue
            partition = answer.log[0]
            reached = answer.last_place if answer.more else answer.reached
            bound = left[partition] - 1 if partition in left else reached
            bound = min(
                bound, *(other.last_place for other in answers if other.more and other.log[0] == partition), reached
            )
            old = self._cursors[answer.log]
            self._cursors[answer.log] = Place(max(old.place, bound), answer.offset_at(bound, old.offset))

    # How far it has got

    def hear(self, position: int, log: Log, place: Place) -> bool:
        """Mail of the client's own was announced, with this position. Returns whether none is missing before it."""
        if self.live:
            before = self._own[-1][1].offset if self._own else 0
            if place.offset > max(before, self._cursors[log].offset) + 1:
                return False
            self._own.append((position, place))
            if len(self._own) > _STEPS:
                del self._own[0]
        return True

    def join(self) -> None:
        """See `engine.abc.Claim`."""
        self.live = True
        self._note(replace(self.trail[-1], live=True))
        self._store.joined(self)

    def seek(self, position: int) -> None:
        """See `engine.abc.Claim`."""
        cursors = self.cursors_at(position)
        self.live = False
        for log, place in self._cursors.items():
            got = cursors.get(log)
            # One that it subscribed to meanwhile begins later.
            if got is not None and got.place > place.place:
                self._cursors[log] = got
        self._note(Step(position, dict(self._cursors), live=False))
        self._store.joined(self)

    def cursors_at(self, position: int) -> Cursors:
        """How far the client's logs had been read at a position."""
        number = bisect_right(self.trail, position, key=_position)
        if not number:
            return {}
        step = self.trail[number - 1]
        if step.live:
            return {log: self._live_place(log, place, position) for log, place in step.cursors.items()}
        passed = self.trail[number].passed(position) if number < len(self.trail) else {}
        if not passed:
            return step.cursors
        return {log: Place(max(at.place, passed.get(log[0], 0)), at.offset) for log, at in step.cursors.items()}

    def sent_at(self, position: int) -> Mapping[int, int]:
        """Up to which places of each partition mail had been delivered at a position."""
        sent = dict(self.sent)
        for (partition, _), place in self.cursors_at(position).items():
            sent[partition] = max(place.place, sent.get(partition, 0))
        return sent

    def forget_before(self, position: int) -> None:
        """Nobody asks for what it had read before a position."""
        number = bisect_right(self.trail, position, key=_position)
        del self.trail[: max(number - 1, 0)]
        number = bisect_right(self._own, position, key=_announced)
        del self._own[: max(number - 1, 0)]

    @property
    def size(self) -> int:
        """What this takes in memory, in bytes, roughly."""
        return sum(step.size for step in self.trail) + _PLACE * len(self._own)

    @property
    def farthest(self) -> int:
        """The last position that it has numbered or joined at."""
        return self.trail[-1].position

    def _note(self, step: Step) -> None:
        if self.trail[-1].position == step.position:
            self.trail[-1] = step
        else:
            self.trail.append(step)
        if len(self.trail) > _STEPS:
            # A cursor older than all this confirms less than it could.
            del self.trail[0]

    def _live_place(self, log: Log, joined: Place, position: int) -> Place:
        if not log[1]:
            return self._own_place(joined, position)
        place = self._store.positions.place_at(log[0], position)
        if place <= joined.place:
            return joined
        return Place(place, max(self._store.offset_at(log, place), joined.offset))

    def _own_place(self, joined: Place, position: int) -> Place:
        """How far the inbox is: not as far as its partition, of which this process may have missed something."""
        number = bisect_right(self._own, position, key=_announced)
        if number and (place := self._own[number - 1][1]).place > joined.place:
            return place
        return joined


class _Answer:
    """What one log gave.

    Attributes:
        log: the log.
        reached: the place up to which it was read.
        missing: how many entries were gone.
        more: whether it has more up to there.
        found: the entries.
    """

    def __init__(
        self,
        log: Log,
        reached: int,
        offset: int,
        missing: int,
        entries: Sequence[Any],
        *,
        more: bool,
    ) -> None:
        self.log = log
        self.reached = reached
        self.missing = missing
        self.more = more
        self.found: list[_Found] = []
        self._offset = offset
        self._offsets: list[int] = []
        for name, at, stored in entries:
            place, this = name.split(b"-")
            self.found.append(_Found(int(place), at, stored))
            self._offsets.append(int(this))

    @property
    def last_place(self) -> int:
        """The place of the last entry that was read."""
        return self.found[-1].place if self.found else 0

    def offset_at(self, bound: int, before: int) -> int:
        """The offset of the last entry at a place."""
        step = bisect_right(self.found, bound, key=_place)
        if step:
            return self._offsets[step - 1]
        # Nothing of it is taken; what was missing has been told all the same.
        return self._offsets[0] - 1 if self._offsets else max(self._offset, before)


def _place(one: _Found) -> int:
    return one.place


def _order(one: tuple[bool, int, _Found]) -> tuple[bool, int, int]:
    return one[0], one[2].place, one[1]


def _position(step: Step) -> int:
    return step.position


def _announced(own: tuple[int, Place]) -> int:
    return own[0]
