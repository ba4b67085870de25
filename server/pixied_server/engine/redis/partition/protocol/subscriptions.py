"""Subscriptions: see `scripts/subscriptions.lua`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pixied_server.engine.redis.partition.codec import Start, starts_text
from pixied_server.engine.redis.partition.protocol.answers import (
    Answer,
    Asker,
    Change,
    Joined,
    Parted,
    nothing,
    start_of,
    texts,
    truths,
)
from pixied_server.errors import ClientUnknown, LimitSubscriptions

__all__ = ["SubscriptionsProtocol"]


class SubscriptionsProtocol(Asker):
    """A partition's operations on subscriptions."""

    def join(self, pattern: str, client_id: str, *, wild: bool) -> Answer[Joined]:
        """Make a client a member of a pattern."""

        def joined(result: list[Any]) -> Joined:
            _, first, version, members, start, added = result
            return Joined(bool(first), bool(added), int(version), members, start_of(start))

        return self._ask(joined, "join", pattern, client_id, int(wild))

    def declare(self, pattern: str, version: int, members: int, *, begins: bool = True) -> Answer[tuple[Start, bool]]:
        """Note how many members a pattern of another partition has, and begin its log if that may be.

        Returns:
            The end of its log here, and whether that has begun now.
        """
        words = (pattern, version, members, int(begins))
        return self._ask(lambda result: (start_of(result[1]), bool(result[2])), "declare", *words)

    def declared(self, pattern: str) -> Answer[tuple[int, int]]:
        """Return a pattern's version and how many members it has, as far as this partition knows; zeros for no log."""
        return self._ask(lambda result: (int(result[1]), result[2]), "declared", pattern)

    def wildcards(self, cursor: str) -> Answer[tuple[str, list[str]]]:
        """Return the next cursor, "0" at the end, and some of the wildcards that have a log here."""
        return self._ask(lambda result: (result[1].decode(), texts(result[2])), "wildcards", cursor)

    def part(self, pattern: str, client_id: str, *, wild: bool) -> Answer[Parted]:
        """End a client's membership of a pattern."""

        def parted(result: list[Any]) -> Parted:
            _, last, version, members, removed = result
            return Parted(bool(last), int(version), members, bool(removed))

        return self._ask(parted, "part", pattern, client_id, int(wild))

    def joined(self, members: Sequence[tuple[str, str]]) -> Answer[None]:
        """Note that the clients' records have these subscriptions (pattern, client), or never will."""
        return self._ask(nothing, "joined", len(members), *(word for member in members for word in member))

    def unjoined(self, age: float, most: int) -> Answer[list[tuple[str, str]]]:
        """Return subscriptions (pattern, client) that the clients' records should have had so many seconds ago."""
        return self._ask(
            lambda result: [(pattern.decode(), client_id.decode()) for pattern, client_id in result[1]],
            "unjoined",
            repr(age),
            most,
        )

    def subscribe(
        self, client_id: str, most: int, starts: Mapping[str, Mapping[int, Start]]
    ) -> Answer[tuple[list[bool], Change]]:
        """Subscribe a client. Returns which patterns are new, and the change.

        Raises:
            ClientUnknown, LimitSubscriptions.
        """

        def subscribed(result: list[Any]) -> tuple[list[bool], Change]:
            if not result[0]:
                raise ClientUnknown(client_id) if result[1] == b"UNKNOWN" else LimitSubscriptions(most)
            return list(map(bool, result[1])), Change(result[2], result[3])

        words = [word for pattern, some in starts.items() for word in (pattern, starts_text(some))]
        return self._ask(subscribed, "subscribe", client_id, most, len(starts), *words)

    def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> Answer[tuple[list[bool], Change, str]]:
        """Unsubscribe a client. Raises ClientUnknown.

        Returns:
            Which patterns it had, the last change, and the other process that owns it or "".
        """
        return self._of_client(
            client_id,
            lambda result: (list(map(bool, result[1])), Change(result[2], result[3]), result[4].decode()),
            "unsubscribe",
            len(patterns),
            *patterns,
        )

    def subscribes(self, client_id: str, patterns: Sequence[str]) -> Answer[list[bool]]:
        """Return which of these patterns a client subscribes to. Raises ClientUnknown."""
        return self._of_client(client_id, truths, "subscribes", len(patterns), *patterns)

    def are_members(self, members: Sequence[tuple[str, str]]) -> Answer[list[bool]]:
        """Return which of these (pattern, client) are members."""
        words = [word for member in members for word in member]
        return self._ask(truths, "are_members", len(members), *words)

    def clients(self, after: str, most: int) -> Answer[list[str]]:
        """Return clients in ascending order."""
        return self._ask(lambda result: texts(result[1]), "clients", after, most)

    def patterns(self, after: str, most: int) -> Answer[list[str]]:
        """Return patterns whose members are here, in ascending order."""
        return self._ask(lambda result: texts(result[1]), "patterns", after, most)

    def members(self, pattern: str, after: str, most: int) -> Answer[list[str]]:
        """Return the members of a pattern in ascending order."""
        return self._ask(lambda result: texts(result[1]), "members", pattern, after, most)
