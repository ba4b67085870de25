"""The events of a link, which its front-end gets in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress
from pixied_server.delivery.audience import Audience
from pixied_server.errors import PixiedError

__all__ = [
    "AttachFailed",
    "Attached",
    "Batch",
    "Closing",
    "Delivery",
    "DetachReason",
    "Detached",
    "Heartbeat",
    "LinkEvent",
    "Lost",
]


class DetachReason(Enum):
    """Why a client is no longer on a link, as in the contract's `DetachReason`."""

    REQUESTED = auto()
    TAKEN_OVER = auto()
    DESTROYED = auto()
    EXPIRED = auto()


@dataclass(frozen=True, slots=True)
class Attached:
    """A client was attached."""

    handle: int


@dataclass(frozen=True, slots=True)
class AttachFailed:
    """A client could not be attached; the handle is free."""

    handle: int
    error: PixiedError


@dataclass(frozen=True, slots=True)
class Detached:
    """A client is no longer on the link; the handle is free."""

    handle: int
    reason: DetachReason
    detail: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Each of the handles lost so many messages of a pattern ("" is a client's inbox)."""

    handles: Sequence[int]
    pattern: str
    count: int


@dataclass(slots=True)
class Batch:
    """Entries that the same handles get, in order.

    Attributes:
        cursor: names the end of the entries, for clients that confirm by themselves.
        reached: the progress that it names.
    """

    entries: list[Entry]
    audience: Audience
    redelivered: bool
    cursor: int = 0
    reached: Progress = NOTHING


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages, to be confirmed by the delivery's number."""

    number: int
    batches: list[Batch]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Please answer."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The server is stopping: come back after so many milliseconds."""

    delay_ms: int


LinkEvent = Attached | AttachFailed | Detached | Lost | Delivery | Heartbeat | Closing
