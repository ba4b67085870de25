"""The hub: passes what the engine announces on to the links, taps and watchers that it concerns."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import Progress
from pixied_server.core.turns import Turns
from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.owner import Follower, Owner
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.abc import Delivered, EndReason, Engine, Event, EventKind

__all__ = ["Deliveries", "Hub"]


@dataclass(slots=True)
class Deliveries:
    """How often things happened since the start; see the contract's `Counters`."""

    delivered: int = 0
    redelivered: int = 0
    lost: int = 0


class Hub:
    """Listens to an engine, and knows the owner of each client and the followers of each pattern.

    Args:
        engine: the engine. The hub makes itself its listener.
        watchers: all watchers of events.
        clock: tells the time, in seconds since the epoch.
        turns: those of the process; None for turns of its own.

    Attributes:
        counters: what was handed out.
    """

    def __init__(
        self, engine: Engine, watchers: Watchers, clock: Callable[[], float], turns: Turns | None = None
    ) -> None:
        self.engine = engine
        self.turns = turns or Turns()
        self.watchers = watchers
        self._now = clock
        self.counters = Deliveries()
        self._owners: dict[str, Owner] = {}
        self._follows: dict[str, dict[Follower, None]] = {}
        engine.listener = self

    @property
    def head(self) -> Progress:
        """Everything up to here has been announced."""
        return self.engine.head

    @property
    def owned(self) -> int:
        """How many clients have an owner here."""
        return len(self._owners)

    # Holding clients

    def owner_of(self, client_id: str) -> Owner | None:
        """Return the owner of a client in this process."""
        return self._owners.get(client_id)

    def own(self, client_id: str, owner: Owner) -> None:
        """Make this the client's owner, unless a later claim was quicker."""
        other = self._owners.get(client_id)
        if other is not None and other.claim.number > owner.claim.number:
            owner.on_gone(DetachReason.TAKEN_OVER, "")
            return
        self._owners[client_id] = owner
        if other is not None:
            other.on_gone(DetachReason.TAKEN_OVER, "")

    async def let_go(self, client_id: str, owner: Owner) -> None:
        """Release the client, if this is still its owner."""
        if self._owners.get(client_id) is owner:
            del self._owners[client_id]
            await self.engine.release(owner.claim, owner.delivered())

    # Following patterns

    def follow(self, pattern: str, follower: Follower) -> None:
        """Announce messages of this pattern's log to the follower."""
        self._follows.setdefault(pattern, {})[follower] = None

    def unfollow(self, pattern: str, follower: Follower) -> None:
        """Announce them no more. Idempotent."""
        followers = self._follows.get(pattern)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                del self._follows[pattern]

    # What the engine announces (`engine.abc.Listener`)

    @property
    def wanted(self) -> Collection[EventKind]:
        """See `engine.abc.Listener`."""
        return self.watchers.wanted

    def delivered(self, client_id: str) -> Delivered | None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        return owner.delivered() if owner is not None else None

    def published(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """See `engine.abc.Listener`."""
        for follower in self._followers_of(appended):
            follower.on_published(entry, appended)

    def _followers_of(self, appended: Sequence[tuple[str, int]]) -> Iterable[Follower]:
        """Return each follower once. Most channels match one pattern."""
        if len(appended) == 1:
            return self._follows.get(appended[0][0], ())
        return dict.fromkeys(follower for pattern, _ in appended for follower in self._follows.get(pattern, ()))

    def queued(self, client_id: str, entry: Entry) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        if owner is not None:
            owner.on_queued(entry)

    def missed(self, loss: Loss) -> None:
        """See `engine.abc.Listener`."""
        for follower in self._follows.get(loss.pattern, ()):
            follower.on_missed(loss)

    def own_missed(self, client_id: str, loss: Loss) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        if owner is not None:
            owner.on_own_missed(loss)

    def subscribed(self, client_id: str, pattern: str, since: Progress) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        if owner is not None:
            owner.on_subscribed(pattern, since)

    def behind(self, client_id: str) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        if owner is not None:
            owner.on_behind()

    def unsubscribed(self, client_id: str, pattern: str) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.get(client_id)
        if owner is not None:
            owner.on_unsubscribed(pattern)

    def gone(self, client_id: str, reason: EndReason, detail: str) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.pop(client_id, None)
        if owner is not None:
            expired = reason is EndReason.EXPIRED
            owner.on_gone(DetachReason.EXPIRED if expired else DetachReason.DESTROYED, detail)

    def claimed(self, client_id: str) -> None:
        """See `engine.abc.Listener`."""
        owner = self._owners.pop(client_id, None)
        if owner is not None:
            owner.on_gone(DetachReason.TAKEN_OVER, "")

    def happened(self, event: Event) -> None:
        """See `engine.abc.Listener`."""
        self.watchers.happened(event)

    # What is handed out

    def handed_out(self, entries: Sequence[Entry], recipients: int, front_end: str, *, redelivered: int) -> None:
        """Count messages that each of so many clients got, and show them to watchers."""
        self.counters.delivered += len(entries) * recipients
        self.counters.redelivered += redelivered * recipients
        if not self.engine.watched(EventKind.DELIVERED):
            return
        now = self._now()
        for entry in entries:
            message = entry.message
            self.engine.show(
                Event(
                    EventKind.DELIVERED,
                    now,
                    channel=message.channel,
                    message_id=message.id,
                    recipients=recipients,
                    front_end=front_end,
                )
            )
