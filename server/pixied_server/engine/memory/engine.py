"""The memory engine."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from pixied_server.core import identifiers
from pixied_server.core.backlog import Backlog, Source
from pixied_server.core.channels import is_pattern, logs_of, meets
from pixied_server.core.idempotency import IdempotencyWindow
from pixied_server.core.log import Entry, Log
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest, Selection
from pixied_server.core.progress import Progress
from pixied_server.core.rate import TokenBucket
from pixied_server.core.turns import Turns
from pixied_server.engine.abc import (
    NOT_HANDED_OUT,
    Channel,
    Checkpoint,
    Claim,
    Client,
    Counters,
    Delivered,
    EndReason,
    Event,
    EventKind,
    Holdings,
    Listener,
    LogName,
    LogsRead,
    PublishOutcome,
    QueueOutcome,
)
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.memory.claim import MemoryClaim
from pixied_server.engine.memory.retention import Retention
from pixied_server.engine.memory.session import INBOX, PatternLog, Session
from pixied_server.engine.memory.timekeeper import Timekeeper
from pixied_server.errors import (
    ClientUnknown,
    FieldInvalid,
    LimitClients,
    LimitNamespaces,
    LimitSubscriptions,
    NamespaceInUse,
    NamespaceUnknown,
    PixiedError,
    RateLimited,
)

__all__ = ["MemoryEngine"]

T = TypeVar("T")

# How often a draw may hit a taken namespace before its length counts as used up.
_DRAWS = 100


class MemoryEngine:
    """Clients, subscriptions and logs in this process's memory. See `engine.abc.Engine` for what it does.

    Most operations await nothing, so each is atomic by itself. Those that give others a turn are `together`, lists, and
    those that are given many things at once. What holds between two turns of theirs:

    - `publish`, `queue_for`: all messages were admitted, and their keys are taken; what is not appended yet will be,
      whatever becomes of the caller. So others see the first of the messages before the last, in their order.
    - lists: a client or channel that is there all the time is listed; one that comes or goes meanwhile may be.
    - `ping_clients`: each ping is an operation by itself.
    - `holdings`: what belongs to nobody any more is taken away first.

    Args:
        limits: what it holds at most.
        clock: tells the time, in seconds since the epoch; must never go back.
        judge: tells the time by which something is over, if not by the same clock.
        turns: those of the process; None for turns of its own.
    """

    name = "memory"
    trouble = ""
    listener: Listener

    def __init__(
        self,
        limits: EngineLimits,
        clock: Callable[[], float],
        judge: Callable[[], float] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.counters = Counters()
        self._limits = limits
        self._now = clock
        self._judge = judge or clock
        self._turns = turns or Turns()
        self._sessions: dict[str, Session] = {}
        self._logs: dict[str, PatternLog] = {}
        self._namespaces: set[str] = set()
        self._letters = identifiers.Letters()
        self._subscriptions = 0
        self.head: Progress = (0,)
        self._claims = 0
        self._retention = Retention(limits.log, limits.total_bytes, self._turns)
        self._time = Timekeeper(self._judge, self._sessions, self._look_at, self._sweep, self._turns)
        self._done = IdempotencyWindow(limits.idempotency_keys)
        self._creates = TokenBucket(limits.creates_per_second)
        self._publishes = TokenBucket(limits.publishes_per_second)

    # Time

    async def run(self) -> None:
        """See `engine.abc.Engine`."""
        await self._time.run()

    def tick(self) -> bool:
        """Do what is due at this moment, until the turn is over. Returns whether more is due."""
        return self._time.tick()

    def _sweep(self, now: float) -> Iterator[None]:
        """Forget what has become too old, one thing in each step."""
        yield from self._retention.sweep(now)
        yield from self._done.sweep(now)

    def _look_at(self, session: Session, now: float) -> None:
        """A deadline that was noted has come: the session may have been prolonged, held or destroyed since."""
        if session.kept_alive:
            return
        if session.is_over(now):
            self._expire(session)
        else:
            self._time.schedule(session)

    # Namespaces

    async def generate_namespace(self, length: int) -> str:
        """See `engine.abc.Engine`."""
        if len(self._namespaces) >= self._limits.namespaces:
            raise LimitNamespaces(f"max_namespaces ({self._limits.namespaces:,}) are reserved; release some")
        namespace = self._draw(length)
        self._namespaces.add(namespace)
        return namespace

    async def release_namespace(self, namespace: str) -> None:
        """See `engine.abc.Engine`."""
        if namespace in self._namespaces:
            self._namespaces.remove(namespace)
        elif namespace in self._sessions:
            raise NamespaceInUse(namespace)
        else:
            raise NamespaceUnknown(namespace)

    def _draw(self, length: int) -> str:
        for _ in range(_DRAWS):
            namespace = self._letters.draw(length)
            if namespace not in self._namespaces and namespace not in self._sessions:
                return namespace
        raise LimitNamespaces(
            f"nearly all {identifiers.possible(length):,} namespaces of length {length} are taken; ask for longer ones",
            field="length",
        )

    async def together(self, operations: Iterable[Awaitable[T]]) -> list[T | PixiedError]:
        """See `engine.abc.Engine`."""
        outcomes: list[T | PixiedError] = []
        for operation in operations:
            try:
                outcomes.append(await operation)
            except PixiedError as error:
                outcomes.append(error)
            # The next operation may not be made before: if this is cancelled, nobody would await it.
            await self._turns.give()
        return outcomes

    # Clients

    async def create_client(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """See `engine.abc.Engine`."""
        now = self._now()
        if len(self._sessions) >= self._limits.clients:
            raise LimitClients("alive", self._limits.clients, retry_after=1.0)
        if wait := self._creates.take(1, now):
            raise RateLimited("new clients", self._creates.rate, wait)
        session = Session(self._draw(identifiers.DEFAULT_LENGTH), now, session_timeout, attributes)
        self._sessions[session.client_id] = session
        self._time.schedule(session)
        self.counters.clients_created += 1
        self._tell(EventKind.CLIENT_CREATED, now, client_id=session.client_id)
        return self._described(session)

    async def get_client(self, client_id: str) -> Client:
        """See `engine.abc.Engine`."""
        return self._described(self._session(client_id))

    async def ping_client(self, client_id: str) -> float | None:
        """See `engine.abc.Engine`."""
        session = self._session(client_id)
        session.deadline = self._now() + session.timeout
        return None if session.kept_alive else session.deadline

    async def ping_clients(self, client_ids: Sequence[str]) -> dict[str, float | None]:
        """See `engine.abc.Engine`."""
        known: dict[str, float | None] = {}
        async for client_id in self._turns.through(client_ids):
            with suppress(ClientUnknown):
                known[client_id] = await self.ping_client(client_id)
        return known

    async def destroy_client(self, client_id: str, reason: str) -> None:
        """See `engine.abc.Engine`."""
        session = self._session(client_id)
        self.counters.clients_destroyed += 1
        self._end(session, EndReason.DESTROYED, reason)

    def _session(self, client_id: str) -> Session:
        session = self._sessions.get(client_id)
        if session is None:
            raise ClientUnknown(client_id)
        if session.is_over(self._judge()):
            self._expire(session)
            raise ClientUnknown(client_id)
        return session

    def _expire(self, session: Session) -> None:
        self.counters.clients_expired += 1
        self._end(session, EndReason.EXPIRED, "timed out")

    def _end(self, session: Session, reason: EndReason, detail: str) -> None:
        # One moment for all of it, so that a watcher can tell which subscriptions ended with the session.
        now = self._now()
        for log in session.logs:
            self._leave(session, log, now)
        if session.inbox is not None:
            self._retention.clear(session.inbox)
        del self._sessions[session.client_id]
        self._time.ended(session)
        self.listener.gone(session.client_id, reason, detail)
        self._tell(EventKind.CLIENT_DESTROYED, now, client_id=session.client_id, reason=detail)

    # Subscriptions

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        session = self._session(client_id)
        added = [pattern for pattern in dict.fromkeys(patterns) if not session.subscribes_to(self._logs.get(pattern))]
        if session.subscriptions + len(added) > self._limits.subscriptions_per_client:
            raise LimitSubscriptions(self._limits.subscriptions_per_client)
        now = self._now()
        for pattern in added:
            self._join(session, pattern, now)
        return added

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        session = self._session(client_id)
        logs = [self._logs.get(pattern) for pattern in dict.fromkeys(patterns)]
        removed = [log for log in logs if log is not None and session.subscribes_to(log)]
        now = self._now()
        for log in removed:
            self._leave(session, log, now)
        return [log.pattern for log in removed]

    def _join(self, session: Session, pattern: str, now: float) -> None:
        log = self._logs.get(pattern)
        if log is None:
            log = self._logs[pattern] = PatternLog(pattern)
            self._tell(EventKind.CHANNEL_CREATED, now, channel=pattern)
        log.add(session)
        session.add(log)
        self._subscriptions += 1
        self.listener.subscribed(session.client_id, pattern, self.head)
        self._tell(EventKind.SUBSCRIBED, now, client_id=session.client_id, channel=pattern)

    def _leave(self, session: Session, log: PatternLog, now: float) -> None:
        log.remove(session)
        session.remove(log)
        self._subscriptions -= 1
        self.listener.unsubscribed(session.client_id, log.pattern)
        self._tell(EventKind.UNSUBSCRIBED, now, client_id=session.client_id, channel=log.pattern)
        if not log.subscribers:
            self._retention.clear(log)
            del self._logs[log.pattern]
            self._tell(EventKind.CHANNEL_DESTROYED, now, channel=log.pattern)

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """See `engine.abc.Engine`."""
        return await self._page(page, self._subscribers(pattern), lambda client_id: client_id)

    async def subscribed_to(self, client_id: str) -> list[str]:
        """See `engine.abc.Engine`."""
        return sorted(log.pattern for log in self._session(client_id).logs)

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """See `engine.abc.Engine`."""
        return self._session(client_id).subscribes_to(self._logs.get(pattern))

    # In the following lists an empty text stands for what was looked at and does not belong there.

    def _subscribers(self, pattern: str) -> Iterator[str]:
        """List clients, some of them more than once. Between two of them others may have a turn."""
        now = self._judge()
        for log in self._logs_that_meet(pattern):
            if log is None:
                yield ""
                continue
            for session in log.members:
                lives = session.client_id in self._sessions and not session.is_over(now)
                yield session.client_id if lives else ""

    def _logs_that_meet(self, pattern: str) -> Iterator[PatternLog | None]:
        if not is_pattern(pattern):
            yield from self._logs_matching(pattern)
            return
        for log in tuple(self._logs.values()):
            yield log if meets(log.pattern, pattern) else None

    def _logs_matching(self, channel: str) -> list[PatternLog]:
        logs = self._logs
        return [logs[pattern] for pattern in logs_of(channel) if pattern in logs]

    # Messages

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        now = self._now()
        self._done.check(messages, now)
        self._retention.check_room(messages)
        if wait := self._publishes.take(len(messages), now):
            raise RateLimited("publishes", self._publishes.rate, wait)
        if len(messages) == 1:
            return [self._publish(messages[0], now)]
        self._take_keys(messages, now)
        return await self._turns.each(messages, lambda message: self._publish(message, now))

    def _take_keys(self, messages: Sequence[Message], now: float, *, client_id: str = "") -> None:
        """Let nobody use the keys of messages for others before they are appended, which may be in a later turn."""
        for message in messages:
            if message.key:
                self._done.remember(message, None, now, client_id=client_id)

    def _publish(self, message: Message, now: float) -> PublishOutcome:
        if message.key and (outcome := self._done.outcome_of(message, now)) is not None:
            self.counters.duplicates += 1
            return PublishOutcome(outcome, duplicate=True)
        logs = self._logs_matching(message.channel)
        matched = 0
        for log in logs:
            matched += log.subscribers
        if logs:
            entry = self._append(message, logs, now)
            self.listener.published(entry, [(log.pattern, log.next - 1) for log in logs])
            self._retention.trim(logs, now)
        self.counters.published += 1
        if message.key:
            self._done.remember(message, matched, now)
        self._tell_published(message, now, message.publisher, matched)
        return PublishOutcome(matched, duplicate=False)

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        session, now = self._session(client_id), self._now()
        self._done.check(messages, now, client_id=client_id)
        self._retention.check_room(messages)
        self._take_keys(messages, now, client_id=client_id)
        queued = await self._turns.each(messages, lambda message: self._queue(session, message, now))
        return QueueOutcome(self._pending(session), queued.count(False))

    def _queue(self, session: Session, message: Message, now: float) -> bool:
        """Queue a message. Returns whether that was new.

        Raises:
            ClientUnknown: the session has ended since the first message of the request, with all of them.
        """
        if session.client_id not in self._sessions:
            raise ClientUnknown(session.client_id)
        if self._done.outcome_of(message, now, client_id=session.client_id) is not None:
            self.counters.duplicates += 1
            return False
        if session.inbox is None:
            session.inbox = Log(INBOX)
        entry = self._append(message, [session.inbox], now)
        self.listener.queued(session.client_id, entry)
        self._retention.trim([session.inbox], now)
        self.counters.queued += 1
        if message.key:
            self._done.remember(message, 1, now, client_id=session.client_id)
        self._tell_published(message, now, session.client_id, 1)
        return True

    def _append(self, message: Message, logs: Sequence[Log], now: float) -> Entry:
        sequence = self.head[0] + 1
        self.head = (sequence,)
        entry = Entry(sequence, now, message)
        self._retention.append(entry, logs)
        return entry

    # Delivery

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, checkpoint: Checkpoint | None = None
    ) -> MemoryClaim:
        """See `engine.abc.Engine`."""
        del checkpoint
        session = self._session(client_id)
        delivered = self.listener.delivered(client_id) or Delivered()
        if cursor > max((session.sent, *delivered.sent)):
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        self._settle(session, delivered)
        self._confirm(session, cursor)
        self.listener.claimed(client_id)
        self._claims += 1
        session.claim, session.front_end, session.expires = self._claims, front_end, expires
        session.deadline = self._now() + session.timeout
        if expires:
            self._time.schedule(session)
        return MemoryClaim(session, self._claims, self)

    def cursor_of(self, progress: Progress) -> int:
        """See `engine.abc.Engine`."""
        return progress[0]

    async def confirm(self, claim: Claim, progress: Progress) -> None:
        """See `engine.abc.Engine`."""
        session = self._session(claim.client_id)
        if session.claim == claim.number:
            self._confirm(session, *progress)

    def _settle(self, session: Session, delivered: Delivered) -> None:
        self._confirm(session, *delivered.confirmed)
        session.sent = max((session.sent, *delivered.sent))

    def _confirm(self, session: Session, sequence: int = 0) -> None:
        session.confirm(sequence)
        if session.inbox is not None:
            self._retention.forget(session.inbox, session.inbox_offset)

    async def release(self, claim: Claim, delivered: Delivered) -> None:
        """See `engine.abc.Engine`."""
        session = self._sessions.get(claim.client_id)
        if session is None or session.claim != claim.number:
            return
        self._settle(session, delivered)
        if not session.expires:
            session.deadline = self._now() + session.timeout
        session.claim, session.front_end = 0, ""
        self._time.schedule(session)

    async def read(
        self, logs: Mapping[LogName, int], after: Progress, upto: Progress, *, messages: int, size: int
    ) -> LogsRead:
        """See `engine.abc.Engine`."""
        del after  # In this engine offsets tell all.
        found = {name: log for name in logs if (log := self._logs.get(name[0])) is not None}
        backlog = Backlog(lambda: [Source(log, logs[name]) for name, log in found.items()], lambda _: True)
        portion = backlog.read(upto[0], messages=messages, size=size)
        offsets = {name: backlog.offset_of(log) for name, log in found.items()}
        return LogsRead(portion.entries, portion.losses, (portion.upto,), offsets)

    # Looking inside

    async def list_clients(self, page: PageRequest, *, pattern: str, front_end: str) -> Page[Client]:
        """See `engine.abc.Engine`."""
        ids = self._subscribers(pattern) if pattern else iter(tuple(self._sessions))
        return await self._page(page, self._held_by(front_end, ids), self._described_client)

    def _held_by(self, front_end: str, client_ids: Iterable[str]) -> Iterator[str]:
        """Those of the clients that live, and are held by a front-end, if one is named."""
        now = self._judge()
        for client_id in client_ids:
            session = self._sessions.get(client_id)
            passes = session and not session.is_over(now) and (not front_end or session.front_end == front_end)
            yield client_id if passes else ""

    async def list_channels(self, page: PageRequest, *, pattern: str) -> Page[Channel]:
        """See `engine.abc.Engine`."""
        logs = self._logs_that_meet(pattern) if pattern else iter(tuple(self._logs.values()))
        return await self._page(page, ("" if log is None else log.pattern for log in logs), self._described_channel)

    async def _page(self, request: PageRequest, keys: Iterable[str], item: Callable[[str], T | None]) -> Page[T]:
        """Choose the keys of a page, and make its items of them; None where a thing has gone meanwhile."""
        selection = Selection(request)
        for key in keys:
            selection.add(key)
            if self._turns.over:
                await self._turns.give()
        chosen = selection.keys()
        more = len(chosen) > request.size
        items = await self._turns.each(chosen[: request.size], item)
        return Page([one for one in items if one is not None], request.token_after(chosen[-2]) if more else "")

    async def holdings(self) -> Holdings:
        """See `engine.abc.Engine`."""
        await self._retention.settle()
        return Holdings(
            clients=len(self._sessions),
            channels=len(self._logs),
            subscriptions=self._subscriptions,
            messages=self._retention.messages,
            bytes=self._retention.bytes,
            namespaces=len(self._namespaces),
        )

    def _described_channel(self, pattern: str) -> Channel | None:
        log = self._logs.get(pattern)
        return Channel(pattern, log.subscribers, len(log), log.bytes) if log is not None else None

    def _described_client(self, client_id: str) -> Client | None:
        session = self._sessions.get(client_id)
        return self._described(session) if session is not None else None

    def _described(self, session: Session) -> Client:
        return Client(
            client_id=session.client_id,
            created_at=session.created_at,
            expires_at=None if session.kept_alive else session.deadline,
            session_timeout=session.timeout,
            subscriptions=session.subscriptions,
            pending=self._pending(session),
            front_end=session.front_end,
            attributes=session.attributes,
        )

    def _pending(self, session: Session) -> int:
        if session.claim:
            # What a link has confirmed is kept with the link until its client leaves it.
            delivered = self.listener.delivered(session.client_id)
            self._confirm(session, *(delivered.confirmed if delivered else ()))
        return session.pending()

    # Events

    def watched(self, kind: EventKind) -> bool:
        """See `engine.abc.Engine`."""
        # Hardly ever does anyone watch, and to look up a kind costs more than to see that.
        return bool(wanted := self.listener.wanted) and kind in wanted

    def show(self, event: Event) -> None:
        """See `engine.abc.Engine`."""
        self.listener.happened(event)

    async def watch(self) -> None:
        """See `engine.abc.Engine`."""

    def _tell(self, kind: EventKind, at: float, *, client_id: str = "", channel: str = "", reason: str = "") -> None:
        if self.watched(kind):
            self.listener.happened(Event(kind, at, client_id=client_id, channel=channel, reason=reason))

    def _tell_published(self, message: Message, at: float, client_id: str, recipients: int) -> None:
        if self.watched(EventKind.PUBLISHED):
            self.listener.happened(Event.published(message, at, client_id, recipients))
