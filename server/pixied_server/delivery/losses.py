"""Messages that logs have lost before a link had read them, until its clients are notified."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from pixied_server.core.backlog import Loss
from pixied_server.delivery.audience import Audiences
from pixied_server.delivery.events import Lost

__all__ = ["Losses"]


class Losses:
    """Counts messages that are gone, for each log.

    A loss concerns clients that subscribed before the youngest of the messages that are gone. Their handles are not
    kept, as there may be many. A client that subscribed while messages were being lost may be notified of more than it
    lost, never of less.

    Args:
        audiences: the audiences of the link.
    """

    def __init__(self, audiences: Audiences) -> None:
        self._audiences = audiences
        self._losses: dict[str, dict[int, Loss]] = {}
        # Losses of handles that are in no audience any more, by pattern.
        self._alone: dict[int, Counter[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._losses or self._alone)

    def add(self, loss: Loss) -> None:
        """Add messages that a log has lost."""
        if loss.pattern not in self._audiences:
            return
        losses = self._losses.setdefault(loss.pattern, {})
        before = losses.get(loss.partition)
        losses[loss.partition] = replace(loss, count=loss.count + before.count) if before else loss

    def leaves(self, handle: int) -> None:
        """Keep the losses of a handle that leaves all audiences, as its client reads by itself."""
        for by_partition in self._losses.values():
            for loss in by_partition.values():
                if handle in self._audiences.those_who_lost(loss):
                    self._alone.setdefault(handle, Counter())[loss.pattern] += loss.count

    def add_alone(self, handle: int, count: int) -> None:
        """Add messages that a client's inbox has lost."""
        self._alone.setdefault(handle, Counter())[""] += count

    def gone(self, handle: int, pattern: str | None = None) -> None:
        """Forget the losses of a handle that gets nothing more through a pattern; None for all."""
        if pattern is None:
            self._alone.pop(handle, None)
        elif handle in self._alone:
            del self._alone[handle][pattern]

    def forget(self, pattern: str) -> None:
        """Forget the losses of a pattern that no client of the link subscribes to any more."""
        self._losses.pop(pattern, None)

    def tell(self) -> Iterator[Lost]:
        """Yield what each client lost since the last call."""
        losses, self._losses = self._losses, {}
        alone, self._alone = self._alone, {}
        for handle, counts in alone.items():
            for pattern, count in counts.items():
                yield Lost((handle,), pattern, count)
        for by_partition in losses.values():
            for loss in by_partition.values():
                if handles := self._audiences.those_who_lost(loss):
                    yield Lost(handles, loss.pattern, loss.count)
