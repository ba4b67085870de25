"""Requests that must be refused, and how: one row for each way in which a field can be wrong.

In the fields of a request the text `ALICE` stands for the id of a live client that subscribes to `/alice`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from tests.support.caller import message
from tests.support.contract import documented_codes, input_of
from tests.support.refusals import Refusal

__all__ = ["ALICE", "BAD_REQUESTS", "NOBODY", "BadRequest"]

ALICE = "<alice>"
NOBODY = "0123456789abcdefghijklmnopqrstuv"
"""A client id as pixied makes them, that no client has."""

_LONG = "x" * 256
_MANY = 1_001
# Error details beyond about 8 KB are dropped on the way; half of that leaves room for other metadata.
_MOST_DETAILS = 4_096


@dataclass(frozen=True)
class BadRequest:
    """A request, and how it is refused.

    Args:
        rpc: which RPC.
        fields: of the request.
        reason: of the refusal.
        blamed: the field that is to blame.
        says: what the text must tell.
        label: tells apart rows that agree in all this.
    """

    rpc: str
    fields: dict[str, Any]
    reason: str
    blamed: str
    says: str
    label: str = ""

    def __str__(self) -> str:
        return "-".join(part for part in (self.rpc, self.blamed, self.reason, self.label) if part)

    def request(self, alice: str) -> Message:
        """The request, with the client's id in its places."""
        return input_of(self.rpc)(**{name: _filled_in(value, alice) for name, value in self.fields.items()})

    def check(self, refusal: Refusal, alice: str) -> None:
        """Code, reason, field and text say what is wrong, in details of a size that travels, and tell no id in full."""
        assert (refusal.reason, refusal.domain) == (self.reason, "pixied"), refusal
        assert refusal.code == documented_codes()[self.reason]
        assert refusal.fields == (self.blamed,)
        assert self.says in refusal.text
        assert refusal.size < _MOST_DETAILS
        assert alice not in refusal.text
        assert NOBODY not in refusal.text


def _too_many(what: str) -> str:
    return f"1,001 {what} in one request; the limit is 1,000"


def _filled_in(value: Any, alice: str) -> Any:
    if isinstance(value, list):
        return [_filled_in(item, alice) for item in value]
    return alice if value == ALICE else value


def _ids(rpc: str, name: str, *, unknown: str = "CLIENT_UNKNOWN", **others: Any) -> Iterator[BadRequest]:
    """A required id: missing, too long, not known."""
    yield BadRequest(rpc, others, "FIELD_INVALID", name, "required", "missing")
    yield BadRequest(rpc, {name: _LONG, **others}, "FIELD_INVALID", name, "255 bytes", "long")
    yield BadRequest(rpc, {name: NOBODY, **others}, unknown, name, "0123…")


_NO_PATTERNS = {
    "empty": ("", "empty"),
    "relative": ("chat", "start with a slash"),
    "trailing slash": ("/chat/", "segment is empty"),
    "root": ("/", "segment is empty"),
    "empty segment": ("/chat//room", "segment is empty"),
    "wildcard inside": ("/chat/*/room", "whole last segment"),
    "wildcards inside": ("/chat/**/room", "whole last segment"),
    "wildcard in a segment": ("/chat*", "whole last segment"),
    "three stars": ("/chat/***", "whole last segment"),
    "space": ("/chat room", "A-Z a-z 0-9"),
    "CometD's characters": ("/chat.room", "A-Z a-z 0-9"),
    "not ASCII": ("/café", "A-Z a-z 0-9"),
    "digits of another script": ("/٣", "A-Z a-z 0-9"),
    "newline at the end": ("/chat\n", "A-Z a-z 0-9"),
    "NUL": ("/chat\0", "A-Z a-z 0-9"),
    "long": ("/" + "x" * 255, "255 bytes"),
    "33 levels": ("/x" * 33, "32 segments"),
    "a thousand levels": ("/x" * 1_000, "255 bytes"),
}


def _patterns(rpc: str, name: str, **others: Any) -> Iterator[BadRequest]:
    """A channel or pattern in a field of its own."""
    for label, (pattern, says) in _NO_PATTERNS.items():
        yield BadRequest(rpc, {name: pattern, **others}, "CHANNEL_INVALID", name, says, label)


def _channels(rpc: str) -> Iterator[BadRequest]:
    """A list of channels and patterns, of which one is wrong and the others are good."""
    yield from _ids(rpc, "client_id", channels=["/new"])
    yield BadRequest(rpc, {"client_id": ALICE}, "FIELD_INVALID", "channels", "at least one", "none")
    many = [f"/new/{number}" for number in range(_MANY)]
    yield BadRequest(rpc, {"client_id": ALICE, "channels": many}, "BATCH_TOO_LARGE", "channels", _too_many("channels"))
    for label, (pattern, says) in _NO_PATTERNS.items():
        fields = {"client_id": ALICE, "channels": ["/new", pattern, "/alice"]}
        yield BadRequest(rpc, fields, "CHANNEL_INVALID", "channels[1]", says, label)


def _reserved_channels() -> Iterator[BadRequest]:
    for pattern in ("/meta", "/meta/subscribe", "/meta/*", "/meta/**", "/service/a", "/service/**"):
        fields = {"client_id": ALICE, "channels": ["/new", pattern]}
        yield BadRequest("Subscribe", fields, "CHANNEL_RESERVED", "channels[1]", "reserved", pattern)


_BAD_MEMBERS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "no data": ({"data": ""}, "DATA_NOT_JSON", "data", "required"),
    "no JSON": ({"data": "{"}, "DATA_NOT_JSON", "data", "not JSON"),
    "two values": ({"data": "1 2"}, "DATA_NOT_JSON", "data", "not JSON"),
    "NaN": ({"data": "NaN"}, "DATA_NOT_JSON", "data", "not JSON"),
    "single quotes": ({"data": "{'a': 1}"}, "DATA_NOT_JSON", "data", "not JSON"),
    "control character": ({"data": '"\x01"'}, "DATA_NOT_JSON", "data", "not JSON"),
    "bottomless": ({"data": "[" * 200_000}, "DATA_NOT_JSON", "data", "not JSON"),
    "5 MB": ({"data": f'"{"x" * 5_000_000}"'}, "MESSAGE_TOO_LARGE", "", "larger than the limit of 1,048,576"),
    "ext is no JSON": ({"ext": "yes"}, "DATA_NOT_JSON", "ext", "not JSON"),
    "ext is empty": ({"ext": ""}, "DATA_NOT_JSON", "ext", "required"),
    "extra is no JSON": ({"extra": "{"}, "DATA_NOT_JSON", "extra", "not JSON"),
    "extra is no object": ({"extra": "[1]"}, "DATA_NOT_JSON", "extra", "JSON object"),
    "extra names channel": ({"extra": '{"channel": "/b"}'}, "DATA_NOT_JSON", "extra", "channel"),
    "extra names data": ({"extra": '{"data": 2}'}, "DATA_NOT_JSON", "extra", "data"),
    "extra names clientId": ({"extra": '{"client\\u0049d": "x"}'}, "DATA_NOT_JSON", "extra", "clientId"),
    "extra names id": ({"id": "1", "extra": '{"id": "2"}'}, "DATA_NOT_JSON", "extra", "id"),
    "extra names ext": ({"ext": "1", "extra": '{"ext": 2}'}, "DATA_NOT_JSON", "extra", "ext"),
    "id": ({"id": _LONG}, "FIELD_INVALID", "id", "255 bytes"),
    "id in bytes": ({"id": "é" * 128}, "FIELD_INVALID", "id", "255 bytes"),
    "publisher": ({"client_id": _LONG}, "FIELD_INVALID", "client_id", "255 bytes"),
    "key": ({"idempotency_key": _LONG}, "FIELD_INVALID", "idempotency_key", "255 bytes"),
    "pattern": ({"channel": "/chat/*"}, "CHANNEL_IS_PATTERN", "channel", "one channel"),
    "deep pattern": ({"channel": "/**"}, "CHANNEL_IS_PATTERN", "channel", "one channel"),
    "meta": ({"channel": "/meta/connect"}, "CHANNEL_RESERVED", "channel", "/meta/**"),
}


def _messages(rpc: str, **others: Any) -> Iterator[BadRequest]:
    """A list of messages, of which one is wrong and the others are good."""
    good = message("/alice")
    yield BadRequest(rpc, others, "FIELD_INVALID", "messages", "at least one", "none")
    yield BadRequest(rpc, {"messages": [good] * _MANY, **others}, "BATCH_TOO_LARGE", "messages", _too_many("messages"))
    invalid = {label: ({"channel": name}, "CHANNEL_INVALID", "channel", says)
               for label, (name, says) in _NO_PATTERNS.items()}  # fmt: skip
    for label, (members, reason, blamed, says) in (_BAD_MEMBERS | invalid).items():
        bad = message(**{"channel": "/alice", **members})
        where = f"messages[1].{blamed}".rstrip(".")
        yield BadRequest(rpc, {"messages": [good, bad, good], **others}, reason, where, says, label)


def _taken(rpc: str) -> Iterator[BadRequest]:
    """What DequeueFor and Deliver have in common."""
    yield from _ids(rpc, "client_id")
    yield BadRequest(rpc, {"client_id": ALICE, "ack_mode": 9}, "FIELD_INVALID", "ack_mode", "ACK_MODE_EXPLICIT")
    for cursor in ("?", "-1", " 1", "1" * 17, "ÿ", "ff"):
        yield BadRequest(
            rpc, {"client_id": ALICE, "ack_cursor": cursor}, "FIELD_INVALID", "ack_cursor", "cursor", cursor
        )


def _pages(rpc: str, **others: Any) -> Iterator[BadRequest]:
    yield BadRequest(rpc, {"page_size": 10_001, **others}, "FIELD_INVALID", "page_size", "10,000")
    for token in ("?", "é", "AAAA", "bm90IGEgdG9rZW4sIGJ1dCBsb25n", "="):
        yield BadRequest(rpc, {"page_token": token, **others}, "PAGE_TOKEN_INVALID", "page_token", "first page", token)


def _durations(rpc: str, name: str, wrong: Iterable[Duration], says: str, **others: Any) -> Iterator[BadRequest]:
    for duration in wrong:
        label = f"{duration.seconds}.{duration.nanos}"
        yield BadRequest(rpc, {name: duration, **others}, "TIMEOUT_OUT_OF_RANGE", name, says, label)


def _all() -> Iterator[BadRequest]:
    yield BadRequest("GenerateNamespace", {"length": 256}, "FIELD_INVALID", "length", "1 to 255")
    yield from _ids("ReleaseNamespace", "namespace", unknown="NAMESPACE_UNKNOWN")
    yield BadRequest("ReleaseNamespace", {"namespace": ALICE}, "NAMESPACE_IN_USE", "namespace", "destroy the client")

    wrong = (Duration(nanos=99_000_000), Duration(seconds=3_601), Duration(seconds=-1), Duration(seconds=1 << 62))
    yield from _durations("CreateClient", "session_timeout", (*wrong, Duration()), "0.1 s to 3600 s")
    crowd = {f"key {number}": "" for number in range(65)}
    yield BadRequest(
        "CreateClient",
        {"attributes": crowd},
        "BATCH_TOO_LARGE",
        "attributes",
        "65 attributes in one request; the limit is 64",
    )
    yield BadRequest("CreateClient", {"attributes": {"": "x"}}, "FIELD_INVALID", "attributes", "key is empty")
    yield BadRequest(
        "CreateClient",
        {"attributes": {"k": "x" * 8_192}},
        "MESSAGE_TOO_LARGE",
        "attributes",
        "8,193 bytes is larger than the limit of 8,192",
    )

    yield from _ids("GetClient", "client_id")
    yield BadRequest("PingClient", {}, "FIELD_INVALID", "client_id", "exactly one", "neither")
    both = {"client_id": ALICE, "client_ids": [ALICE]}
    yield BadRequest("PingClient", both, "FIELD_INVALID", "client_id", "exactly one", "both")
    yield BadRequest(
        "PingClient", {"client_ids": [NOBODY] * _MANY}, "BATCH_TOO_LARGE", "client_ids", _too_many("client_ids")
    )
    yield BadRequest("PingClient", {"client_id": NOBODY}, "CLIENT_UNKNOWN", "client_id", "0123…")
    yield from _ids("DestroyClient", "client_id")
    yield BadRequest("DestroyClient", {"client_id": ALICE, "reason": _LONG}, "FIELD_INVALID", "reason", "255 bytes")

    yield from _channels("Subscribe")
    yield from _reserved_channels()
    yield from _channels("Unsubscribe")
    yield from _patterns("SubscribersOf", "channel_pattern")
    yield from _pages("SubscribersOf", channel_pattern="/alice")
    yield from _ids("SubscribedTo", "client_id")
    yield from _ids("ClientSubscribed", "client_id", channel="/alice")
    yield from _patterns("ClientSubscribed", "channel", client_id=ALICE)

    yield from _ids("QueueFor", "client_id", messages=[message("/alice")])
    yield from _messages("QueueFor", client_id=ALICE)
    yield from _messages("Publish")
    for channel in ("/service", "/service/echo"):
        fields = {"messages": [message("/alice"), message(channel)]}
        yield BadRequest("Publish", fields, "CHANNEL_RESERVED", "messages[1].channel", "QueueFor", channel)

    yield from _taken("DequeueFor")
    yield BadRequest(
        "DequeueFor", {"client_id": ALICE, "max_messages": _MANY}, "FIELD_INVALID", "max_messages", "1,000"
    )
    yield from _durations("DequeueFor", "wait", wrong[1:], "0 s to 300 s", client_id=ALICE)
    yield from _taken("Deliver")

    for kind in (0, 9, -1):
        yield BadRequest("Watch", {"kinds": [kind]}, "FIELD_INVALID", "kinds", "EventKind", str(kind))
    yield from (one for one in _patterns("Watch", "channel_pattern") if one.label != "empty")
    yield BadRequest("Watch", {"client_id": _LONG}, "FIELD_INVALID", "client_id", "255 bytes")

    yield from (one for one in _patterns("ListClients", "channel_pattern") if one.label != "empty")
    yield from _pages("ListClients")
    yield BadRequest("ListClients", {"front_end": _LONG}, "FIELD_INVALID", "front_end", "255 bytes")
    yield from (one for one in _patterns("ListChannels", "channel_pattern") if one.label != "empty")
    yield from _pages("ListChannels")
    yield from _durations("Drain", "grace", wrong[1:], "0 s to 3600 s")


BAD_REQUESTS = tuple(_all())
