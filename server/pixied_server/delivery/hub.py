"""The hub: hears what happens in the engine and tells those whom it concerns."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pixied_server.core.log import Entry
from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.holder import Follower, Holder
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.abc import Claim, Engine, Event, EventKind, Parting
from pixied_server.errors import FieldInvalid

__all__ = ["Deliveries", "Hub"]


@dataclass(slots=True)
class Deliveries:
    """How often things happened since the start; see the contract's `Counters`."""

    delivered: int = 0
    redelivered: int = 0
    lost: int = 0


class Hub:
    """Listens to an engine, and knows who holds which client and who follows which pattern.

    Args:
        engine: the engine. The hub makes itself its listener.
        watchers: those who want to see events.
        clock: tells the time, in seconds since the epoch.

    Attributes:
        head: the position of the youngest message that was announced.
        counters: what was handed out.
    """

    def __init__(self, engine: Engine, watchers: Watchers, clock: Callable[[], float]) -> None:
        self.engine = engine
        self.watchers = watchers
        self._now = clock
        self.head = 0
        self.counters = Deliveries()
        self._holders: dict[str, Holder] = {}
        self._follows: dict[str, dict[Follower, None]] = {}
        engine.listener = self

    @property
    def held(self) -> int:
        """How many clients are held."""
        return len(self._holders)

    # Holding clients

    def holder_of(self, client_id: str) -> Holder | None:
        """Who holds a client in this process."""
        return self._holders.get(client_id)

    async def take(self, client_id: str, name: str, *, expires: bool, cursor: int = 0) -> Claim:
        """Claim a client, and take it away from whoever holds it, keeping what that holder has confirmed.

        Args:
            client_id: the client.
            name: the new holder's.
            expires: the session timeout runs on although the client is held.
            cursor: the client has got everything up to this position; 0 for nothing.

        Raises:
            ClientUnknown, FieldInvalid (the cursor was not handed out): nothing is changed.
        """
        handed_out = await self.engine.handed_out(client_id)
        if cursor > max(handed_out, self._sent_to(client_id)):
            why = "it was not handed out for this client; leave it empty, or name a cursor that was"
            raise FieldInvalid("ack_cursor", why)
        await self._oust(client_id)
        if cursor:
            await self.engine.confirm(client_id, cursor)
        return await self.engine.claim(client_id, name, expires=expires)

    def _sent_to(self, client_id: str) -> int:
        """Up to which position mail was sent by whoever holds a client."""
        holder = self._holders.get(client_id)
        return holder.progress()[1] if holder is not None else 0

    async def _oust(self, client_id: str) -> None:
        holder = self._holders.pop(client_id, None)
        if holder is not None:
            confirmed, sent = holder.progress()
            await self.engine.release(holder.claim, confirmed=confirmed, sent=sent)
            holder.on_gone(DetachReason.TAKEN_OVER, "")

    def hold(self, client_id: str, holder: Holder) -> None:
        """The client is now this holder's."""
        self._holders[client_id] = holder

    async def let_go(self, client_id: str, holder: Holder) -> None:
        """The holder gives the client up, if it still has it."""
        if self._holders.get(client_id) is holder:
            del self._holders[client_id]
            confirmed, sent = holder.progress()
            await self.engine.release(holder.claim, confirmed=confirmed, sent=sent)

    # Following patterns

    def follow(self, pattern: str, follower: Follower) -> None:
        """Tell the follower of mail in this pattern's log."""
        self._follows.setdefault(pattern, {})[follower] = None

    def unfollow(self, pattern: str, follower: Follower) -> None:
        """Tell it no more. Idempotent."""
        followers = self._follows.get(pattern)
        if followers is not None:
            followers.pop(follower, None)
            if not followers:
                del self._follows[pattern]

    # What the engine announces (`engine.abc.Listener`)

    @property
    def watching(self) -> bool:
        """Whether anyone watches."""
        return bool(self.watchers)

    def confirmed(self, client_id: str) -> int:
        """See `engine.abc.Listener`."""
        holder = self._holders.get(client_id)
        return holder.progress()[0] if holder is not None else 0

    def mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """See `engine.abc.Listener`."""
        self.head = entry.position
        for follower in self._followers_of(patterns):
            follower.on_mail(entry, patterns)

    def _followers_of(self, patterns: Sequence[str]) -> Iterable[Follower]:
        """Each once. Most channels match one pattern."""
        if len(patterns) == 1:
            return self._follows.get(patterns[0], ())
        return dict.fromkeys(follower for pattern in patterns for follower in self._follows.get(pattern, ()))

    def mail_for(self, client_id: str, entry: Entry) -> None:
        """See `engine.abc.Listener`."""
        self.head = entry.position
        holder = self._holders.get(client_id)
        if holder is not None:
            holder.on_own_mail(entry)

    def cut(self, pattern: str, entry: Entry) -> None:
        """See `engine.abc.Listener`."""
        for follower in self._follows.get(pattern, ()):
            follower.on_cut(pattern, entry)

    def subscribed(self, client_id: str, pattern: str, position: int) -> None:
        """See `engine.abc.Listener`."""
        holder = self._holders.get(client_id)
        if holder is not None:
            holder.on_subscribed(pattern, position)

    def unsubscribed(self, client_id: str, pattern: str) -> None:
        """See `engine.abc.Listener`."""
        holder = self._holders.get(client_id)
        if holder is not None:
            holder.on_unsubscribed(pattern)

    def gone(self, client_id: str, parting: Parting, detail: str) -> None:
        """See `engine.abc.Listener`."""
        holder = self._holders.pop(client_id, None)
        if holder is not None:
            expired = parting is Parting.EXPIRED
            holder.on_gone(DetachReason.EXPIRED if expired else DetachReason.DESTROYED, detail)

    def claimed(self, client_id: str) -> None:
        """See `engine.abc.Listener`."""
        holder = self._holders.pop(client_id, None)
        if holder is not None:
            holder.on_gone(DetachReason.TAKEN_OVER, "")

    def happened(self, event: Event) -> None:
        """See `engine.abc.Listener`."""
        self.watchers.happened(event)

    # What is handed out

    def handed_out(self, entries: Sequence[Entry], recipients: int, front_end: str, *, redelivered: int = 0) -> None:
        """Count messages that so many clients each got, and show them to watchers."""
        self.counters.delivered += len(entries) * recipients
        self.counters.redelivered += redelivered * recipients
        if not self.watching:
            return
        now = self._now()
        for entry in entries:
            message = entry.message
            self.happened(
                Event(
                    EventKind.DELIVERED,
                    now,
                    channel=message.channel,
                    message_id=message.id,
                    recipients=recipients,
                    front_end=front_end,
                )
            )
