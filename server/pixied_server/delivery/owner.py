"""Owners of clients and followers of patterns, as the hub sees them."""

from collections.abc import Sequence
from typing import Protocol

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import Progress
from pixied_server.delivery.events import DetachReason
from pixied_server.engine.abc import Claim, Delivered

__all__ = ["Follower", "Owner"]


class Follower(Protocol):
    """Gets the messages of some patterns' logs. Plain functions: the hub calls them while a publish waits."""

    def on_published(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """A message was appended to the logs of these patterns. This follower follows at least one of them."""
        ...

    def on_missed(self, loss: Loss) -> None:
        """The log of a pattern that this follower follows lost messages that were never announced."""
        ...


class Owner(Protocol):
    """Has one client, and gets its messages: a link's attachment, or a tap."""

    claim: Claim

    def on_queued(self, entry: Entry) -> None:
        """A message was queued for the client."""
        ...

    def on_subscribed(self, pattern: str, since: Progress) -> None:
        """The client gets what is published to the pattern from here on."""
        ...

    def on_behind(self) -> None:
        """The client has to read its logs: there may be messages that are not announced to it."""
        ...

    def on_own_missed(self, loss: Loss) -> None:
        """The client's inbox lost messages that were never announced; younger ones may have been."""
        ...

    def on_unsubscribed(self, pattern: str) -> None:
        """The client gets nothing more through the pattern."""
        ...

    def on_gone(self, reason: DetachReason, detail: str) -> None:
        """The client is no longer this owner's; the claim is void."""
        ...

    def delivered(self) -> Delivered:
        """Return how far the client's messages have come."""
        ...
