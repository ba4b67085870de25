"""Bayeux messages as lines of JSON, taken apart without changing a byte of their payloads.

`json.loads` and `json.dumps` would rewrite numbers, drop doubled members and reorder nothing but whitespace; pixied
promises to carry JSON as the publisher wrote it, so only the outermost object is read here and its members' texts are
cut out as they stand.
"""

import json
import re
from json.decoder import JSONDecoder
from typing import Never

from pixied_client import Message

__all__ = ["LineError", "as_line", "check_json", "parse_line"]


class LineError(ValueError):
    """A line is no message; the text says what is wrong and what would be right."""


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


_visible = re.compile(r"[^ \t\r\n]")
_decoder = JSONDecoder(parse_constant=_no_constant)


def check_json(text: str, what: str) -> str:
    """Returns a JSON text as it is.

    Raises:
        LineError: It is none.
    """
    try:
        _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise LineError(f"{what} is not JSON ({error}); a string would need quotes, such as '\"hello\"'") from error
    return text


def parse_line(line: str) -> Message:
    """Reads `{"channel": "/a", "data": ..., "id": ..., "ext": ..., "clientId": ..., ...}`.

    `channel` and `data` are required. `id` and `clientId` are strings. Members of other names go along untouched.

    Raises:
        LineError: It is no such object.
    """
    members = _members(line)
    if missing := {"channel", "data"} - members.keys():
        raise LineError(f'{" and ".join(sorted(missing))} missing; right would be {{"channel": "/a", "data": 1}}')
    known = {name: members.pop(name, None) for name in ("channel", "data", "id", "ext", "clientId")}
    return Message(
        channel=_string(known["channel"], "channel") or "",
        data=known["data"] or "",
        id=_string(known["id"], "id"),
        ext=known["ext"],
        extra=_object(members) if members else None,
        client_id=_string(known["clientId"], "clientId") or "",
    )


def as_line(message: Message) -> str:
    """Writes a message as one line, the other way round; without its publisher, whom no one is to know."""
    members = {"channel": json.dumps(message.channel), "data": message.data}
    if message.id is not None:
        members["id"] = json.dumps(message.id, ensure_ascii=False)
    if message.ext is not None:
        members["ext"] = message.ext
    if message.extra is not None:
        members |= _members(message.extra)
    # Line breaks in JSON text are always whitespace between tokens: inside strings they are escaped.
    return _object(members).replace("\r", " ").replace("\n", " ")


def _object(members: dict[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in members.items()) + "}"


def _string(text: str | None, name: str) -> str | None:
    if text is None:
        return None
    value = json.loads(text)
    if not isinstance(value, str):
        raise LineError(f"{name} is {text}; right would be a string, in quotes")
    return value


def _members(text: str) -> dict[str, str]:
    """The members of a JSON object: each name with the text of its value."""
    try:
        whole = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise LineError(f"it is not JSON: {error}") from error
    if not isinstance(whole, dict):
        raise LineError('it is not a JSON object; right would be {"channel": "/a", "data": 1}')
    members: dict[str, str] = {}
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, _skip(text, at + 1 if text[at] == "," else at))
        start = _skip(text, _skip(text, at) + 1)
        _, end = _decoder.raw_decode(text, start)
        if name in members:
            raise LineError(f"it has two members named {name!r}")
        members[name] = text[start:end]
        at = _skip(text, end)
    return members


def _skip(text: str, at: int) -> int:
    """The index of the next character that is not whitespace."""
    found = _visible.search(text, at)
    return found.start() if found else len(text)
