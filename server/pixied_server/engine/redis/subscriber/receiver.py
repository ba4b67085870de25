"""Who takes what a process receives."""

from collections.abc import Sequence
from typing import Protocol

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry

__all__ = ["Receiver"]


class Receiver(Protocol):
    """Who takes what is received. Plain functions."""

    def message(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """A message of followed patterns, in the order of each partition's sequences."""
        ...

    def own_message(self, client_id: str, entry: Entry) -> None:
        """A message of an inbox."""
        ...

    def missed(self, loss: Loss) -> None:
        """Messages of a followed pattern that are gone before they could be read."""
        ...

    def own_missed(self, client_id: str) -> None:
        """The same of an inbox."""
        ...

    def notified(self, kind: str, words: Sequence[str]) -> None:
        """Anything else that a process is notified of."""
        ...

    def restored(self, partition: int) -> None:
        """A partition is received again after it was not: there may have been other notifications meanwhile."""
        ...
