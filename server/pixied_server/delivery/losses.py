"""What a link that is behind will not find in the logs any more, and who lost it."""

from collections import Counter
from collections.abc import Iterator

from pixied_server.delivery.audience import Audiences
from pixied_server.delivery.events import Lost

__all__ = ["Losses"]

# Losses of one pattern are gathered anew when they are noted under so many subscriptions, and twice as many as before.
_MANY = 1_000


class Losses:
    """Counts messages that logs lost before a link had read them, until the clients are told.

    A loss is for those who subscribed before the message came. Not their handles are noted, for there may be many, but
    the youngest of their subscriptions: whoever subscribes later does so at a higher position. So what is kept grows
    with the number of moments at which clients subscribed, not with the number of messages or of clients.

    Args:
        audiences: who, on the link, gets what.
    """

    def __init__(self, audiences: Audiences) -> None:
        self._audiences = audiences
        self._counts: dict[str, Counter[int]] = {}
        self._crowded = _MANY

    def note(self, pattern: str, position: int) -> None:
        """The log of a pattern lost the message at a position."""
        since = self._audiences.youngest_before(pattern, position)
        if since is None:
            return
        counts = self._counts.setdefault(pattern, Counter())
        counts[since] += 1
        if len(counts) > self._crowded:
            self._gather(pattern)

    def forget(self, pattern: str) -> None:
        """Nobody who lost mail of this pattern is there any more."""
        self._counts.pop(pattern, None)

    def tell(self) -> Iterator[Lost]:
        """What each client lost since this was last asked."""
        counts, self._counts, self._crowded = self._counts, {}, _MANY
        for pattern, lost in counts.items():
            for since, count in lost.items():
                handles = self._audiences.subscribed_by(pattern, since)
                if handles:
                    yield Lost(handles, pattern, count)

    def _gather(self, pattern: str) -> None:
        """What was noted for subscriptions that have ended goes to the youngest before them, or to nobody."""
        gathered: Counter[int] = Counter()
        for since, count in self._counts[pattern].items():
            still = self._audiences.youngest_before(pattern, since + 1)
            if still is not None:
                gathered[still] += count
        self._counts[pattern] = gathered
        self._crowded = max(_MANY, 2 * len(gathered))
