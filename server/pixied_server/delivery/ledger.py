"""The deliveries of a link: how far each reached, and which are confirmed."""

from collections import deque

from pixied_server.core.progress import NOTHING, Progress
from pixied_server.errors import StreamProtocol

__all__ = ["Ledger"]

# How many deliveries are remembered where clients confirm by themselves: the largest window. An older confirmation
# moves nothing, which can only cause a message to come again.
_KEPT = 65_536


class Ledger:
    """Numbers a link's deliveries and remembers how far each reached.

    Args:
        window: so many deliveries may be unconfirmed.

    Attributes:
        number: the number of the last delivery; 0 before the first.
        acked: every delivery up to this number is confirmed by the front-end.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self.number = 0
        self.acked = 0
        # How far the last deliveries reached, the youngest last.
        self._reached: deque[Progress] = deque(maxlen=_KEPT)

    @property
    def open(self) -> bool:
        """Whether another delivery may be sent."""
        return self.number - self.acked < self._window

    def record(self, progress: Progress) -> int:
        """Record a delivery that reaches a progress. Return its number."""
        self.number += 1
        self._reached.append(progress)
        return self.number

    def check(self, number: int) -> None:
        """Refuse to confirm what was not sent.

        Raises:
            StreamProtocol: the number is beyond the last delivery's.
        """
        if number > self.number:
            raise StreamProtocol(f"delivery {number} was confirmed, but the last one sent is {self.number}")

    def ack(self, number: int) -> None:
        """Confirm every delivery up to a number."""
        self.check(number)
        self.acked = max(self.acked, number)

    def progress_at(self, number: int) -> Progress:
        """Return how far a delivery reached; `NOTHING` if that is no longer known."""
        back = self.number - number
        return self._reached[-1 - back] if 0 <= back < len(self._reached) else NOTHING

    def forget_acked(self) -> None:
        """Forget the deliveries before the last confirmed delivery: for links on which no client confirms by itself."""
        while len(self._reached) > self.number - self.acked + 1:
            self._reached.popleft()
