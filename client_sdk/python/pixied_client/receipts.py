"""Which deliveries of a link can be confirmed: pure bookkeeping.

A link's `ack` is cumulative, but its deliveries are dealt with out of order, each by the consumers of several clients.
So a delivery counts as dealt with when its last consumer has released it, and the link can confirm up to the first one
that has not been. Numbers ascend over all links of a front-end: those of a link begin where the one before it ended.
"""

__all__ = ["Receipts"]


class Receipts:
    """The deliveries that came and are not yet dealt with."""

    def __init__(self) -> None:
        self._base = 0
        self._last = 0
        self._confirmable = 0
        self._consumers: dict[int, int] = {}

    def begin(self) -> None:
        """Begin a new link: what the old one did not confirm comes again under new numbers."""
        self._base = self._confirmable = self._last
        self._consumers.clear()

    def came(self, link_number: int, consumers: int) -> int:
        """Note a delivery which so many consumers have to release; give its number over all links."""
        self._last = self._base + link_number
        self._consumers[self._last] = consumers
        self._advance()
        return self._last

    @property
    def last(self) -> int:
        """The number over all links of the newest delivery."""
        return self._last

    def on_link(self, number: int) -> int:
        """Give the number on this link; 0 or less is a delivery of a link that is gone."""
        return number - self._base

    def released(self, number: int) -> None:
        """Note that one consumer has dealt with a delivery. One of a link that is gone is no matter any more."""
        if number in self._consumers:
            self._consumers[number] -= 1
            self._advance()

    @property
    def confirmable(self) -> int:
        """The number on this link up to which everything has been dealt with."""
        return self._confirmable - self._base

    @property
    def settled(self) -> bool:
        """Whether everything that came has been dealt with."""
        return not self._consumers

    def _advance(self) -> None:
        while self._consumers.get(self._confirmable + 1, 1) <= 0:
            self._confirmable += 1
            del self._consumers[self._confirmable]
