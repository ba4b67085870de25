"""A client on a link."""

from bisect import bisect_right
from collections import deque
from typing import Protocol

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, earlier, later
from pixied_server.delivery.audience import Audience, Audiences
from pixied_server.delivery.events import Batch, DetachReason
from pixied_server.delivery.ledger import Ledger
from pixied_server.delivery.tap import CURSORS
from pixied_server.engine.abc import Claim, Delivered, Reading

__all__ = ["Attachment", "Carrier"]


class Carrier(Protocol):
    """The link, as its attachments see it."""

    ledger: Ledger
    audiences: Audiences
    last_cursor: int
    """The last number that `cursor_of` gave; 0 for none."""

    @property
    def behind(self) -> bool:
        """Whether the link has to read messages from the logs."""
        ...

    @property
    def progress(self) -> Progress:
        """Everything up to here has been put into deliveries for all live clients."""
        ...

    @property
    def reached(self) -> Progress:
        """Nothing beyond this has been put into deliveries."""
        ...

    def progress_at(self, number: int) -> Progress:
        """Return the progress that the deliveries up to a number reached."""
        ...

    def cursor_of(self, progress: Progress) -> int:
        """Return a number that names a client's progress."""
        ...

    def on_queued(self, attachment: "Attachment", entry: Entry) -> None:
        """A message was queued for one of the link's clients."""
        ...

    def on_behind(self, attachment: "Attachment") -> None:
        """One of the link's clients has to read its logs."""
        ...

    def on_own_missed(self, attachment: "Attachment", loss: Loss) -> None:
        """The inbox of one of the link's clients lost messages that were never announced."""
        ...

    def on_unsubscribed(self, attachment: "Attachment", pattern: str) -> None:
        """One of the link's clients gets nothing more through a pattern."""
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
        live: whether it has caught up and joined the link's live flow.
        acked: the client itself has confirmed every delivery up to this number.
        last_own: the number of the last delivery with a live message that was queued for it alone.
        joined: once live: it had its messages up to here before it joined.
        cursors: the last cursors that it was given, if it confirms by itself.
    """

    __slots__ = (
        "_checkpoints",
        "_had",
        "_joined_at",
        "acked",
        "alone",
        "claim",
        "cursors",
        "explicit",
        "handle",
        "joined",
        "last_own",
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
        self.last_own = 0
        self.alone = Audience((handle,))
        # While catching up: numbers of the deliveries with its messages, and the progress that each reached.
        self._checkpoints: list[tuple[int, Progress]] = []
        # And the progress up to which messages were sent, before a new subscription took it back.
        self._had = NOTHING
        # Once live: after the delivery of this number.
        self._joined_at: int
        self.joined: Progress
        self.cursors: deque[tuple[int, Progress]] = deque(maxlen=CURSORS)

    def caught(self, reading: Reading, number: int) -> list[Batch]:
        """Return messages that it was behind with as batches: these, or their loss, go out with this delivery."""
        if reading.entries or reading.losses:
            self._forget_confirmed()
            self._checkpoints.append((number, self.claim.capped(reading.upto)))
            # A subscription that came since it was read caps what counts as confirmed, not what is sent.
            self._had = later(self._had, reading.upto)
        maybe = reading.redelivered
        batches = []
        if maybe:
            batches.append(self._batch(reading.entries[:maybe], reading.after(maybe), redelivered=True))
        if maybe < len(reading.entries):
            batches.append(self._batch(reading.entries[maybe:], reading.upto, redelivered=False))
        return batches

    def _batch(self, entries: list[Entry], reached: Progress, *, redelivered: bool) -> Batch:
        cursor = self.link.cursor_of(reached)
        if self.explicit:
            self.cursors.append((cursor, self.claim.capped(reached)))
        return Batch(entries, self.alone, redelivered, cursor)

    def got(self, cursor: int, progress: Progress) -> None:
        """Note the cursor of a batch of live messages, which names this progress of its link."""
        self.cursors.append((cursor, self.claim.capped(later(self.joined, progress))))

    def join(self, progress: Progress) -> None:
        """Make it live: it has read everything up to here."""
        self.claim.join()
        self.live = True
        self._joined_at = self._checkpoints[-1][0] if self._checkpoints else 0
        self.joined = progress

    def fall_back(self) -> None:
        """Go back to catching up, after what the link has put together until now."""
        now = self.delivered()
        # What is put together just now has no number yet.
        last = self.link.ledger.number
        reached = self.claim.capped(self._progress_at(last))
        self._had = now.sent
        begin = self.claim.seek(later(self.joined, self.link.progress), now.sent)
        checkpoints = ((0, now.confirmed), (last, reached), (last + 1, begin))
        self._checkpoints = [(number, earlier(progress, begin)) for number, progress in checkpoints]
        self.live = False
        self._cap_cursors()

    def read_again(self) -> None:
        """Cap what counts as confirmed while it is catching up: it may have to read some messages again."""
        self._checkpoints = [(number, self.claim.capped(reached)) for number, reached in self._checkpoints]
        self._cap_cursors()

    def _cap_cursors(self) -> None:
        """Cap its cursors: one from before a new subscription does not cover that subscription's messages."""
        capped = [(cursor, self.claim.capped(progress)) for cursor, progress in self.cursors]
        self.cursors = deque(capped, maxlen=CURSORS)

    def delivered(self) -> Delivered:
        """See `Owner`."""
        confirmed = self.claim.capped(self._progress_at(self._confirmed_number()))
        sent = self._sent()
        # A client that does not confirm by itself may still name the last cursor of its link.
        cursors = self.cursors if self.explicit else ((self.link.last_cursor, self.claim.capped(sent)),)
        return Delivered(confirmed, sent, cursors)

    def _confirmed_number(self) -> int:
        return self.acked if self.explicit else max(self.acked, self.link.ledger.acked)

    def _forget_confirmed(self) -> None:
        """Keep only the last of the checkpoints that are confirmed."""
        confirmed = bisect_right(self._checkpoints, self._confirmed_number(), key=_number)
        del self._checkpoints[: max(confirmed - 1, 0)]

    def on_queued(self, entry: Entry) -> None:
        """See `Owner`."""
        self.link.on_queued(self, entry)

    def on_subscribed(self, pattern: str, since: Progress) -> None:
        """See `Owner`."""
        if self.live and not self.link.behind:
            self.link.audiences.add(pattern, self.handle, since)
        else:
            # A link that is behind can't tell which of its messages came after the client subscribed.
            self.link.on_behind(self)

    def on_behind(self) -> None:
        """See `Owner`."""
        self.link.on_behind(self)

    def on_own_missed(self, loss: Loss) -> None:
        """See `Owner`."""
        self.link.on_own_missed(self, loss)

    def on_unsubscribed(self, pattern: str) -> None:
        """See `Owner`."""
        self.link.on_unsubscribed(self, pattern)

    def on_gone(self, reason: DetachReason, detail: str) -> None:
        """See `Owner`."""
        self.link.on_gone(self, reason, detail)

    def _progress_at(self, number: int) -> Progress:
        """Return how far the client's messages are in the deliveries up to a number."""
        if self.live and number >= self._joined_at:
            return later(self.joined, self.link.progress_at(number))
        index = bisect_right(self._checkpoints, number, key=_number)
        return self._checkpoints[index - 1][1] if index else NOTHING

    def _sent(self) -> Progress:
        if self.live:
            return later(self.joined, self.link.reached)
        return self._had


def _number(checkpoint: tuple[int, Progress]) -> int:
    return checkpoint[0]
