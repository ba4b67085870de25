"""The Redis engine."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count
from typing import Any

from pixied_server.core import idempotency, identifiers
from pixied_server.core.backlog import Portion
from pixied_server.core.channels import is_pattern, logs_of
from pixied_server.core.log import Bounds, Entry
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest
from pixied_server.core.rate import TokenBucket
from pixied_server.engine.abc import (
    NOT_HANDED_OUT,
    Channel,
    Claim,
    Client,
    Counters,
    Event,
    EventKind,
    Holdings,
    Keeper,
    Listener,
    Parting,
    PublishOutcome,
    QueueOutcome,
)
from pixied_server.engine.redis.claim import Cursors, Place, RedisClaim
from pixied_server.engine.redis.events import decoded_event, encoded_event
from pixied_server.engine.redis.following import Following, Log
from pixied_server.engine.redis.housekeeping import Housekeeping
from pixied_server.engine.redis.layout import VERSION, Layout
from pixied_server.engine.redis.listing import Listing
from pixied_server.engine.redis.mail import encoded
from pixied_server.engine.redis.partition import Holds, Partition
from pixied_server.engine.redis.positions import BITS, Positions
from pixied_server.engine.redis.store import Store
from pixied_server.errors import (
    ClientUnknown,
    EngineUnavailable,
    FieldInvalid,
    IdempotencyKeyReused,
    LimitClients,
    LimitMemory,
    LimitNamespaces,
    LimitSubscriptions,
    NamespaceInUse,
    NamespaceUnknown,
    PixiedError,
    RateLimited,
    TakenOver,
)

__all__ = ["RedisEngine", "RedisLimits"]

# How often a draw may hit a taken namespace before its length counts as used up.
_DRAWS = 100
# So many processes are told apart by the positions they give.
_ORDINALS = 8_191
# So many messages are looked at to count those only once that came through several subscriptions.
_EXACT = 1_000
# How long, in seconds, another process has to give up a client that is claimed here.
_YIELD = 0.5
# The claims of so many clients that were let go of are remembered, for cursors that they name later.
_PAST = 50_000


@dataclass(frozen=True, slots=True)
class RedisLimits:
    """What the engine holds at most, in all processes; see the settings of the same names, with `max_` before them.

    What many processes add up at the same moment may exceed the limits of clients, namespaces, keys and bytes by what
    they add within a second. Rates are each process's own.
    """

    clients: int
    subscriptions_per_client: int
    namespaces: int
    idempotency_keys: int
    total_bytes: int
    log: Bounds
    creates_per_second: float = 0.0
    publishes_per_second: float = 0.0


class RedisEngine:
    """Clients, subscriptions and logs in Redis. See `engine.abc.Engine` for what it does, docs/redis.md for how.

    Args:
        store: the store; `open` opens it.
        layout: where things are in it.
        limits: what it holds at most.
        patience: so many seconds an answer or a mark of the store may take.
        clock: tells the time in seconds since the epoch; None for the store's own.
    """

    name = "redis"
    waits = True
    listener: Listener

    def __init__(
        self,
        store: Store,
        layout: Layout,
        limits: RedisLimits,
        *,
        patience: float = 2.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.counters = Counters()
        self.layout = layout
        self.limits = limits
        self.process = identifiers.Letters().draw(16)
        self.partitions: Sequence[Partition] = [
            Partition(store, base, number, self.process, clock) for number, base in enumerate(layout.bases)
        ]
        self.positions = Positions(0, layout.partitions)
        self.claims: dict[str, RedisClaim] = {}
        self._past: OrderedDict[str, RedisClaim] = OrderedDict()
        self._store = store
        self._patience = patience
        self._following = Following(store, self.partitions, self.positions, self.process, self, patience)
        self.housekeeping = Housekeeping(self)
        self._listing = Listing(layout, self.partitions)
        self._letters = identifiers.Letters()
        self._creates = TokenBucket(limits.creates_per_second)
        self._publishes = TokenBucket(limits.publishes_per_second)
        self._clock = clock
        self._in_order = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._requests = count(1)
        self._answers: dict[str, asyncio.Future[Sequence[str]]] = {}
        self._yielded: dict[str, asyncio.Future[None]] = {}
        self._news: Mapping[str, Callable[..., None]] = {
            "G": self._hear_gone,
            "B": self._hear_subscribed,
            "U": self._left,
            "Y": self._hear_wanted,
            "R": self._hear_yielded,
            "C": self._hear_claimed,
            "Q": self._hear_question,
            "A": self._hear_answer,
            "E": self._hear_event,
            "W": self._hear_watched,
        }

    @property
    def head(self) -> int:
        """See `engine.abc.Engine`."""
        return self.positions.head

    # Life

    async def open(self) -> None:
        """Connect, and begin to hear.

        Raises:
            EngineUnavailable: the store can't be reached, or has a layout that this version does not know.
        """
        await self._check_layout()
        (_, ordinal) = await self.partitions[0].do("ordinal", _ORDINALS)
        self.positions.head = int(ordinal) << BITS
        await self.housekeeping.enter()
        await self._following.open()

    async def _check_layout(self) -> None:
        for partition in self.partitions:
            _, version, partitions = await partition.do("layout", VERSION, self.layout.partitions)
            if int(version or 0) != VERSION:
                raise EngineUnavailable(
                    f"its layout is version {version.decode() or '?'}, this pixied knows version {VERSION}; "
                    "use another prefix or database, or the pixied that wrote it"
                )
            if int(partitions) != self.layout.partitions:
                raise EngineUnavailable(
                    f"it has {int(partitions)} partitions and the settings say {self.layout.partitions}: "
                    "they can only be changed while it is empty"
                )

    async def close(self) -> None:
        """Let go of the store."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._following.close()
        with suppress(PixiedError):
            await self.housekeeping.leave()

    async def run(self) -> None:
        """See `engine.abc.Engine`."""
        await self.housekeeping.run()

    async def tick(self) -> None:
        """Do what is due at this moment."""
        await self.housekeeping.tick()

    @property
    def healthy(self) -> bool:
        """See `engine.abc.Engine`."""
        return all(partition.answers for partition in self.partitions) and self._following.hears

    @property
    def busy(self) -> bool:
        """Whether an answer of the store is waited for."""
        return bool(self._tasks) or any(partition.busy for partition in self.partitions)

    async def settle(self) -> None:
        """Wait until everything that was told by now has been heard, and what that demands has been done."""
        while True:
            await self._following.sync()
            if not self._tasks:
                return
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something without anyone waiting for it; an answer that does not come is no fault."""

        async def quietly() -> None:
            with suppress(PixiedError):
                await work

        task = asyncio.get_running_loop().create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def following(self) -> Following:
        """What this process is told."""
        return self._following

    def home(self, client_id: str) -> Partition:
        """The partition of a client."""
        return self.partitions[self.layout.of(client_id)]

    # Namespaces

    async def generate_namespace(self, length: int) -> str:
        """See `engine.abc.Engine`."""
        if await self._at_limit(lambda holds: holds.namespaces, self.limits.namespaces):
            raise LimitNamespaces(f"max_namespaces ({self.limits.namespaces:,}) are reserved; release some")
        for _ in range(_DRAWS):
            namespace = self._letters.draw(length)
            if (await self.home(namespace).do("reserve", namespace))[0]:
                return namespace
        raise LimitNamespaces(
            f"nearly all {identifiers.possible(length):,} namespaces of length {length} are taken; ask for longer ones",
            field="length",
        )

    async def release_namespace(self, namespace: str) -> None:
        """See `engine.abc.Engine`."""
        done, *why = await self.home(namespace).do("free", namespace)
        if not done:
            raise NamespaceInUse(namespace) if why == [b"IN_USE"] else NamespaceUnknown(namespace)

    async def _at_limit(self, held: Callable[[Holds], int], limit: int) -> bool:
        """Whether as much is held as may be: looked up again only where it seems so."""
        if sum(held(partition.holds) for partition in self.partitions) < limit:
            return False
        await self._refresh()
        return sum(held(partition.holds) for partition in self.partitions) >= limit

    async def _refresh(self) -> None:
        await asyncio.gather(*[partition.do("hello") for partition in self.partitions])

    # Clients

    async def create_client(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """See `engine.abc.Engine`."""
        if await self._at_limit(lambda holds: holds.clients, self.limits.clients):
            raise LimitClients("alive", self.limits.clients, retry_after=1.0)
        if wait := self._creates.take(1, self.now()):
            raise RateLimited("new clients", self._creates.rate, wait)
        for _ in range(_DRAWS):
            client_id = self._letters.draw()
            answer = await self.home(client_id).do("create", client_id, repr(session_timeout), _text(attributes))
            if answer[0]:
                break
        created_at, deadline = map(float, answer[1:])
        self.counters.clients_created += 1
        self.tell(EventKind.CLIENT_CREATED, created_at, client_id=client_id)
        return Client(client_id, created_at, deadline, session_timeout, 0, 0, "", dict(attributes))

    async def get_client(self, client_id: str) -> Client:
        """See `engine.abc.Engine`."""
        return await self._described(client_id, *await self._look(client_id))

    async def _look(self, client_id: str) -> tuple[dict[str, str], dict[Log, Place]]:
        done, *answer = await self.home(client_id).do("look", client_id)
        if not done:
            raise ClientUnknown(client_id)
        return _record(answer[0]), _cursors(answer[1])

    async def _described(self, client_id: str, record: Mapping[str, str], cursors: Cursors) -> Client:
        kept = record["claim"] != "0" and record["expires"] == "0"
        return Client(
            client_id=client_id,
            created_at=float(record["created"]),
            expires_at=None if kept else float(record["deadline"]),
            session_timeout=float(record["timeout"]),
            subscriptions=int(record["subscriptions"]),
            pending=await self._pending(client_id, cursors),
            front_end=record["front_end"],
            attributes=json.loads(record["attributes"]),
        )

    async def _pending(self, client_id: str, cursors: Cursors) -> int:
        """How many messages the client has not confirmed, here or in the store."""
        confirmed: Cursors = {}
        claim = self.claims.get(client_id)
        progress = self.listener.progress(client_id)
        if claim is not None and progress is not None:
            confirmed = claim.cursors_at(progress[0])
        by_partition: dict[int, list[str | int]] = {}
        for log, place in cursors.items():
            further = confirmed.get(log, place)
            best = further if further.place > place.place else place
            by_partition.setdefault(log[0], []).extend((log[1] or client_id, best.place, best.offset))
        counts = await asyncio.gather(
            *[
                self.partitions[number].do("pending", _EXACT, len(words) // 3, *words)
                for number, words in by_partition.items()
            ]
        )
        return sum(int(found) for _, found in counts)

    async def ping_client(self, client_id: str) -> float | None:
        """See `engine.abc.Engine`."""
        done, *answer = await self.home(client_id).do("ping", client_id)
        if not done:
            raise ClientUnknown(client_id)
        return float(answer[0]) if answer[0] else None

    async def destroy_client(self, client_id: str, reason: str) -> None:
        """See `engine.abc.Engine`."""
        done, *answer = await self.home(client_id).do("destroy", client_id, reason)
        if not done:
            raise ClientUnknown(client_id)
        self.counters.clients_destroyed += 1
        self.gone(client_id, Parting.DESTROYED, reason)
        await self.bury(client_id, answer[0], reason)

    def gone(self, client_id: str, parting: Parting, reason: str) -> None:
        """A session ended: whoever holds it here is told."""
        self._forget_claim(client_id)
        self._past.pop(client_id, None)
        self.listener.gone(client_id, parting, reason)

    async def bury(self, client_id: str, fields: Iterable[bytes], reason: str) -> None:
        """A session has ended: no log has it as a subscriber any more."""
        now = self.now()
        patterns = list(dict.fromkeys(pattern for _, pattern in map(_log, fields) if pattern))
        for pattern, vacated in await asyncio.gather(*[self._part(client_id, pattern) for pattern in patterns]):
            self._tell_left(client_id, pattern, now, vacated=vacated)
        await self.home(client_id).do("buried", client_id)
        self.tell(EventKind.CLIENT_DESTROYED, now, client_id=client_id, reason=reason)

    # Subscriptions

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        wanted = list(dict.fromkeys(patterns))
        joined = await asyncio.gather(*[self._join(client_id, pattern) for pattern in wanted])
        words: list[str | int] = []
        for pattern, _, _, cursors in joined:
            words += (pattern, len(cursors))
            for (partition, _), place in cursors.items():
                words += (partition, place.place, place.offset)
        most = self.limits.subscriptions_per_client
        done, *answer = await self.home(client_id).do("subscribe", client_id, most, len(wanted), *words)
        if not done:
            await self._undo(client_id, [pattern for pattern, _, added, _ in joined if added])
            raise ClientUnknown(client_id) if answer[0] == b"UNKNOWN" else LimitSubscriptions(most)
        new = [one for one, is_new in zip(joined, answer[0], strict=True) if is_new]
        self._tell_joined(client_id, new)
        claim = self.claims.get(client_id)
        if claim is not None and new:
            claim.add({log: place for _, _, _, cursors in new for log, place in cursors.items()})
            self.spawn(self._read_on(claim, [log for _, _, _, cursors in new for log in cursors]))
        return [pattern for pattern, _, _, _ in new]

    async def _join(self, client_id: str, pattern: str) -> tuple[str, bool, bool, dict[Log, Place]]:
        """Have a pattern's logs keep mail for a client.

        Returns:
            The pattern, whether it is the first of its subscribers, whether it was none before, and from where on.
        """
        home = self.layout.of(pattern)
        wild = is_pattern(pattern)
        _, created, version, subscribers, place, offset, added = await self.partitions[home].do(
            "join", pattern, client_id, int(wild)
        )
        cursors = {(home, pattern): Place(int(place), int(offset))}
        if wild:
            cursors |= await self._declare(pattern, home, version, subscribers)
        return pattern, bool(created), bool(added), cursors

    async def _declare(self, pattern: str, home: int, version: int, subscribers: int) -> dict[Log, Place]:
        others = [partition for partition in self.partitions if partition.number != home]
        answers = await asyncio.gather(*[one.do("declare", pattern, version, subscribers) for one in others])
        return {
            (partition.number, pattern): Place(int(place), int(offset))
            for partition, (_, place, offset) in zip(others, answers, strict=True)
        }

    async def _part(self, client_id: str, pattern: str) -> tuple[str, bool]:
        """A client is no longer a subscriber. Returns the pattern, and whether it was the last one."""
        home = self.layout.of(pattern)
        wild = is_pattern(pattern)
        _, vacated, version, subscribers, was_member = await self.partitions[home].do(
            "part", pattern, client_id, int(wild)
        )
        if wild and was_member:
            await self._declare(pattern, home, version, subscribers)
        return pattern, bool(vacated)

    async def _undo(self, client_id: str, patterns: Iterable[str]) -> None:
        await asyncio.gather(*[self._part(client_id, pattern) for pattern in patterns])

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        wanted = list(dict.fromkeys(patterns))
        words: list[str | int] = []
        for pattern in wanted:
            partitions = self.layout.of_log(pattern)
            words += (pattern, len(partitions), *partitions)
        done, *answer = await self.home(client_id).do("unsubscribe", client_id, len(wanted), *words)
        if not done:
            raise ClientUnknown(client_id)
        removed = [pattern for pattern, had in zip(wanted, answer[0], strict=True) if had]
        for pattern in removed:
            self._left(client_id, pattern)
        now = self.now()
        for pattern, vacated in await asyncio.gather(*[self._part(client_id, pattern) for pattern in removed]):
            self._tell_left(client_id, pattern, now, vacated=vacated)
        return removed

    def _left(self, client_id: str, pattern: str) -> None:
        """A client that may be held here gets nothing more through a pattern."""
        claim = self.claims.get(client_id)
        if claim is not None:
            self.listener.unsubscribed(client_id, pattern)
            self._unfollow(claim, claim.remove(pattern))

    async def _read_on(self, claim: RedisClaim, logs: Sequence[Log]) -> None:
        """A client that is held here has further logs."""
        self.listener.behind(claim.client_id)
        await self._follow(claim, logs)
        if self.claims.get(claim.client_id) is claim:
            self.listener.behind(claim.client_id)

    async def _follow(self, claim: RedisClaim, logs: Sequence[Log]) -> None:
        """Follow logs for a client for as long as it is held and reads them."""
        if not claim.lost:
            new = [log for log in logs if log not in claim.followed]
            claim.followed.update(new)
            await self._following.follow(new)

    def _unfollow(self, claim: RedisClaim, logs: Iterable[Log]) -> None:
        gone = claim.followed.intersection(logs)
        claim.followed -= gone
        self._following.unfollow(gone)

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """See `engine.abc.Engine`."""
        return await self._listing.subscribers_of(pattern, page)

    async def subscribed_to(self, client_id: str) -> list[str]:
        """See `engine.abc.Engine`."""
        _, cursors = await self._look(client_id)
        return sorted({pattern for _, pattern in cursors if pattern})

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """See `engine.abc.Engine`."""
        (log, *_) = self.layout.of_log(pattern)
        done, *answer = await self.home(client_id).do("subscribes", client_id, _field((log, pattern)))
        if not done:
            raise ClientUnknown(client_id)
        return bool(answer[0])

    # Mail

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        keyed = any(message.key for message in messages)
        # What comes after a publish with a key waits until that is past its check: what a caller sends stays in order.
        if keyed or self._in_order.locked():
            async with self._in_order:
                if keyed:
                    await self._reserve("", messages)
                answers = self._published(messages)
        else:
            answers = self._published(messages)
        outcomes = [
            PublishOutcome(int(matched), bool(duplicate)) for _, matched, duplicate in await asyncio.gather(*answers)
        ]
        now = self.now()
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome.duplicate:
                self.counters.duplicates += 1
            else:
                self.counters.published += 1
                self._tell_published(message, now, message.publisher, outcome.matched)
        await self._shrink()
        return outcomes

    def _published(self, messages: Sequence[Message]) -> list[Awaitable[list[Any]]]:
        if wait := self._publishes.take(len(messages), self.now()):
            raise RateLimited("publishes", self._publishes.rate, wait)
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message) -> Awaitable[list[Any]]:
        patterns = logs_of(message.channel)
        bounds = self.limits.log
        key = _key("", message) if message.key else ""
        return self.partitions[self.layout.of(message.channel)].do(
            "publish", key, bounds.messages, bounds.bytes, message.size, encoded(message), len(patterns), *patterns
        )

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        home = self.home(client_id)
        if any(message.key for message in messages):
            await self._look(client_id)
            await self._reserve(client_id, messages)
        bounds = self.limits.log
        answers = await asyncio.gather(
            *[
                home.do(
                    "queue",
                    client_id,
                    _key(client_id, message) if message.key else "",
                    bounds.messages,
                    bounds.bytes,
                    message.size,
                    encoded(message),
                )
                for message in messages
            ]
        )
        if not all(answer[0] for answer in answers):
            raise ClientUnknown(client_id)
        now = self.now()
        duplicates = 0
        for message, (_, duplicate) in zip(messages, answers, strict=True):
            duplicates += bool(duplicate)
            if not duplicate:
                self.counters.queued += 1
                self._tell_published(message, now, client_id, 1)
        self.counters.duplicates += duplicates
        await self._shrink()
        _, cursors = await self._look(client_id)
        return QueueOutcome(await self._pending(client_id, cursors), duplicates)

    def _check_room(self, messages: Sequence[Message]) -> None:
        size = sum(message.size for message in messages)
        if size > self.limits.total_bytes:
            raise LimitMemory(
                f"these messages take {size:,} bytes; max_total_bytes is {self.limits.total_bytes:,}: "
                "send smaller batches",
                field="messages",
            )

    async def _reserve(self, scope: str, messages: Sequence[Message]) -> None:
        """Have each key stand for its message, or, if one of them stands for another, none."""
        room = not await self._at_limit(lambda holds: holds.keys, self.limits.idempotency_keys)
        taken: list[str] = []
        try:
            for index, message in enumerate(messages):
                if not message.key:
                    continue
                key = _key(scope, message)
                done, *answer = await self.partitions[self.layout.of(key)].do(
                    "reserve_key", key, _fingerprint(message), int(room)
                )
                if not done:
                    raise self._no_key(index, answer)
                if not answer[0]:
                    taken.append(key)
                    room = not await self._at_limit(lambda holds: holds.keys, self.limits.idempotency_keys)
        except PixiedError:
            await asyncio.gather(*[self.partitions[self.layout.of(key)].do("free_key", key) for key in taken])
            raise

    def _no_key(self, index: int, answer: Sequence[bytes]) -> PixiedError:
        if answer[0] == b"REUSED":
            return IdempotencyKeyReused(f"messages[{index}].idempotency_key")
        return LimitMemory(
            f"max_idempotency_keys ({self.limits.idempotency_keys:,}) are in use; "
            "try again when the oldest is 5 minutes old",
            retry_after=float(answer[1]) + idempotency.SECONDS - self.now() if answer[1] else None,
        )

    async def _shrink(self) -> None:
        """Take the oldest mail away while there is too much."""
        while (excess := sum(partition.holds.bytes for partition in self.partitions) - self.limits.total_bytes) > 0:
            await self._refresh()
            excess = sum(partition.holds.bytes for partition in self.partitions) - self.limits.total_bytes
            if excess <= 0:
                return
            oldest = await asyncio.gather(*[partition.do("shrink", 0, 0) for partition in self.partitions])
            ages = sorted((int(place), number) for number, (_, _, place) in enumerate(oldest) if place)
            if not ages:
                return
            upto = ages[1][0] if len(ages) > 1 else 1 << 53
            await self.partitions[ages[0][1]].do("shrink", excess, upto)

    # Delivery

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, keeper: Keeper | None = None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        named = await self._resolved(client_id, cursor) if cursor else {}
        answer = await self._claimed(client_id, front_end, expires=expires, keeper=keeper)
        # From here on the client is held by this process, whatever becomes of the caller.
        claiming = asyncio.get_running_loop().create_task(self._hold(client_id, answer, named, keeper))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self.spawn(self._give_back(claiming))
            raise

    async def _give_back(self, claiming: "asyncio.Task[RedisClaim]") -> None:
        await self.release(await claiming, confirmed=0, sent=0)

    async def _claimed(self, client_id: str, front_end: str, *, expires: bool, keeper: Keeper | None) -> list[Any]:
        force = 0
        while True:
            mine = self.claims.get(client_id)
            progress = self.listener.progress(client_id)
            words: list[str | int] = [0, 0, 0]
            if mine is not None and progress is not None:
                words = [mine.number, *_words(client_id, mine.cursors_at(progress[0]), mine.sent_at(progress[1]))]
            link = self.housekeeping.name_of(keeper)
            yielded = self._yielded.setdefault(client_id, asyncio.get_running_loop().create_future())
            answer = await self.home(client_id).do("claim", client_id, front_end, int(expires), link, force, *words)
            if answer[0] == 1:
                return answer
            if answer[0] == 0:
                raise ClientUnknown(client_id)
            await asyncio.wait([yielded], timeout=_YIELD)
            self._yielded.pop(client_id, None)
            force = 1

    async def _hold(self, client_id: str, answer: list[Any], named: Cursors, keeper: Keeper | None) -> RedisClaim:
        number = int(answer[1])
        other = self.claims.get(client_id)
        if other is not None and other.number > number:
            raise TakenOver(client_id)
        record, cursors = _record(answer[2]), _cursors(answer[3])
        sent = {int(name[4:]): int(place) for name, place in record.items() if name.startswith("sent")}
        self._forget_claim(client_id)
        self.listener.claimed(client_id)
        if record.get("unsettled"):
            await self._inherit(record, cursors)
        for log, place in named.items():
            if log in cursors and cursors[log].place < place.place:
                cursors[log] = place
        # It may get its first own mail while it is held.
        cursors.setdefault((self.layout.of(client_id), ""), Place(0, 0))
        past = self._past.pop(client_id, None)
        claim = RedisClaim(self, client_id, number, cursors, sent, keeper, past.trail if past is not None else ())
        self.claims[client_id] = claim
        try:
            await self._follow(claim, claim.logs)
            await self._following.sync({self.layout.of(client_id), *(partition for partition, _ in claim.logs)})
            if record.get("unsettled"):
                # Nobody knows what the last holder has sent.
                claim.sent = {partition: self.positions.last(partition) for partition, _ in cursors}
            if named:
                await self._confirm(claim, named)
        except PixiedError:
            await self.release(claim, confirmed=0, sent=0)
            raise
        if self.claims.get(client_id) is not claim:
            raise TakenOver(client_id)
        return claim

    async def _inherit(self, record: Mapping[str, str], cursors: dict[Log, Place]) -> None:
        """The last holder is gone without a word: what its link had confirmed counts."""
        process = record.get("process")
        if not process or record.get("joined") != "1":
            return
        _, found = await self.partitions[self.layout.of(process)].do("progress_of", process)
        links = _record(found)
        for partition, place in self.housekeeping.places_in(links.get(record["link"], "")).items():
            for log, known in cursors.items():
                if log[0] == partition and known.place < place:
                    cursors[log] = Place(place, known.offset)

    def _forget_claim(self, client_id: str) -> None:
        claim = self.claims.pop(client_id, None)
        if claim is not None:
            claim.lost = True
            self.housekeeping.forget(claim)
            self._unfollow(claim, claim.followed)
            self._past[client_id] = claim
            if len(self._past) > _PAST:
                self._past.popitem(last=False)

    async def _resolved(self, client_id: str, cursor: int) -> Cursors:
        """What a cursor stands for: this process may have handed it out, or another.

        Raises:
            ClientUnknown, FieldInvalid.
        """
        ordinal = cursor >> BITS
        if ordinal == self.positions.head >> BITS:
            claim = self.claims.get(client_id) or self._past.get(client_id)
            if claim is None:
                await self._look(client_id)
                raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
            progress = self.listener.progress(client_id)
            if cursor > max(claim.farthest, progress[1] if progress else 0, claim.handed_out):
                raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
            return claim.cursors_at(cursor)
        await self._look(client_id)
        _, process = await self.partitions[0].do("process_of", ordinal)
        if not process:
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        return await self._asked(process.decode(), client_id, cursor)

    async def _asked(self, process: str, client_id: str, cursor: int) -> Cursors:
        """What a cursor of another process stands for; nothing, if that process is no more."""
        name = str(next(self._requests))
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._answers[name] = answer
        try:
            await self.partitions[0].do("tell", process, "\n".join(("Q", self.process, name, client_id, str(cursor))))
            async with asyncio.timeout(_YIELD):
                known, *words = await answer
        except TimeoutError:
            return {}
        finally:
            del self._answers[name]
        if known != "1":
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        return {
            (int(partition), pattern): Place(int(place), int(offset))
            for partition, pattern, place, offset in (word.split("\t") for word in words)
        }

    def _hear_question(self, process: str, name: str, client_id: str, cursor: str) -> None:
        """Another process asks what a cursor stands for."""

        async def answer() -> None:
            try:
                cursors = await self._resolved(client_id, int(cursor))
            except PixiedError:
                words = ["0"]
            else:
                words = ["1", *(f"{log[0]}\t{log[1]}\t{at.place}\t{at.offset}" for log, at in cursors.items())]
            await self.partitions[0].do("tell", process, "\n".join(("A", name, *words)))

        self.spawn(answer())

    async def confirm(self, claim: Claim, position: int) -> None:
        """See `engine.abc.Engine`."""
        mine = self.claims.get(claim.client_id)
        if mine is not None and mine is claim:
            await self._confirm(mine, mine.cursors_at(position))
            mine.forget_before(position)

    async def _confirm(self, claim: RedisClaim, cursors: Cursors) -> None:
        await self.home(claim.client_id).do(
            "confirm", claim.client_id, claim.number, len(cursors), *_cursor_words(cursors)
        )

    async def record_of(self, client_id: str) -> Mapping[str, str]:
        """What the store has of a client.

        Raises:
            ClientUnknown.
        """
        record, _ = await self._look(client_id)
        return record

    def lose(self, claim: RedisClaim) -> None:
        """Someone else has claimed a client that is held here."""
        if self.claims.get(claim.client_id) is claim:
            self._forget_claim(claim.client_id)
            self.listener.claimed(claim.client_id)

    def joined(self, claim: RedisClaim) -> None:
        """A client has joined its holder's live mail, or left it."""
        progress = self.listener.progress(claim.client_id)
        if progress is not None:
            claim.forget_before(progress[0])
        self.housekeeping.note(claim)

    def offset_at(self, log: Log, place: int) -> int:
        """The offset of a log's last entry at a place; -1 if that is not known."""
        return self._following.offset_at(log, place)

    async def release(self, claim: Claim, *, confirmed: int, sent: int) -> None:
        """See `engine.abc.Engine`."""
        if not isinstance(claim, RedisClaim) or claim.lost:
            return
        claim.handed_out = max(claim.handed_out, sent)
        words = _words(claim.client_id, claim.cursors_at(confirmed), claim.sent_at(sent) if sent else {})
        self._forget_claim(claim.client_id)
        try:
            await self.home(claim.client_id).do("release", claim.client_id, claim.number, *words)
        except EngineUnavailable:
            self.housekeeping.release_later(claim, words)
            raise

    async def read(self, patterns: Collection[str], after: int, upto: int, *, messages: int, size: int) -> Portion:
        """See `engine.abc.Engine`."""
        logs = [(partition, pattern) for pattern in patterns for partition in self.layout.of_log(pattern)]
        return await self.housekeeping.behind.read(logs, after, upto, messages=messages, size=size)

    # Looking inside

    async def list_clients(self, page: PageRequest, *, pattern: str, front_end: str) -> Page[Client]:
        """See `engine.abc.Engine`."""

        async def described(client_id: str) -> Client | None:
            try:
                client = await self.get_client(client_id)
            except ClientUnknown:
                return None
            return client if not front_end or client.front_end == front_end else None

        return await self._listing.clients(page, pattern, described)

    async def list_channels(self, page: PageRequest, *, pattern: str) -> Page[Channel]:
        """See `engine.abc.Engine`."""
        return await self._listing.channels(page, pattern)

    async def holdings(self) -> Holdings:
        """See `engine.abc.Engine`."""
        await self._refresh()
        held = [partition.holds for partition in self.partitions]
        return Holdings(
            clients=sum(one.clients for one in held),
            channels=sum(one.patterns for one in held),
            subscriptions=sum(one.subscriptions for one in held),
            messages=sum(one.messages for one in held),
            bytes=sum(one.bytes for one in held),
            namespaces=sum(one.namespaces for one in held),
        )

    # What this process is told (`following.Audience`)

    def mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """See `Audience`."""
        self.housekeeping.behind.note(entry.position, patterns)
        self.listener.mail(entry, patterns)

    def own_mail(self, client_id: str, entry: Entry) -> None:
        """See `Audience`."""
        if client_id in self.claims:
            self.listener.mail_for(client_id, entry)

    def missed(self, pattern: str, position: int) -> None:
        """See `Audience`."""
        self.listener.missed(pattern, position)

    def restored(self, partition: int) -> None:
        """See `Audience`."""
        self.spawn(self._remind(partition))
        mine = [claim for client_id, claim in self.claims.items() if self.layout.of(client_id) == partition]
        for claim in mine:
            self.listener.behind(claim.client_id)
        self.spawn(self.housekeeping.check(partition, mine))

    async def _remind(self, partition: int) -> None:
        ordinal = self.positions.head >> BITS
        await self.partitions[partition].do("remind", VERSION, self.layout.partitions, ordinal)

    def told(self, kind: str, words: Sequence[str]) -> None:
        """See `Audience`."""
        self._news[kind](*words)

    def _hear_gone(self, client_id: str, parting: str, *reason: str) -> None:
        self.gone(client_id, Parting.EXPIRED if parting == "expired" else Parting.DESTROYED, "\n".join(reason))

    def _hear_subscribed(self, client_id: str) -> None:
        self.spawn(self._reload(client_id))

    def _hear_wanted(self, client_id: str, process: str) -> None:
        self.spawn(self._yield(client_id, process))

    def _hear_yielded(self, client_id: str) -> None:
        yielded = self._yielded.get(client_id)
        if yielded is not None and not yielded.done():
            yielded.set_result(None)

    def _hear_claimed(self, client_id: str, number: str) -> None:
        claim = self.claims.get(client_id)
        if claim is not None and claim.number <= int(number):
            self.lose(claim)

    def _hear_answer(self, name: str, *answer: str) -> None:
        asked = self._answers.get(name)
        if asked is not None and not asked.done():
            asked.set_result(answer)

    def _hear_event(self, process: str, event: str) -> None:
        if process != self.process:
            self.listener.happened(decoded_event(event))

    def _hear_watched(self, watched: str) -> None:
        self.housekeeping.watched = watched == "1"

    async def _reload(self, client_id: str) -> None:
        """Another process has subscribed a client that is held here."""
        claim = self.claims.get(client_id)
        if claim is None:
            return
        _, cursors = await self._look(client_id)
        had = set(claim.logs)
        new = [log for log in cursors if log[1] and log not in had]
        if self.claims.get(client_id) is claim and new:
            claim.add({log: cursors[log] for log in new})
            await self._read_on(claim, new)

    async def _yield(self, client_id: str, process: str) -> None:
        """Another process wants a client: it gets it, with all that is known of its mail."""
        claim = self.claims.get(client_id)
        if claim is not None:
            confirmed, sent = self.listener.progress(client_id) or (0, 0)
            self.listener.claimed(client_id)
            await self.release(claim, confirmed=confirmed, sent=sent)
        await self.home(client_id).do("tell", process, f"R\n{client_id}")

    # Time and events

    def now(self) -> float:
        """The time, in seconds since the epoch, as events show it."""
        return self._clock() if self._clock is not None else self.housekeeping.now()

    def tell(self, kind: EventKind, at: float, *, client_id: str = "", channel: str = "", reason: str = "") -> None:
        """Something happened."""
        if self.watched:
            self.show(Event(kind, at, client_id=client_id, channel=channel, reason=reason))

    @property
    def watched(self) -> bool:
        """See `engine.abc.Engine`."""
        return self.housekeeping.watched or self.listener.watching

    def show(self, event: Event) -> None:
        """See `engine.abc.Engine`."""
        self.listener.happened(event)
        if self.housekeeping.watched:
            self.housekeeping.show(encoded_event(event))

    async def watch(self) -> None:
        """See `engine.abc.Engine`."""
        self._following.watch(watching=True)
        await self.housekeeping.beat()
        _, processes = await self.partitions[0].do("processes")
        await asyncio.gather(*[self.partitions[0].do("tell", process, "W\n1") for process in processes])
        await self._following.sync((0,))

    def _tell_published(self, message: Message, at: float, client_id: str, recipients: int) -> None:
        if self.watched:
            self.show(
                Event(
                    EventKind.PUBLISHED,
                    at,
                    client_id=client_id,
                    channel=message.channel,
                    message_id=message.id,
                    recipients=recipients,
                )
            )

    def _tell_joined(self, client_id: str, joined: Iterable[tuple[str, bool, bool, Cursors]]) -> None:
        now = self.now()
        for pattern, created, _, _ in joined:
            if created:
                self.tell(EventKind.CHANNEL_CREATED, now, channel=pattern)
            self.tell(EventKind.SUBSCRIBED, now, client_id=client_id, channel=pattern)

    def _tell_left(self, client_id: str, pattern: str, now: float, *, vacated: bool) -> None:
        self.tell(EventKind.UNSUBSCRIBED, now, client_id=client_id, channel=pattern)
        if vacated:
            self.tell(EventKind.CHANNEL_DESTROYED, now, channel=pattern)


def _text(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(attributes), ensure_ascii=False)


def _record(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _field(log: Log) -> str:
    return f"{log[1]}\0{log[0]}"


def _log(field: bytes) -> Log:
    pattern, _, partition = field.decode().rpartition("\0")
    return int(partition), pattern


def _cursors(flat: Sequence[bytes]) -> dict[Log, Place]:
    cursors = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True):
        place, _, offset = value.partition(b":")
        cursors[_log(field)] = Place(int(place), int(offset))
    return cursors


def _cursor_words(cursors: Cursors) -> list[str | int]:
    return [word for log, at in cursors.items() for word in (_field(log), at.place, at.offset)]


def _words(client_id: str, cursors: Cursors, sent: Mapping[int, int]) -> list[str | int]:
    """Cursors and sent positions as `partition.lua` takes them."""
    del client_id
    return [len(cursors), *_cursor_words(cursors), len(sent), *(word for pair in sent.items() for word in pair)]


def _key(scope: str, message: Message) -> str:
    return f"{scope}\n{message.key}"


def _fingerprint(message: Message) -> str:
    mark = blake2b(digest_size=12)
    for part in (message.channel.encode(), message.publisher.encode(), message.body):
        mark.update(len(part).to_bytes(4, "big") + part)
    mark.update(bytes([message.exclude_publisher]))
    return mark.hexdigest()
