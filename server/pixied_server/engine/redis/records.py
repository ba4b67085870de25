"""Clients as Redis keeps them: their fields, and the cursors of what they have confirmed."""

from collections.abc import Mapping, Sequence

from pixied_server.engine.redis.claim import Cursors, Place
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.process import Process
from pixied_server.errors import ClientUnknown

__all__ = ["cursor_words", "cursors_of", "field_of", "log_of", "look", "record_of", "release_words"]


async def look(process: Process, client_id: str) -> tuple[dict[str, str], dict[Log, Place]]:
    """A client's fields and cursors.

    Raises:
        ClientUnknown.
    """
    done, *answer = await process.home(client_id).do("look", client_id)
    if not done:
        raise ClientUnknown(client_id)
    return record_of(answer[0]), cursors_of(answer[1])


def record_of(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash's fields as texts."""
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}


def field_of(log: Log) -> str:
    """The field of a log in a client's cursors."""
    return f"{log[1]}\0{log[0]}"


def log_of(field: bytes) -> Log:
    """The log of a field."""
    pattern, _, partition = field.decode().rpartition("\0")
    return int(partition), pattern


def cursors_of(flat: Sequence[bytes]) -> dict[Log, Place]:
    """All cursors of a client."""
    cursors = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True):
        place, _, offset = value.partition(b":")
        cursors[log_of(field)] = Place(int(place), int(offset))
    return cursors


def cursor_words(cursors: Cursors) -> list[str | int]:
    """Cursors as `partition.lua` takes them."""
    return [word for log, at in cursors.items() for word in (field_of(log), at.place, at.offset)]


def release_words(cursors: Cursors, sent: Mapping[int, int]) -> list[str | int]:
    """Cursors and sent positions as `partition.lua` takes them."""
    return [len(cursors), *cursor_words(cursors), len(sent), *(word for pair in sent.items() for word in pair)]
