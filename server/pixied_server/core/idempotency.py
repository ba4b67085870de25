"""Doing a thing once although it is asked for twice."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pixied_server.core.message import Message
from pixied_server.errors import IdempotencyKeyReused, LimitMemory

__all__ = ["SECONDS", "IdempotencyWindow", "scoped"]

SECONDS = 300.0
# So many old keys are forgotten for each new one.
_FORGOTTEN = 2


@dataclass(slots=True)
class _Memory:
    """A key: when it came, what for, and what came of that; None as long as nothing has."""

    key: str
    at: float
    fingerprint: int
    outcome: int | None

    def is_over(self, now: float) -> bool:
        return self.at + SECONDS <= now


class IdempotencyWindow:
    """Remembers keys, what they were used for, and what came of it, for 5 minutes.

    Args:
        limit: so many keys at once. Beyond it new keys are refused: to forget one early would break a promise.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[str, _Memory] = {}
        # The same, the oldest first. To ask the dictionary for its first key takes the longer the more were deleted.
        self._by_age: deque[_Memory] = deque()

    def __len__(self) -> int:
        """How many keys it has; some of them may be older than 5 minutes."""
        return len(self._seen)

    def check(self, messages: Sequence[Message], now: float, *, client_id: str = "", field: str = "messages") -> None:
        """Refuse messages whose keys stand for others, and those for whose keys there is no room.

        Args:
            messages: those of one request; they may use the same key twice.
            now: in seconds.
            client_id: whom they are queued for; "" where they are published.
            field: the request's field that holds them.

        Raises:
            IdempotencyKeyReused: a key stands for another message. LimitMemory: there is no room for a new key.
        """
        if not [message for message in messages if message.key]:
            return
        keyed = [(index, message) for index, message in enumerate(messages) if message.key]
        self._forget(now, _FORGOTTEN * len(keyed))
        fresh: dict[str, int] = {}
        for index, message in keyed:
            key = scoped(message, client_id)
            fingerprint = _fingerprint(message)
            memory = self._recalled(key, now)
            if fingerprint != (memory.fingerprint if memory else fresh.setdefault(key, fingerprint)):
                raise IdempotencyKeyReused(f"{field}[{index}].idempotency_key")
        self._check_room(len(fresh), now)

    def outcome_of(self, message: Message, now: float, *, client_id: str = "") -> int | None:
        """Return what came of a message that was done before; None where that was not so, or it has no key."""
        memory = self._recalled(scoped(message, client_id), now) if message.key else None
        return memory.outcome if memory else None

    def remember(self, message: Message, outcome: int | None, now: float, *, client_id: str = "") -> None:
        """Remember that a message with a key was done, or, without an outcome, that it is about to be."""
        key = scoped(message, client_id)
        memory = self._recalled(key, now)
        if memory is None:
            memory = self._seen[key] = _Memory(key, now, _fingerprint(message), outcome)
            self._by_age.append(memory)
        elif outcome is not None:
            memory.outcome = outcome

    def sweep(self, now: float) -> Iterator[None]:
        """Forget keys that are older than 5 minutes, one in each step."""
        while self._forget(now, 1):
            yield

    def _recalled(self, key: str, now: float) -> _Memory | None:
        memory = self._seen.get(key)
        return None if memory is None or memory.is_over(now) else memory

    def _forget(self, now: float, most: int) -> bool:
        """Forget so many keys that are older than 5 minutes. Returns whether there were so many."""
        for _ in range(most):
            if not self._by_age:
                self._seen.clear()  # an empty dictionary may still take what a full one took
                return False
            if not self._by_age[0].is_over(now):
                return False
            memory = self._by_age.popleft()
            # Its key may have come again since it was over.
            if self._seen.get(memory.key) is memory:
                del self._seen[memory.key]
        return True

    def _check_room(self, fresh: int, now: float) -> None:
        if len(self._seen) + fresh <= self._limit:
            return
        oldest = self._by_age[0] if self._by_age else None
        raise LimitMemory(
            f"max_idempotency_keys ({self._limit:,}) are in use; try again when the oldest is 5 minutes old",
            retry_after=oldest.at + SECONDS - now if oldest else None,
        )


def scoped(message: Message, client_id: str = "") -> str:
    """What the key of a message is known as, or "" if it has none.

    A key belongs to the channel that the message is published to, or to the client that it is queued for: it is looked
    for where the message goes, and nowhere else. A client's id has no slash, so the two can't be mistaken.
    """
    return f"{client_id or message.channel}\n{message.key}" if message.key else ""


def _fingerprint(message: Message) -> int:
    return hash((message.channel, message.body, message.publisher, message.exclude_publisher))
