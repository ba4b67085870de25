"""Clients and namespaces: see `scripts/clients.lua`."""

from collections.abc import Sequence
from typing import Any

from pixied_server.engine.redis.partition.protocol.answers import (
    Answer,
    Asker,
    Ended,
    Record,
    record_of,
    texts,
    truths,
)
from pixied_server.errors import NamespaceInUse, NamespaceUnknown

__all__ = ["ClientsProtocol"]


class ClientsProtocol(Asker):
    """A partition's operations on clients."""

    def create(self, client_id: str, timeout: float, attributes: str) -> Answer[tuple[float, float] | None]:
        """Start a session. Returns when it began and its deadline; None if the id is taken."""
        return self._ask(
            lambda result: (float(result[1]), float(result[2])) if result[0] else None,
            "create",
            client_id,
            repr(timeout),
            attributes,
        )

    def look(self, client_id: str) -> Answer[Record]:
        """Return a client's record. Raises ClientUnknown."""
        return self._of_client(client_id, lambda result: record_of(result[1], result[2]), "look")

    def ping(self, client_id: str) -> Answer[float | None]:
        """Begin its timeout anew. Returns the new deadline; None while it is kept alive. Raises ClientUnknown."""
        return self._of_client(client_id, lambda result: float(result[1]) if result[1] else None, "ping")

    def destroy(self, client_id: str, reason: str) -> Answer[tuple[list[str], str]]:
        """End a session. Returns its patterns, and the other process that owned it or "". Raises ClientUnknown."""
        return self._of_client(client_id, lambda result: (texts(result[1]), result[2].decode()), "destroy", reason)

    def expire(self, most: int) -> Answer[tuple[float | None, list[Ended]]]:
        """End sessions whose time is over. Returns in how many seconds the next one's is, and those that ended."""
        return self._ask(
            lambda result: (
                float(result[1]) if result[1] else None,
                [Ended(one.decode(), texts(patterns)) for one, patterns in result[2]],
            ),
            "expire",
            most,
        )

    def left(self, client_id: str, patterns: Sequence[str]) -> Answer[list[bool]]:
        """Note that a client is a member no more of patterns that it left. Returns which it subscribes to again."""
        return self._ask(truths, "left", client_id, len(patterns), *patterns)

    def leavings(self, age: float, cursor: str) -> Answer[tuple[str, list[Ended]]]:
        """Return the next cursor, and clients that have been leaving patterns for longer than so many seconds."""
        return self._ask(
            lambda result: (
                result[1].decode(),
                [Ended(one.decode(), patterns.decode().split("\n") if patterns else []) for one, patterns in result[2]],
            ),
            "leavings",
            repr(age),
            cursor,
        )

    def alive(self, client_ids: Sequence[str]) -> Answer[list[bool]]:
        """Return which of these clients are alive."""
        return self._ask(truths, "alive", len(client_ids), *client_ids)

    def reserve(self, namespace: str) -> Answer[bool]:
        """Reserve a namespace. Returns whether it was free."""
        return self._ask(lambda result: bool(result[0]), "reserve", namespace)

    def free(self, namespace: str) -> Answer[None]:
        """Free a namespace. Raises NamespaceInUse, NamespaceUnknown."""

        def freed(result: list[Any]) -> None:
            if not result[0]:
                raise NamespaceInUse(namespace) if result[1] == b"IN_USE" else NamespaceUnknown(namespace)

        return self._ask(freed, "free", namespace)
