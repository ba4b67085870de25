"""The receiver of a process's notifications."""

from collections.abc import Sequence
from typing import Protocol

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry

__all__ = ["Receiver"]


class Receiver(Protocol):
    """Takes what the subscriber receives. Plain functions."""

    def message(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """Take a message of followed patterns, in the order of each partition's sequences."""
        ...

    def own_message(self, client_id: str, entry: Entry) -> None:
        """Take a message of an inbox."""
        ...

    def missed(self, loss: Loss) -> None:
        """Note that messages of a followed pattern were trimmed before they could be read."""
        ...

    def own_missed(self, client_id: str, loss: Loss) -> None:
        """Note the same of an inbox."""
        ...

    def notified(self, kind: str, words: Sequence[str]) -> None:
        """Take any other notification."""
        ...

    def restored(self, partition: int) -> None:
        """Note that a partition is received again: other notifications may have been missed meanwhile."""
        ...
