"""What scripts do on a Redis server, call by call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.redis_servers import Server

__all__ = ["Work", "watched"]

_SLOW_US = 1_000
_END = b"watched to its end"


@dataclass
class Work:
    """What the server did while it was watched.

    Attributes:
        heaviest: the most that one call did: commands, and stored messages that they might have looked at.
        longest: seconds that the longest call took, by the server's own SLOWLOG; what the machine did meanwhile counts.
    """

    heaviest: int = 0
    longest: float = 0.0


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[Work]:
    """Watch a server while the context lasts; what it did is known when it is left."""
    work = Work()
    server("CONFIG", "SET", "slowlog-log-slower-than", _SLOW_US, "slowlog-max-len", 1_000)
    server("SLOWLOG", "RESET")
    reader, writer = await asyncio.open_unix_connection(server.socket, limit=1 << 24)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"
    watching = asyncio.create_task(_watch(reader, work))
    try:
        yield work
        await asyncio.to_thread(server, "ECHO", _END)
        await watching
        work.longest = max([slow[2] for slow in server("SLOWLOG", "GET", -1)], default=0) / 1e6
    finally:
        watching.cancel()
        writer.transport.abort()


async def _watch(reader: asyncio.StreamReader, work: Work) -> None:
    done = 0
    while _END not in (line := await reader.readline()):
        words = line.split(b" ")
        # The call itself comes first, and then what it does.
        done = done + _weight(words[3:]) if words[2:3] == [b"lua]"] else 0
        work.heaviest = max(work.heaviest, done)


def _weight(words: list[bytes]) -> int:
    """1 for a command, and what it may look at. What is trimmed without a limit was looked at before."""
    if words[0] == b'"XRANGE"':
        return int(_after(b'"COUNT"', words) or _ALL)
    if words[0] == b'"XTRIM"':
        return int(_after(b'"LIMIT"', words) or 1)
    return 1


def _after(word: bytes, words: list[bytes]) -> bytes:
    return words[words.index(word) + 1].strip(b'"\r\n') if word in words else b""


_ALL = 1_000_000
