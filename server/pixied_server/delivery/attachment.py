"""A client's place on a link."""

from bisect import bisect_right
from typing import Protocol

from pixied_server.core.log import Entry
from pixied_server.delivery.audience import Audience, Audiences
from pixied_server.delivery.events import Batch, DetachReason
from pixied_server.delivery.ledger import Ledger
from pixied_server.engine.abc import Claim, Reading

__all__ = ["Attachment", "Carrier"]


class Carrier(Protocol):
    """The link, as its attachments see it."""

    ledger: Ledger
    audiences: Audiences

    @property
    def position(self) -> int:
        """Everything up to this position has been put into deliveries for all live clients."""
        ...

    def position_at(self, number: int) -> int:
        """Everything up to this position was in the deliveries up to a number."""
        ...

    def on_own_mail(self, attachment: "Attachment", entry: Entry) -> None:
        """A message was queued for one of the link's clients."""
        ...

    def on_behind(self, attachment: "Attachment") -> None:
        """One of the link's clients has to read on."""
        ...

    def on_gone(self, attachment: "Attachment", reason: DetachReason, detail: str) -> None:
        """A client is no longer on this link."""
        ...


class Attachment:
    """A client on a link. First it catches up, reading its own logs; then it is live and gets what the link gets.

    Args:
        link: the link.
        claim: the claim on the client.
        handle: the client's number on the link.
        explicit: only the client's own confirmations count, not the link's.

    Attributes:
        live: whether it has caught up and joined the link's live mail.
        acked: the client itself has confirmed every delivery up to this number.
        joined_upto: once live: it had its mail up to this position before it joined.
    """

    __slots__ = (
        "_joined_at",
        "_trail",
        "acked",
        "alone",
        "claim",
        "explicit",
        "handle",
        "joined_upto",
        "link",
        "live",
    )

    def __init__(self, link: Carrier, claim: Claim, handle: int, *, explicit: bool) -> None:
        self.link = link
        self.claim = claim
        self.handle = handle
        self.explicit = explicit
        self.live = False
        self.acked = 0
        self.alone = Audience((handle,))
        # While catching up: numbers of the deliveries with its mail, and the position each reached.
        self._trail: list[tuple[int, int]] = []
        self._joined_at = 0
        self.joined_upto = 0

    def caught(self, reading: Reading, number: int) -> list[Batch]:
        """Mail that it was behind with, or the news that it is lost, goes out with the delivery of this number."""
        if reading.entries or reading.losses:
            self._forget_confirmed()
            self._trail.append((number, reading.upto))
        maybe = reading.redelivered
        parts = ((reading.entries[:maybe], True), (reading.entries[maybe:], False))
        return [Batch(entries, self.alone, redelivered) for entries, redelivered in parts if entries]

    def join(self, position: int) -> None:
        """It has read everything up to a position: from here on it is live."""
        self.claim.join()
        self.live = True
        self._joined_at = self._trail[-1][0] if self._trail else 0
        self.joined_upto = position

    def fall_back(self) -> None:
        """It gets what the link has put together until now, and reads on by itself."""
        confirmed, sent = self.progress()
        self._trail = [(0, confirmed), (self.link.ledger.number + 1, sent)]
        self.claim.seek(sent)
        self.live = False

    def progress(self) -> tuple[int, int]:
        """See `Holder`."""
        return self._position_at(self._confirmed_number()), self._sent()

    def _confirmed_number(self) -> int:
        return self.acked if self.explicit else max(self.acked, self.link.ledger.acked)

    def _forget_confirmed(self) -> None:
        """Of what is confirmed the last step is enough."""
        confirmed = bisect_right(self._trail, self._confirmed_number(), key=_number)
        del self._trail[: max(confirmed - 1, 0)]

    def on_own_mail(self, entry: Entry) -> None:
        """See `Holder`."""
        self.link.on_own_mail(self, entry)

    def on_subscribed(self, pattern: str, position: int) -> None:
        """See `Holder`."""
        if self.live:
            self.link.audiences.add(pattern, self.handle, position)
        else:
            self.link.on_behind(self)

    def on_behind(self) -> None:
        """See `Holder`."""
        self.link.on_behind(self)

    def on_unsubscribed(self, pattern: str) -> None:
        """See `Holder`."""
        self.link.audiences.discard(pattern, self.handle)

    def on_gone(self, reason: DetachReason, detail: str) -> None:
        """See `Holder`."""
        self.link.on_gone(self, reason, detail)

    def _position_at(self, number: int) -> int:
        """Up to which position the client's mail is in the deliveries up to a number."""
        if self.live and number >= self._joined_at:
            return max(self.joined_upto, self.link.position_at(number))
        step = bisect_right(self._trail, number, key=_number)
        return self._trail[step - 1][1] if step else 0

    def _sent(self) -> int:
        if self.live:
            return max(self.joined_upto, self.link.position)
        return self._trail[-1][1] if self._trail else 0


def _number(step: tuple[int, int]) -> int:
    return step[0]
