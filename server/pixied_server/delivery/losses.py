"""What the logs have lost before a link had read it, until the clients are told."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from pixied_server.core.backlog import Loss
from pixied_server.delivery.audience import Audiences
from pixied_server.delivery.events import Lost

__all__ = ["Losses"]


class Losses:
    """Counts messages that are gone, for each log.

    A loss is for those who subscribed before the youngest of the messages that are gone. Not their handles are kept,
    for there may be many. Who subscribed while messages were being lost may be told of more than it lost, never of
    less.

    Args:
        audiences: who, on the link, gets what.
    """

    def __init__(self, audiences: Audiences) -> None:
        self._audiences = audiences
        self._losses: dict[str, dict[int, Loss]] = {}
        # What handles have lost that are in no audience any more, by pattern.
        self._alone: dict[int, Counter[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._losses or self._alone)

    def add(self, loss: Loss) -> None:
        """A log has lost messages."""
        if loss.pattern not in self._audiences:
            return
        losses = self._losses.setdefault(loss.pattern, {})
        before = losses.get(loss.partition)
        losses[loss.partition] = replace(loss, count=loss.count + before.count) if before else loss

    def leaves(self, handle: int) -> None:
        """A handle leaves all audiences, for its client reads by itself: what it lost is told all the same."""
        for by_partition in self._losses.values():
            for loss in by_partition.values():
                if handle in self._audiences.those_who_lost(loss):
                    self._alone.setdefault(handle, Counter())[loss.pattern] += loss.count

    def gone(self, handle: int, pattern: str | None = None) -> None:
        """A handle gets nothing more through a pattern; None for all."""
        if pattern is None:
            self._alone.pop(handle, None)
        elif handle in self._alone:
            del self._alone[handle][pattern]

    def forget(self, pattern: str) -> None:
        """Nobody who lost messages of this pattern is there any more."""
        self._losses.pop(pattern, None)

    def tell(self) -> Iterator[Lost]:
        """What each client lost since this was last asked."""
        losses, self._losses = self._losses, {}
        alone, self._alone = self._alone, {}
        for handle, counts in alone.items():
            for pattern, count in counts.items():
                yield Lost((handle,), pattern, count)
        for by_partition in losses.values():
            for loss in by_partition.values():
                if handles := self._audiences.those_who_lost(loss):
                    yield Lost(handles, loss.pattern, loss.count)
