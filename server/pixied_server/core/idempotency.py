"""Doing a thing once although it is asked for twice."""

from collections.abc import Sequence
from dataclasses import dataclass

from pixied_server.core.message import Message
from pixied_server.errors import IdempotencyKeyReused, LimitMemory

__all__ = ["SECONDS", "IdempotencyWindow", "scoped"]

SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Memory:
    at: float
    fingerprint: int
    outcome: int


class IdempotencyWindow:
    """Remembers keys, what they were used for, and what came of it, for 5 minutes.

    Args:
        limit: so many keys at once. Beyond it new keys are refused: to forget one early would break a promise.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Insertion order is order of age, so the oldest key is the first.
        self._seen: dict[str, _Memory] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def recall(
        self, messages: Sequence[Message], now: float, *, client_id: str = "", field: str = "messages"
    ) -> dict[str, int]:
        """Which of the messages were done before, by their keys, and with what outcome.

        Args:
            messages: those of one request; they may use the same key twice.
            now: in seconds.
            client_id: whom they are queued for; "" where they are published.
            field: the request's field that holds them.

        Returns:
            The outcomes by what `scoped` makes of the keys.

        Raises:
            IdempotencyKeyReused: a key stands for another message. LimitMemory: there is no room for a new key.
        """
        if not [message for message in messages if message.key]:
            return {}
        self._forget(now)
        known: dict[str, int] = {}
        fresh: dict[str, int] = {}
        for index, message in enumerate(messages):
            if not message.key:
                continue
            key = scoped(message, client_id)
            fingerprint = _fingerprint(message)
            memory = self._seen.get(key)
            if fingerprint != (memory.fingerprint if memory else fresh.setdefault(key, fingerprint)):
                raise IdempotencyKeyReused(f"{field}[{index}].idempotency_key")
            if memory:
                known[key] = memory.outcome
        self._check_room(len(fresh), now)
        return known

    def remember(self, message: Message, outcome: int, now: float, *, client_id: str = "") -> None:
        """Remember that a message with a key was done."""
        self._seen[scoped(message, client_id)] = _Memory(now, _fingerprint(message), outcome)

    def _check_room(self, fresh: int, now: float) -> None:
        if len(self._seen) + fresh <= self._limit:
            return
        oldest = next(iter(self._seen.values()), None)
        raise LimitMemory(
            f"max_idempotency_keys ({self._limit:,}) are in use; try again when the oldest is 5 minutes old",
            retry_after=oldest.at + SECONDS - now if oldest else None,
        )

    def _forget(self, now: float) -> None:
        while self._seen:
            key = next(iter(self._seen))
            if self._seen[key].at + SECONDS > now:
                return
            del self._seen[key]


def scoped(message: Message, client_id: str = "") -> str:
    """What the key of a message is known as, or "" if it has none.

    A key belongs to the channel that the message is published to, or to the client that it is queued for: it is looked
    for where the message goes, and nowhere else. A client's id has no slash, so the two can't be mistaken.
    """
    return f"{client_id or message.channel}\n{message.key}" if message.key else ""


def _fingerprint(message: Message) -> int:
    return hash((message.channel, message.body, message.publisher, message.exclude_publisher))
