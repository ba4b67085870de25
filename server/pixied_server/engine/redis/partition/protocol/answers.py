"""Answers of a partition's script, parsed."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress
from pixied_server.engine.redis.partition.calls import Argument, Calls
from pixied_server.engine.redis.partition.codec import Start, cursors_text, progress_text, starts_in
from pixied_server.errors import ClientUnknown

__all__ = [
    "Answer",
    "Asker",
    "Change",
    "Claimed",
    "Ended",
    "Joined",
    "KeyFull",
    "KeyReused",
    "LogState",
    "Parted",
    "Published",
    "Read",
    "Record",
    "Settled",
    "Wanted",
    "check_key",
    "fields",
    "nothing",
    "number",
    "record_of",
    "start_of",
    "texts",
    "truths",
]

T = TypeVar("T")


class Answer(Generic[T]):
    """The answer to an operation that was asked for: await it. Each operation names what that raises."""

    __slots__ = ("_read", "result")

    def __init__(self, result: "Awaitable[list[Any]]", read: Callable[[list[Any]], T]) -> None:
        self.result = result
        self._read = read

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the answer."""
        result = yield from self.result.__await__()
        return self._read(result)


class KeyReused(Exception):
    """An idempotency key stands for another message."""


class KeyFull(Exception):
    """There is no room for another idempotency key.

    Attributes:
        oldest: when the oldest one was used, in seconds; None if there is none.
    """

    def __init__(self, oldest: float | None) -> None:
        super().__init__()
        self.oldest = oldest


@dataclass(slots=True)
class Record:
    """A client as its partition has it.

    Attributes:
        fields: the fields of its record.
        starts: its subscriptions, and where each begins in each partition.
    """

    fields: dict[str, str]
    starts: dict[str, dict[int, Start]]

    @property
    def changes(self) -> int:
        """How often its subscriptions have changed; the record of a client that never had any does not say."""
        return int(self.fields.get("changes", 0))


@dataclass(slots=True)
class Claimed:
    """A client that this process owns now.

    Attributes:
        number: the claim's.
        record: the client before the claim.
        empty: its inbox has nothing up to this sequence.
        inbox: the offset of its inbox's last message; -1 if it never had one.
    """

    number: int
    record: Record
    empty: int
    inbox: int


@dataclass(slots=True)
class Wanted:
    """A client that another process owns, which was asked to yield it."""

    process: str


@dataclass(slots=True)
class Settled:
    """How far a client's messages have come when a claim of this process ends.

    Attributes:
        claim: the claim's number.
        confirmed, sent: how far they are confirmed, and may have been sent.
        cursors: the last cursors that the client was given.
        changes: the last change of its subscriptions that this process knows of.
    """

    claim: int
    confirmed: Progress = NOTHING
    sent: Progress = NOTHING
    cursors: Iterable[tuple[int, Progress]] = ()
    changes: int = 0

    @property
    def words(self) -> tuple[Argument, ...]:
        """The arguments of the script."""
        return progress_text(self.confirmed), progress_text(self.sent), cursors_text(self.cursors), self.changes


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a client's subscriptions.

    Attributes:
        number: higher than those of all changes before.
        before: the number of the change before; the same number if it is another change that was the last.
    """

    number: int
    before: int


@dataclass(slots=True)
class Joined:
    """A client that is a member of a pattern.

    Attributes:
        first: whether the pattern had no member before.
        added: whether the client was not a member before.
        version, members: the pattern's version, and how many members it has.
        start: the end of its log here.
    """

    first: bool
    added: bool
    version: int
    members: int
    start: Start


@dataclass(slots=True)
class Parted:
    """A client that is no longer a member of a pattern; see `Joined`."""

    last: bool
    version: int
    members: int
    removed: bool


@dataclass(slots=True)
class Published:
    """A message that was published; `sequence` is 0 and `offsets` empty where no log has it."""

    matched: int
    duplicate: bool
    sequence: int
    offsets: Mapping[str, int]


@dataclass(slots=True)
class Ended:
    """A session that is over, and the patterns of which it is still a member."""

    client_id: str
    patterns: list[str]


@dataclass(slots=True)
class LogState:
    """What a log holds."""

    subscribers: int
    messages: int
    bytes: int


@dataclass(slots=True)
class Read:
    """What logs of a partition hold.

    Attributes:
        reached: the sequence up to which all of the logs were read.
        more: whether there is more to read up to where the caller asked for.
        losses: what the logs have lost, each by its index in the request, and the offset up to which all is gone.
        entries: the messages, each once and in order.
        offsets: for each message, the logs that have it by their indices, and its offset there.
    """

    reached: int
    more: bool
    losses: list[tuple[int, Loss, int]]
    entries: list[Entry]
    offsets: list[list[tuple[int, int]]]


class Asker(Calls):
    """Asks a partition for operations, and parses their answers."""

    def _ask(self, read: Callable[[list[Any]], T], name: str, *arguments: Argument) -> Answer[T]:
        return Answer(self.ask(name, *arguments), read)

    def _of_client(self, client_id: str, read: Callable[[list[Any]], T], name: str, *arguments: Argument) -> Answer[T]:
        """Ask for an operation on a client that has to be alive: its result is [0, "UNKNOWN"] if it is not."""

        def known(result: list[Any]) -> T:
            if not result[0] and result[1] == b"UNKNOWN":
                raise ClientUnknown(client_id)
            return read(result)

        return self._ask(known, name, client_id, *arguments)


def nothing(result: list[Any]) -> None:
    """Ignore the result."""
    del result


def number(result: list[Any]) -> int:
    """Return a result that is a number."""
    return int(result[1])


def truths(result: list[Any]) -> list[bool]:
    """Return a result that is a list of truths."""
    return list(map(bool, result[1]))


def texts(words: Iterable[bytes]) -> list[str]:
    """Return words as texts."""
    return [word.decode() for word in words]


def fields(flat: Sequence[bytes]) -> dict[str, str]:
    """Return the fields of a hash."""
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def record_of(flat: Sequence[bytes], subscriptions: Sequence[bytes]) -> Record:
    """Return a client's record and its subscriptions."""
    return Record(fields(flat), {pattern: starts_in(text) for pattern, text in fields(subscriptions).items()})


def start_of(text: bytes) -> Start:
    """Return the end of a log."""
    sequence, _, offset = text.partition(b":")
    return Start(int(sequence), int(offset))


def check_key(result: list[Any]) -> None:
    """Check that an idempotency key did not forbid an operation.

    Raises:
        KeyReused, KeyFull.
    """
    if not result[0]:
        if result[1] == b"REUSED":
            raise KeyReused
        raise KeyFull(float(result[2]) if result[2] else None)
