"""What a link that is behind will not find in the logs any more, and who lost it."""

from collections import Counter
from collections.abc import Iterator

from pixied_server.delivery.audience import Audiences
from pixied_server.delivery.events import Lost

__all__ = ["Losses"]


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
        self._counts: Counter[tuple[str, int]] = Counter()

    def note(self, pattern: str, position: int) -> None:
        """The log of a pattern lost the message at a position."""
        since = self._audiences.youngest_before(pattern, position)
        if since is not None:
            self._counts[pattern, since] += 1

    def tell(self) -> Iterator[Lost]:
        """What each client lost since this was last asked."""
        counts, self._counts = self._counts, Counter()
        for (pattern, since), count in counts.items():
            handles = self._audiences.subscribed_by(pattern, since)
            if handles:
                yield Lost(handles, pattern, count)
