"""Whoever holds a client, and what the hub tells it."""

from collections.abc import Sequence
from typing import Protocol

from pixied_server.core.log import Entry
from pixied_server.delivery.events import DetachReason
from pixied_server.engine.abc import Claim

__all__ = ["Follower", "Holder"]


class Follower(Protocol):
    """Who wants to know of mail in some patterns' logs. Plain functions: the hub calls them while a publish waits."""

    def on_mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """A message was appended to the logs of these patterns; this follower follows one of them at least."""
        ...

    def on_cut(self, pattern: str, position: int) -> None:
        """The log of a pattern that this follower follows lost the entry at a position."""
        ...

    def on_missed(self, pattern: str, position: int) -> None:
        """The log of a pattern that this follower follows lost an entry that was never announced."""
        ...


class Holder(Protocol):
    """Who holds one client."""

    claim: Claim

    def on_own_mail(self, entry: Entry) -> None:
        """A message was queued for the client."""
        ...

    def on_subscribed(self, pattern: str, position: int) -> None:
        """The client gets what is published to the pattern beyond the position."""
        ...

    def on_behind(self) -> None:
        """The client has to read on: there may be mail that is not announced to it."""
        ...

    def on_unsubscribed(self, pattern: str) -> None:
        """The client gets nothing more through the pattern."""
        ...

    def on_gone(self, reason: DetachReason, detail: str) -> None:
        """The client is no longer this holder's; the claim is void."""
        ...

    def progress(self) -> tuple[int, int]:
        """Up to which position the client has confirmed its mail, and up to which it may have got it."""
        ...
