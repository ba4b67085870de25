"""What a request must satisfy before anything is done: the one place where input is validated."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import orjson
from google.protobuf.duration_pb2 import Duration

from pixied.v1 import message_pb2 as wire
from pixied_server.core.channels import Grammar
from pixied_server.core.identifiers import DEFAULT_LENGTH, MAX_LENGTH
from pixied_server.core.message import Message
from pixied_server.errors import BatchTooLarge, DataNotJson, FieldInvalid, MessageTooLarge, TimeoutOutOfRange
from pixied_server.rpc.convert import message_in, seconds_in

__all__ = ["RequestLimits", "Validator"]

_NAME_BYTES = 255
# A character has at most 4 bytes.
_SURELY_SHORT = _NAME_BYTES // 4
_ATTRIBUTES = 64
_ATTRIBUTES_BYTES = 8 * 1024
_DEQUEUE_DEFAULT = 100
_DEQUEUE_MOST = 1_000
# Members of a Bayeux message that have a field of their own, or are nobody's business.
_NOT_EXTRA = ("channel", "data", "clientId")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What requests may ask for; see the settings of the same names. Durations in seconds."""

    default_session_timeout: float
    min_session_timeout: float
    max_session_timeout: float
    max_message_bytes: int
    max_batch_items: int
    max_wait: float


class Validator:
    """Checks the fields of requests and converts those that need it.

    Args:
        grammar: which names are channels.
        limits: what requests may ask for.
    """

    def __init__(self, grammar: Grammar, limits: RequestLimits) -> None:
        self.grammar = grammar
        self.limits = limits

    def name(self, field: str, text: str) -> str:
        """A required name or id, 1 to 255 bytes."""
        if not text:
            raise FieldInvalid(field, "it is required")
        return self.text(field, text)

    def text(self, field: str, text: str) -> str:
        """An optional text, at most 255 bytes."""
        if len(text) > _SURELY_SHORT and len(text.encode()) > _NAME_BYTES:
            raise FieldInvalid(field, f"it is longer than {_NAME_BYTES} bytes")
        return text

    def batch(self, field: str, items: Sequence[object]) -> None:
        """1 or more items, and not too many."""
        if not items:
            raise FieldInvalid(field, "at least one is required")
        if len(items) > self.limits.max_batch_items:
            raise BatchTooLarge(field, len(items), self.limits.max_batch_items)

    def one_of(self, **fields: object) -> None:
        """Exactly one of these fields is set."""
        if sum(map(bool, fields.values())) != 1:
            names = " and ".join(fields)
            raise FieldInvalid(next(iter(fields)), f"set exactly one of {names}")

    def namespace_length(self, length: int) -> int:
        """The length of a namespace, or the default."""
        if length > MAX_LENGTH:
            raise FieldInvalid("length", f"{length:,} is out of range; it may be 1 to {MAX_LENGTH}")
        return length or DEFAULT_LENGTH

    def session_timeout(self, duration: Duration | None) -> float:
        """A session timeout in seconds, or the default."""
        if duration is None:
            return self.limits.default_session_timeout
        low, high = self.limits.min_session_timeout, self.limits.max_session_timeout
        return self._seconds("session_timeout", duration, low, high)

    def wait(self, duration: Duration, *, may_wait: bool) -> float:
        """How long DequeueFor may wait, in seconds."""
        seconds = self._seconds("wait", duration, 0.0, self.limits.max_wait)
        if seconds and not may_wait:
            raise FieldInvalid("wait", "it must be 0 in a Pipeline, whose answers come in order; use the unary call")
        return seconds

    def dequeue_size(self, count: int) -> int:
        """How many messages DequeueFor may return."""
        if count > _DEQUEUE_MOST:
            raise FieldInvalid("max_messages", f"{count:,} is out of range; it may be 1 to {_DEQUEUE_MOST:,}")
        return count or _DEQUEUE_DEFAULT

    def ack_mode(self, mode: int) -> bool:
        """Whether only explicit confirmations count."""
        if mode not in (wire.ACK_MODE_UNSPECIFIED, wire.ACK_MODE_AUTO, wire.ACK_MODE_EXPLICIT):
            raise FieldInvalid("ack_mode", f"there is no mode {mode}; use ACK_MODE_AUTO or ACK_MODE_EXPLICIT")
        return mode == wire.ACK_MODE_EXPLICIT

    def attributes(self, attributes: Mapping[str, str]) -> None:
        """What CreateClient may be given to remember."""
        if not attributes:
            return
        if len(attributes) > _ATTRIBUTES:
            raise BatchTooLarge("attributes", len(attributes), _ATTRIBUTES)
        if "" in attributes:
            raise FieldInvalid("attributes", "a key is empty")
        size = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
        if size > _ATTRIBUTES_BYTES:
            raise MessageTooLarge("attributes", size, _ATTRIBUTES_BYTES, field="attributes")

    def patterns(self, patterns: Sequence[str]) -> None:
        """Channels and patterns to subscribe to."""
        self.batch("channels", patterns)
        for index, pattern in enumerate(patterns):
            self.grammar.check_subscribable(pattern, field=f"channels[{index}]")

    def known_patterns(self, patterns: Sequence[str]) -> None:
        """Channels and patterns to unsubscribe from: no harm in reserved ones."""
        self.batch("channels", patterns)
        for index, pattern in enumerate(patterns):
            self.grammar.check_pattern(pattern, field=f"channels[{index}]")

    def message(self, index: int, message: wire.Message, *, queued: bool) -> Message:
        """One of the messages to publish, or to queue for one client."""
        place = _place(index)
        check = self.grammar.check_queueable if queued else self.grammar.check_publishable
        check(message.channel, field=place.channel)
        size = message.ByteSize()
        if size > self.limits.max_message_bytes:
            raise MessageTooLarge("a message", size, self.limits.max_message_bytes, field=place.message)
        _json(message.data, place.data)
        if message.HasField("ext"):
            _json(message.ext, place.ext)
        if message.HasField("extra"):
            _extra(message, place.extra)
        self.text(place.id, message.id)
        self.text(place.client_id, message.client_id)
        self.text(place.idempotency_key, message.idempotency_key)
        return message_in(message)

    @staticmethod
    def _seconds(field: str, duration: Duration, low: float, high: float) -> float:
        seconds = seconds_in(duration)
        if not low <= seconds <= high:
            raise TimeoutOutOfRange(field, seconds, low, high)
        return seconds


class _Place(NamedTuple):
    """What the parts of one message are called in an error."""

    message: str
    channel: str
    data: str
    ext: str
    extra: str
    id: str
    client_id: str
    idempotency_key: str


# Kept ready: to form the names of fields that nobody blames took a tenth of a publish.
@lru_cache(maxsize=1_000)
def _place(index: int) -> _Place:
    name = f"messages[{index}]"
    return _Place(name, *(f"{name}.{field}" for field in _Place._fields[1:]))


def _extra(message: wire.Message, field: str) -> None:
    members = _json(message.extra, field)
    if not isinstance(members, dict):
        raise DataNotJson(field, "it must be the text of one JSON object")
    taken = [*_NOT_EXTRA, *(name for name in ("id", "ext") if message.HasField(name))]
    for name in taken:
        if name in members:
            raise DataNotJson(field, f"it must not name {name}: that has a field of its own")


def _json(text: str, field: str) -> object:
    """Parse JSON, only to know that it is."""
    if not text:
        raise DataNotJson(field, "JSON text is required; an absent value is `null`")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as strict:
        # orjson refuses a few texts that the grammar allows, such as "\ud800" and 1e999; what a publisher may write, it
        # may write here. Integers stay text: Python refuses to convert those of thousands of digits.
        try:
            return json.loads(text, parse_constant=_refuse, parse_int=str)
        except (ValueError, RecursionError):
            raise DataNotJson(field, f"not JSON: {strict}") from None


def _refuse(constant: str) -> object:
    raise ValueError(constant)
