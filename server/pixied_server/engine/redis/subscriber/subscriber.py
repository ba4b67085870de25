"""The subscriber receives messages of the logs that a process follows, and notifications about its clients.

They come by sharded pub/sub, on one connection for each server. A partition publishes in the order of its sequences, so
one sequence says how far a partition was received, and those of all partitions are the process's progress. Pub/sub
guarantees nothing: a connection may break, be cut for being slow, or stay open and be silent. So following a log waits
for a barrier that the partition sends on demand; the offset of each message shows whether one is missing; and missing
messages are read from the logs before younger ones are passed on. The inboxes of clients that this process owns are
logs like the others, only published on another channel.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count, islice
from time import monotonic

import structlog

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import Progress
from pixied_server.engine.abc import LogName
from pixied_server.engine.redis.connection.failures import StoreUnavailable
from pixied_server.engine.redis.connection.store import PubSub, Store
from pixied_server.engine.redis.partition.codec import Announcement, Start, announcement
from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.engine.redis.subscriber.barriers import LOGS, Barriers, Late
from pixied_server.engine.redis.subscriber.connections import Connections
from pixied_server.engine.redis.subscriber.notifications import Barrier, FollowedLog, Notifications, in_turns
from pixied_server.engine.redis.subscriber.receiver import Receiver
from pixied_server.errors import EngineUnavailable, PixiedError

__all__ = ["Subscriber"]

_log = structlog.get_logger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


class Subscriber:
    """See the module.

    Args:
        store: the store.
        partitions: all of them.
        process: this process's name.
        receiver: takes what is received.
        timeout: seconds that a barrier may take.

    Attributes:
        barriers: asks for barriers. Confirmations of the store may take as long as they do, too.
        trouble: why a partition is not received, "" if all are.
    """

    def __init__(
        self, store: Store, partitions: Sequence[Partition], process: str, receiver: Receiver, timeout: float
    ) -> None:
        self._connections = Connections(store, self._received, self._lost)
        self._receiver = receiver
        self._all = [Notifications(partition, process) for partition in partitions]
        self._progress: Progress | None = None
        self._by_base = {one.partition.base.encode(): one for one in self._all}
        self.barriers = Barriers(timeout)
        self._closed = False
        self._watching = False
        self.trouble = ""

    async def open(self) -> None:
        """Begin to receive.

        Raises:
            EngineUnavailable: the store can't be reached.
        """
        for one in self._all:
            self._recover(one, "")
        recovering = [one.recovering for one in self._all if one.recovering is not None]
        _, late = await asyncio.wait(recovering, timeout=self.barriers.timeout * 2)
        if late:
            raise EngineUnavailable("it did not confirm in time that notifications are received")

    async def close(self) -> None:
        """Receive nothing more."""
        self._closed = True
        tasks = [one.recovering for one in self._all if one.recovering is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connections.close()

    @property
    def receives(self) -> bool:
        """Whether all partitions are received."""
        return all(one.held is None for one in self._all)

    @property
    def progress(self) -> Progress:
        """How far messages were received, for each partition."""
        if self._progress is None:
            self._progress = tuple([one.received for one in self._all])
        return self._progress

    # Following

    def follow(self, logs: Iterable[LogName]) -> None:
        """Begin to follow logs of patterns."""
        for pattern, partition in logs:
            self._begin(self._all[partition], pattern)

    async def followed(self, logs: Iterable[LogName]) -> None:
        """Wait until all messages that are appended to these logs from now on will be received; they are followed.

        Raises:
            EngineUnavailable: the store did not confirm in time. It may do so later.
        """
        ready = {self._all[partition].logs[pattern].ready for pattern, partition in logs}
        waiting = {one for one in ready if not one.done()}
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self.barriers.timeout)
            if late:
                raise EngineUnavailable("it did not confirm in time that messages are received")

    def follow_inbox(self, client_id: str, partition: int, offset: int) -> None:
        """Follow a client's inbox beyond an offset."""
        self._all[partition].follow_inbox(client_id, offset)

    def received_of(self, client_id: str, partition: int) -> Start:
        """Return how far a client's inbox, which is followed, was received."""
        log = self._all[partition].logs[client_id]
        return Start(log.sequence, log.offset)

    def unfollow(self, logs: Iterable[LogName]) -> None:
        """Undo one `follow` or `follow_inbox` of each log."""
        for name, partition in logs:
            self._all[partition].unfollow(name)

    def _begin(self, one: Notifications, pattern: str) -> None:
        log = one.logs.get(pattern)
        if log is None:
            log = one.logs[pattern] = FollowedLog()
            if one.pubsub is not None:
                self._subscribe(one, [one.channel(pattern)])
        log.followers += 1

    def watch(self) -> None:
        """Begin to receive the events of other processes. They send none when nobody here wants any."""
        self._watching = True
        one = self._all[0]
        if one.pubsub is not None:
            self._subscribe(one, [one.events])

    def announced(self, log: LogName) -> int:
        """Return the offset of a log's last message that was received; -1 if unknown."""
        return self._all[log[1]].offset(log[0])

    def appended(self, partition: int, sequence: int, offsets: Mapping[str, int]) -> None:
        """Remember a message that this process has appended to logs, followed or not.

        A store that has lost messages in a failover learns from this which ones.
        """
        self._all[partition].append(sequence, offsets)

    # Barriers

    async def barrier(self, partitions: Collection[int] | None = None) -> None:
        """Wait until all that these partitions have published by now was received; None for all partitions.

        Raises:
            EngineUnavailable: the store did not answer in time.
        """
        chosen = self._all if partitions is None else [self._all[number] for number in partitions]
        for passed in [self.barriers.next(one).passed for one in chosen]:
            # Other callers share the barrier: cancelling this one must not end it.
            await asyncio.shield(passed)

    def silent(self, now: float, limit: float) -> list[int]:
        """Return the partitions from which no barrier has come for so many seconds."""
        return [one.partition.number for one in self._all if now - one.last_barrier > limit]

    def probe(self) -> None:
        """Ask each partition for a barrier."""
        for one in self._all:
            self.barriers.next(one)

    def misplaced(self) -> list[int]:
        """Return the partitions that are received from a server which does not have them any more."""
        return [one.partition.number for one in self._all if one.is_misplaced]

    def distrust(self, partition: int, why: str) -> None:
        """Abort a partition's connection, which is open."""
        one = self._all[partition]
        one.last_barrier = monotonic()
        if one.pubsub is not None:
            _log.warning(f"store connection is {why}, opening another", node=one.pubsub.node)
            one.pubsub.abort()

    def _passed(self, one: Notifications, name: str, sequence: int) -> None:
        one.last_barrier = monotonic()
        barrier = one.barriers.pop(name, None)
        barriers = [barrier] if barrier is not None else []
        if sequence < one.received and one.held is None:
            self._recover(one, "the store lost messages")
        if one.held is not None:
            one.deferred += barriers
            one.deferred_upto = sequence
        else:
            self._reached(one, sequence, barriers)

    def _reached(self, one: Notifications, sequence: int, barriers: Iterable[Barrier]) -> None:
        self._receive_upto(one, sequence)
        for barrier in barriers:
            if not barrier.passed.done():
                barrier.passed.set_result(None)

    def _receive_upto(self, one: Notifications, sequence: int) -> None:
        if sequence > one.received:
            one.received = sequence
            self._progress = None

    # Connections

    def _recover(self, one: Notifications, why: str) -> None:
        """Connect a partition anew, and read what was missed. Messages that come meanwhile are held."""
        if why and self.receives and not self._closed:
            # One line for all partitions: they are usually lost together.
            _log.warning("the store's notifications are not received", partition=one.partition.number, why=why)
            self.trouble = why
        if one.held is None:
            one.held = []
        if one.recovering is None and not self._closed:
            one.recovering = asyncio.get_running_loop().create_task(self._recovered(one, again=bool(why)))

    async def _recovered(self, one: Notifications, *, again: bool) -> None:
        try:
            for attempt in count():
                try:
                    await self._connect(one)
                    await self._catch_up(one)
                    break
                except (StoreUnavailable, PixiedError, TimeoutError) as error:
                    self.trouble = str(error) or self.trouble
                    _log.debug("the store is not reached", partition=one.partition.number, why=str(error))
                except Exception:  # noqa: BLE001 - a partition that is given up would never be received again
                    _log.exception("what was missed could not be dealt with, and is read again")
                await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        finally:
            one.recovering = None
        if self.receives:
            self.trouble = ""
        if again:
            if self.receives:
                _log.info("the store's notifications are received again")
            self._receiver.restored(one.partition.number)

    async def _connect(self, one: Notifications) -> None:
        former, one.pubsub = one.pubsub, await self._connections.of(one.partition)
        if former is not None and all(other.pubsub is not former for other in self._all):
            # The server has given away the last partition that was received from it.
            former.abort()
        one.unconfirmed.clear()
        one.all_confirmed.clear()
        channels = one.channels
        if self._watching and one.partition.number == 0:
            channels.append(one.events)
        self._subscribe(one, channels)
        await asyncio.wait_for(one.all_confirmed.wait(), self.barriers.timeout)
        if one.pubsub is None:
            raise StoreUnavailable("the connection broke before it was confirmed")

    def _subscribe(self, one: Notifications, channels: list[bytes]) -> None:
        for channel in channels:
            one.unconfirmed[channel] = one.unconfirmed.get(channel, 0) + 1
        if one.pubsub is not None:
            one.pubsub.subscribe(*channels)

    def _received(self, pubsub: PubSub, kind: bytes, channel: bytes, data: bytes) -> None:
        """Dispatch a reply that came on a connection."""
        if kind == b"smessage":
            self._receive(data, channel)
        elif (one := self._by_base.get(channel[: channel.index(b":") + 1])) is not None and one.pubsub is pubsub:
            if kind == b"ssubscribe":
                self._confirmed(one, channel)
            elif channel == one.process_channel:
                # This process never unsubscribes from its own channel.
                self._recover(one, "its server gave it away")

    def _lost(self, pubsub: PubSub, why: str) -> None:
        """Recover all partitions of a connection that has ended."""
        for one in self._all:
            if one.pubsub is pubsub and not self._closed:
                one.pubsub = None
                # `_connect` need not wait for confirmations that will not come.
                one.all_confirmed.set()
                self._recover(one, why)

    def _confirmed(self, one: Notifications, channel: bytes) -> None:
        left = one.unconfirmed.get(channel, 1) - 1
        if left:
            one.unconfirmed[channel] = left
            return
        one.unconfirmed.pop(channel, None)
        if not one.unconfirmed:
            one.all_confirmed.set()
        if one.held is not None:
            return
        pattern = channel.decode().removeprefix(f"{one.partition.base}messages:")
        log = one.logs.get(pattern)
        if log is not None and not log.ready.done():
            self._ready_after_barrier(one, {pattern: log})

    def _ready_after_barrier(self, one: Notifications, logs: Mapping[str, FollowedLog]) -> None:
        def passed(future: "asyncio.Future[None]") -> None:
            waiting = {name: log for name, log in logs.items() if not log.ready.done()}
            if future.exception() is None:
                for log in waiting.values():
                    one.is_ready(log)
            elif waiting and isinstance(future.exception(), Late):
                self._ready_after_barrier(one, waiting)
            elif waiting and one.recovering is None:
                # The barrier could not be asked for: connect anew, and read what was missed.
                self._recover(one, "no barrier came")

        barrier = self.barriers.next(one)
        barrier.logs |= logs
        barrier.passed.add_done_callback(passed)

    # Receiving

    def _receive(self, data: bytes, channel: bytes) -> None:
        if channel.endswith(b":events"):
            self._receiver.notified("E", data.decode().split("\n"))
            return
        head, _, rest = data.partition(b"\n")
        kind = head[:1]
        if kind in b"MI":
            self._message(self._all[int(head[1:])], rest)
        elif kind == b"S":
            name, sequence = rest.decode().split("\n")
            self._passed(self._all[int(head[1:])], name, int(sequence))
        else:
            self._receiver.notified(kind.decode(), rest.decode().split("\n"))

    def _message(self, one: Notifications, rest: bytes) -> None:
        if one.held is None and int(rest[: rest.index(b"\n")]) <= one.received:
            return  # It came before, on the channel of another of its logs.
        announced = announcement(rest.split(b"\n", 3))
        if one.held is not None:
            one.held.append(announced)
        elif one.has_hole(announced):
            self._recover(one, "a message is missing")
            one.held = [announced]
        else:
            self._pass_on(one, announced)

    def _pass_on(self, one: Notifications, announced: Announcement) -> None:
        self._receive_upto(one, announced.sequence)
        if not (followed := one.receive(announced)):
            return
        entry = Entry(announced.sequence, announced.at, announced.message, one.partition.number)
        if followed[0][0].startswith("/"):
            self._receiver.message(entry, followed)
        else:
            self._receiver.own_message(followed[0][0], entry)

    # Reading what was missed

    async def _catch_up(self, one: Notifications) -> None:
        # The read covers all barriers that were asked for by now. It may not cover younger ones, and these will come.
        asked = list(one.barriers)
        upto = await one.partition.head()
        if upto < max(one.received, one.appended):
            # The same server has less than before: somebody has emptied it, or restored old files.
            noted = await one.partition.lost(*one.known())
            _log.error("the store went back in time", partition=one.partition.number, logs=noted)
            upto = await one.partition.head()
        found, losses = await one.read(upto)
        await self._pass_missed(one, found, losses)
        self._receive_upto(one, upto)
        while (announced := one.let_go_of_held(self._pass_on)) is not None:
            # While that was read, its log was trimmed beyond it.
            await self._pass_missed(one, *await one.read_before(announced))
            one.nothing_before(announced)
        deferred, one.deferred = one.deferred, []
        deferred += [one.barriers.pop(name) for name in asked if name in one.barriers]
        self._reached(one, one.deferred_upto, deferred)
        # Logs whose channels are not confirmed yet become ready after their confirmation.
        waiting = iter(one.confirmed.items())
        while some := dict(islice(waiting, LOGS)):
            self._ready_after_barrier(one, some)

    async def _pass_missed(self, one: Notifications, found: Mapping[int, Announcement], losses: Iterable[Loss]) -> None:
        one.missed(losses)
        for loss in losses:
            if loss.pattern.startswith("/"):
                self._receiver.missed(loss)
            else:
                self._receiver.own_missed(loss.pattern, loss)
        async for sequence in in_turns(sorted(found)):
            self._pass_on(one, found[sequence])
        if one.pubsub is None:
            raise StoreUnavailable("the connection broke again")
