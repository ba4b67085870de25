"""What arrived, looked at delivery by delivery: order, loss, duplicates."""

from collections.abc import Sequence

from pixied.v1 import attach_pb2 as attach

__all__ = ["CheckFailed", "Tally"]


class CheckFailed(Exception):
    """A benchmark's own traffic did not arrive as it has to: its figure is worth nothing."""


class Tally:
    """Deliveries to subscribers that all get the same messages. Each has to be its subscriber's next message.

    While all subscribers stand at the same message, a batch for all of them is checked against that one number: the
    same check, made once instead of a thousand times.

    Args:
        texts: the data that each subscriber gets, in order.
        subscribers: so many; their handles are 0 and up.

    Attributes:
        count: so many messages have come to all subscribers together, as long as they stand at the same one.
        complete: whether everyone has got everything.
    """

    def __init__(self, texts: Sequence[str], subscribers: int) -> None:
        self.count = 0
        self.complete = False
        self._texts = texts
        self._everyone = attach.Batch(handles=range(subscribers)).handles
        self._apart: dict[int, int] | None = None

    def take(self, batch: attach.Batch) -> None:
        """Count a batch.

        Raises:
            CheckFailed: a message is not its recipient's next one, or is marked as redelivered.
        """
        if batch.redelivered:
            raise CheckFailed("a message came twice, though no stream was broken")
        if self._apart is None and batch.handles == self._everyone:
            for message in batch.messages:
                self._look(message.data, self.count)
                self.count += 1
            self.complete = self.count == len(self._texts)
        else:
            self._take_apart(batch)

    def _take_apart(self, batch: attach.Batch) -> None:
        if self._apart is None:
            self._apart = dict.fromkeys(self._everyone, self.count)
        apart = self._apart
        for message in batch.messages:
            for handle in batch.handles:
                self._look(message.data, apart[handle])
                apart[handle] += 1
        self.complete = all(number == len(self._texts) for number in apart.values())

    def _look(self, data: str, number: int) -> None:
        if number >= len(self._texts) or data != self._texts[number]:
            raise CheckFailed(f"got {data:.14}, where message {number} of {len(self._texts)} was to come")
