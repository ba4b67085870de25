"""Bayeux messages as they travel: objects whose members keep the JSON text that their author wrote.

Nothing that is only handed on is parsed and written again: no number loses precision, no member changes its place.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias

from msgspec import DecodeError, Raw, ValidationError
from msgspec import json as fast_json

from pixied_client.bayeux.refusal import Malformed, Refusal
from pixied_client.values import Message

__all__ = ["BayeuxMessage", "Json", "bayeux_message_of", "delivered", "encoded", "parsed"]

Json: TypeAlias = Any
"""What JSON can say: None, bool, int, float, str, list or dict."""

_decoder: Final = fast_json.Decoder(dict[str, Raw] | list[dict[str, Raw]])
_encoder: Final = fast_json.Encoder()

# Members that Bayeux reserves, which a publisher can't put into what others get: they mean something to their clients.
# Faye's obeys the advice of any message, and takes what is successful, or not, for a reply.
_RESERVED: Final = frozenset(
    {
        "channel",
        "data",
        "clientId",
        "advice",
        "successful",
        "error",
        "subscription",
        "connectionType",
        "version",
        "minimumVersion",
        "supportedConnectionTypes",
    }
)
# Members that are sent to pixied as text, and not as the JSON that they were written in.
_SENT_AS_TEXT: Final = frozenset({"channel", "clientId", "subscription", "connectionType"})
# A name may be written with escapes.
_MAY_BE_RESERVED: Final = re.compile("|".join([r"\\", *(f'"{name}"' for name in sorted(_RESERVED))]))
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DIGITS: Final = 4_000  # Python refuses to read numbers of more than 4,300
_PLAIN_ID: Final = re.compile(rb'"[ !#-\[\]-~]{0,255}"')


class BayeuxMessage:
    """One message or reply. Reading a member parses it, the others stay as they were written.

    Args:
        members: the members' values; a `Raw` is JSON text that is handed on as it is.
        answers: for a reply: the message that it answers.
    """

    __slots__ = ("answers", "members")

    def __init__(self, members: dict[str, Json] | None = None, answers: "BayeuxMessage | None" = None) -> None:
        self.members: dict[str, Json] = {} if members is None else members
        self.answers = answers

    def __repr__(self) -> str:
        return f"<BayeuxMessage {self.channel}>"  # no payload and no client id: they are secrets

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def __getitem__(self, name: str) -> Json:
        """Parse a member.

        Raises:
            KeyError: there is none such.
        """
        value = self.members[name]
        return _loaded(value) if isinstance(value, Raw) else value

    def __setitem__(self, name: str, value: Json) -> None:
        """Set a member to a value that JSON can say. What was read from it before does not change."""
        self.members[name] = value

    def __delitem__(self, name: str) -> None:
        del self.members[name]

    def get(self, name: str, default: Json = None) -> Json:
        """Parse a member, or give the default where there is none."""
        return self[name] if name in self.members else default

    def text(self, name: str) -> str | None:
        """Read a member that has to be a string; None where it is something else or missing."""
        value = self.get(name)
        return value if isinstance(value, str) else None

    def object(self, name: str) -> dict[str, Json]:
        """Read a member that has to be an object; an empty one where it is something else or missing."""
        value = self.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def channel(self) -> str:
        """The channel's name; empty where there is none."""
        return self.text("channel") or ""

    @property
    def client_id(self) -> str:
        """The sender's client id; empty where there is none. A secret."""
        return self.text("clientId") or ""

    @property
    def data(self) -> Json:
        """The payload as a value."""
        return self.get("data")

    @property
    def ext(self) -> dict[str, Json]:
        """The extensions' fields, to be read; `extend` changes them."""
        return self.object("ext")

    @property
    def error(self) -> str:
        """Why it was or shall be refused, as `code:args:text`; empty if it was not."""
        return self.text("error") or ""

    def extend(self, name: str, value: Json) -> None:
        """Set one of the extensions' fields."""
        self["ext"] = {**self.ext, name: value}

    def raw(self, name: str) -> str | None:
        """The JSON text of a member, as it was written; None where there is none."""
        value = self.members.get(name, _ABSENT)
        return None if value is _ABSENT else _written(value)

    def to_publish(self, *, client_id: str, to_publisher: bool = True) -> Message:
        """Make of it what pixied publishes.

        Args:
            client_id: who publishes it; empty for nobody.
            to_publisher: whether that client gets it too, if it subscribes to the channel.
        """
        message_id, extra = self._plain_id(), self._extra()
        if message_id is None and "id" in self.members:
            extra["id"] = self.members["id"]
        return Message(
            self.channel,
            self.raw("data") or "null",
            id=message_id,
            ext=self.raw("ext"),
            extra=BayeuxMessage(extra).json() if extra else None,
            client_id=client_id,
            exclude_publisher=bool(client_id) and not to_publisher,
        )

    def reply(self) -> "BayeuxMessage":
        """Begin a reply: what it answers, and to whom. A handshake's sender has no client id yet, whatever it says."""
        reply = BayeuxMessage({}, self)
        for name in ("channel", "id"):
            if name in self.members:
                reply[name] = self.members[name]
        if self.channel != "/meta/handshake" and self.get("clientId") not in (None, ""):
            reply["clientId"] = self.members["clientId"]
        return reply

    def json(self) -> str:
        """The whole message as JSON text."""
        try:
            return _encoder.encode(self.members).decode()
        except UnicodeError:
            return f"{{{','.join(f'{json.dumps(name)}:{_written(value)}' for name, value in self.members.items())}}}"

    def _plain_id(self) -> str | None:
        """The id, if it can travel as a string and come out again as it was written."""
        value = self.members.get("id")
        if isinstance(value, str):
            return value
        written = bytes(value) if isinstance(value, Raw) else b""
        return written[1:-1].decode() if _PLAIN_ID.fullmatch(written) else None

    def _extra(self) -> dict[str, Json]:
        return {name: value for name, value in self.members.items() if name not in _RESERVED | {"id", "ext"}}


_ABSENT: Final = object()


def parsed(text: str | bytes, *, depth: int) -> list[BayeuxMessage]:
    """Read one message or an array of them.

    Args:
        text: JSON text, perhaps after a byte order mark; bytes are UTF-8.
        depth: how deep objects and arrays may be in each other.

    Raises:
        Malformed: it is not UTF-8, not JSON, too deep, or neither an object nor an array of objects.
    """
    _check_encoding(text)
    text = text.removeprefix("\ufeff") if isinstance(text, str) else text.removeprefix(BOM_UTF8)
    _check_depth(text, depth)
    leniently = False
    try:
        found = _decoder.decode(text)
    except ValidationError as error:
        raise Malformed("a message is a JSON object, and a request is one or an array of them") from error
    except (DecodeError, UnicodeError, RecursionError):
        found, leniently = _parsed_leniently(text), True
    messages = [BayeuxMessage(members) for members in (found if isinstance(found, list) else [found])]
    for message in messages:
        message.members.pop("error", None)  # extensions refuse by it; a client can't do that to itself
        if leniently and (name := _unsendable(message)) is not None:
            message["error"] = str(Refusal(400, "Half of a surrogate pair", name))
    return messages


def _unsendable(message: BayeuxMessage) -> str | None:
    """Return which member has half of a surrogate pair where text is sent, which is UTF-8; None if there is none."""
    for name in message.members:
        if not _is_sendable(name) or (name in _SENT_AS_TEXT and not _is_sendable(message[name])):
            return name
    return None


def _is_sendable(value: Json) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def delivered(message: Message) -> str:
    """Write a message that pixied delivers as its JSON text: every member as its publisher wrote it."""
    parts = [f'{{"channel":{_quoted(message.channel)},"data":{message.data}']
    if message.id is not None:
        parts.append(f'"id":{_quoted(message.id)}')
    if message.ext is not None:
        parts.append(f'"ext":{message.ext}')
    if message.extra is not None and (extra := _handed_on(message.extra).strip()[1:-1].strip()):
        parts.append(extra)
    return ",".join(parts) + "}"


def _handed_on(extra: str) -> str:
    """Drop reserved members: who publishes without a front-end may have set some."""
    if not _MAY_BE_RESERVED.search(extra):
        return extra
    kept = [(json.dumps(name), bytes(value).decode()) for name, value in _members(extra) if name not in _RESERVED]
    return f"{{{','.join(f'{name}:{value}' for name, value in kept)}}}"


def bayeux_message_of(message: Message) -> BayeuxMessage:
    """Make a message that pixied delivers one that extensions can change."""
    return BayeuxMessage(dict(_members(delivered(message))))


def encoded(replies: Iterable[BayeuxMessage], messages: Iterable[str] = ()) -> str:
    """Write an array of replies and, after them, of messages that are JSON text already."""
    return f"[{','.join([*(reply.json() for reply in replies), *messages])}]"


def _quoted(text: str) -> str:
    return _encoder.encode(text).decode()


def _loaded(raw: Raw) -> Json:
    """Read a value whose JSON is known to be right."""
    text = bytes(raw)
    try:
        return fast_json.decode(text)
    except (DecodeError, UnicodeError):
        # Half of a surrogate pair, which JavaScript may write and msgspec does not read; or a number out of range.
        return json.loads(text, parse_float=_finite, parse_int=_bounded)


def _finite(written: str) -> float | None:
    """Read a number that JSON can say and no double can be as null, which is how JavaScript writes infinity."""
    value = float(written)
    return value if isfinite(value) else None


def _bounded(written: str) -> int:
    """Read as many digits as Python reads: more are out of every range, and so is this."""
    return int(written[:_DIGITS])


def _written(value: Json) -> str:
    if isinstance(value, Raw):
        return bytes(value).decode()
    try:
        return _encoder.encode(value).decode()
    except UnicodeError:
        # Half of a surrogate pair, in a value that an extension has read and handed on: as an escape it can be sent.
        return json.dumps(value)


def _check_encoding(text: str | bytes) -> None:
    """Refuse what is not UTF-8 before anything is done: msgspec does not look into values that are handed on."""
    try:
        if isinstance(text, bytes):
            text.decode()
        else:
            text.encode()
    except UnicodeError as error:
        raise Malformed("it is not UTF-8") from error


def _check_depth(text: str | bytes, limit: int) -> None:
    """Refuse what is too deep. Where there are not so many brackets in all, that is known without a closer look."""
    if isinstance(text, str):
        text = text.encode(errors="surrogatepass")
    if text.count(b"[") + text.count(b"{") <= limit:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        mark = token[0]
        depth += (mark in b"[{") - (mark in b"]}")
        if depth > limit:
            raise Malformed(f"it is more than {limit} levels deep")


_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def _parsed_leniently(text: str | bytes) -> list[dict[str, Json]]:
    """Read what msgspec does not: half surrogate pairs. What is malformed by any rule fails here too."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        whole = json.loads(text, parse_constant=_refused, parse_int=_bounded)
        if isinstance(whole, dict):
            return [dict(_members(text))]
        return [dict(_members(item)) for item in _items(text)]
    except (ValueError, RecursionError) as error:
        raise Malformed("it is not JSON") from error


def _refused(constant: str) -> Json:
    raise ValueError(constant)


_values: Final = json.JSONDecoder(parse_int=_bounded)


def _members(text: str) -> Iterator[tuple[str, Raw]]:
    """The members of an object whose JSON is known to be right: names, and values as they are written."""
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "}":
        at = _after_space(text, at + 1) if text[at] == "," else at
        name, at = _values.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)
        _, at = _values.raw_decode(text, start)
        yield name, Raw(text[start:at].encode(errors="surrogatepass"))
        at = _after_space(text, at)


def _items(text: str) -> Iterator[str]:
    """The objects of an array whose JSON is known to be right."""
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "]":
        at = _after_space(text, at + 1) if text[at] == "," else at
        item, end = _values.raw_decode(text, at)
        if not isinstance(item, Mapping):
            raise Malformed("a message is a JSON object, and a request is one or an array of them")
        yield text[at:end]
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
