"""Messages and their logs: see `scripts/messages.lua` and `scripts/logs.lua`."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from pixied_server.core.backlog import Loss
from pixied_server.engine.redis.partition.calls import Argument
from pixied_server.engine.redis.partition.codec import entry_of
from pixied_server.engine.redis.partition.protocol.answers import (
    Answer,
    Asker,
    LogState,
    Published,
    Read,
    check_key,
    nothing,
    number,
)

__all__ = ["MessagesProtocol"]


class MessagesProtocol(Asker):
    """A partition's operations on messages."""

    def publish(
        self, key: str, fingerprint: str, *, room: bool, bounds: tuple[int, int], stored: bytes, patterns: Sequence[str]
    ) -> Answer[Published]:
        """Append a message to the logs of these patterns. Raises KeyReused, KeyFull.

        Args:
            key: its idempotency key, or "".
            fingerprint: identifies the message that the key stands for.
            room: whether there is room for another key.
            bounds: how many messages, and bytes, a log may have.
            stored: the message.
            patterns: the patterns that its channel matches.
        """

        def published(result: list[Any]) -> Published:
            check_key(result)
            _, matched, duplicate, sequence, *logs = result
            offsets = {log.decode(): int(offset) for log, offset in zip(logs[::2], logs[1::2], strict=True)}
            return Published(int(matched), bool(duplicate), int(sequence), offsets)

        words: list[Argument] = [key, fingerprint, int(room), *bounds, stored, len(patterns), *patterns]
        return self._ask(published, "publish", *words)

    def queue(
        self, client_id: str, key: str, fingerprint: str, *, room: bool, bounds: tuple[int, int], stored: bytes
    ) -> Answer[Published]:
        """Append a message to a client's inbox. Raises ClientUnknown, KeyReused, KeyFull. See `publish`."""

        def queued(result: list[Any]) -> Published:
            check_key(result)
            _, duplicate, sequence, offset = result
            return Published(1, bool(duplicate), int(sequence), {client_id: int(offset)})

        return self._of_client(client_id, queued, "queue", key, fingerprint, int(room), *bounds, stored)

    def reserve_key(self, key: str, fingerprint: str, *, room: bool) -> Answer[bool]:
        """Reserve a key for a message. Returns whether it stood for it before. Raises KeyReused, KeyFull."""

        def reserved(result: list[Any]) -> bool:
            check_key(result)
            return bool(result[1])

        return self._ask(reserved, "reserve_key", key, fingerprint, int(room))

    def free_key(self, key: str) -> Answer[None]:
        """Free a key that was reserved in vain."""
        return self._ask(nothing, "free_key", key)

    def forget_keys(self, age: float, most: int) -> Answer[int]:
        """Forget keys that are older than so many seconds. Returns how many."""
        return self._ask(number, "forget_keys", repr(age), most)

    def read(
        self,
        logs: Sequence[tuple[str, int, int]],
        *,
        upto: int | None,
        messages: int,
        size: int,
        least: int = 1,
        announced: Sequence[int] = (),
    ) -> Answer[Read]:
        """Read logs.

        Args:
            logs: a pattern or client, and the sequence and offset that it was read to, for each.
            upto: the sequence to read to; None for everything.
            messages: at most so many, 1 or more.
            size: at most so many bytes.
            least: so many messages, 0 or 1, are read whatever their size.
            announced: the offset of each log's last message up to `upto`, -1 for none. Without it, messages that are
                gone are found out only if the log was not trimmed beyond `upto`.
        """

        def read(result: list[Any]) -> Read:
            _, reached, more, losses, messages = result
            entries, offsets = [], []
            for found in messages:
                name, at, stored, *places = found
                entries.append(entry_of(self.number, int(name.split(b"-")[0]), at, stored))
                offsets.append(
                    [(place - 1, int(offset)) for place, offset in zip(places[::2], places[1::2], strict=True)]
                )
            gone = [
                (place - 1, Loss(logs[place - 1][0], int(count), self.number, int(youngest)), int(offset))
                for place, count, youngest, offset in losses
            ]
            return Read(int(reached), bool(more), gone, entries, offsets)

        words = [word for log, last in zip(logs, announced or repeat(-1), strict=False) for word in (*log, last)]
        return self._ask(read, "read", messages, size, least, "" if upto is None else upto, len(logs), *words)

    def pending(self, exact: int, logs: Sequence[tuple[str, int]]) -> Answer[int]:
        """Count the messages of logs beyond a sequence for each, each message once if there are not too many."""
        return self._ask(number, "pending", exact, len(logs), *(word for log in logs for word in log))

    def sweep(self, age: float, work: int) -> Answer[bool]:
        """Take away messages that are older than so many seconds, some at a time. Returns whether there may be more."""
        return self._ask(lambda result: bool(result[1]), "sweep", repr(age), work)

    def shrink(self, size: int, upto: int, *, at_once: bool = False) -> Answer[tuple[int, int | None]]:
        """Take away the oldest messages up to a sequence, until so many bytes are free, or the call took long enough.

        Args:
            size: how many bytes.
            upto: the sequence.
            at_once: ahead of operations that wait.

        Returns:
            How many bytes are free, and the sequence of the oldest message left.
        """

        def shrunk(result: list[Any]) -> tuple[int, int | None]:
            return int(result[1]), int(result[2]) if result[2] else None

        if at_once:
            return Answer(asyncio.ensure_future(self.ask_at_once("shrink", size, upto)), shrunk)
        return self._ask(shrunk, "shrink", size, upto)

    def logs(self, names: Sequence[str]) -> Answer[list[LogState]]:
        """Return what logs hold."""
        return self._ask(
            lambda result: [LogState(subscribers, messages, int(size)) for subscribers, messages, size in result[1]],
            "logs",
            len(names),
            *names,
        )

    def lost(self, sequence: int, offsets: Mapping[str, int]) -> Answer[int]:
        """Note how far messages were announced, in all and in each log. Returns how many logs have lost some."""
        words = [word for pair in offsets.items() for word in pair]
        return self._ask(number, "lost", sequence, len(offsets), *words)

    def revived(self, log: str) -> Answer[None]:
        """Note that a log has lost an unknown number of messages: they count as one."""
        return self._ask(nothing, "revived", log)
