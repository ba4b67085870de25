"""The naive model of one or more sites over one store: what each client is owed, kept for each client by itself.

It knows no logs, no cursors and no links: publish looks at every client, and every client has a set of messages. That
is slow, and plainly right. Messages are numbered in the order in which they were published; that number is their text.

Where two sites share a store, one may have lost a client and not know yet: it goes on for a moment with what it has.
Whoever has the client then knows that this may be, and marks what the other may have sent.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["INBOX", "ModelClient", "ModelSite", "Tenure", "reaches"]

INBOX = ""
_KNOWN_DROPS = 16


def reaches(pattern: str, channel: str) -> bool:
    """Whether a publish to the channel reaches the pattern, by way of a regular expression."""
    stem, _, last = pattern.rpartition("/")
    wild = {"*": "[^/]+", "**": ".+"}.get(last, re.escape(last))
    return re.fullmatch(f"{re.escape(stem)}/{wild}", channel) is not None


@dataclass
class Late:
    """What was so when an owner lost its client without knowing it yet.

    Attributes:
        published: so many messages had been published.
        owed: what the client was owed.
        handed: what it had been given.
    """

    published: int
    owed: set[int]
    handed: set[int]


# Two that are alike are still two.
@dataclass(eq=False)
class Tenure:
    """The time for which one owner has one client.

    Attributes:
        client: the client.
        keeps_alive: the session does not run out meanwhile.
        explicit: only what the client itself confirms counts.
        got: the messages handed to this owner, in order.
        arrived: those that have arrived and are not confirmed, each with the number of its delivery.
        over: whether the owner has lost the client.
        late: what it may still hand on, though it is over.
    """

    client: "ModelClient"
    keeps_alive: bool
    explicit: bool = False
    got: list[int] = field(default_factory=list)
    arrived: list[tuple[int, int]] = field(default_factory=list)
    over: bool = False
    late: Late | None = None


@dataclass(eq=False)
class ModelClient:
    """One client.

    Attributes:
        subscriptions: what it subscribes to.
        inbox: the messages that were queued for it.
        matched: the patterns of its that each message matched when it was published.
        owed: what it should get or has got: each message, and the patterns through which.
        maybe: messages of which nobody knows whether they were published for it.
        handed: what was given to some owner; a further copy has to be marked.
        unmarked: what was given to some owner without a mark: no other may do so too.
        arrived: what has arrived, by whichever owner.
        received: what has arrived and is confirmed; all else comes again.
        announced: how many messages it was told are lost, by pattern, since it subscribed.
        tenure: who holds it.
    """

    name: str
    timeout: float
    deadline: float
    subscriptions: set[str] = field(default_factory=lambda: {INBOX})
    inbox: list[int] = field(default_factory=list)
    matched: dict[int, frozenset[str]] = field(default_factory=dict)
    owed: dict[int, set[str]] = field(default_factory=dict)
    maybe: set[int] = field(default_factory=set)
    handed: set[int] = field(default_factory=set)
    unmarked: set[int] = field(default_factory=set)
    arrived: set[int] = field(default_factory=set)
    received: set[int] = field(default_factory=set)
    announced: Counter[str] = field(default_factory=Counter)
    tenure: Tenure | None = None

    def owe(self, message: int, patterns: set[str]) -> None:
        """A message is on its way to the client through these patterns."""
        self.owed[message] = patterns

    def subscribe(self, pattern: str) -> None:
        """What matches from now on is owed."""
        self.subscriptions.add(pattern)

    def unsubscribe(self, pattern: str) -> None:
        """What came through this pattern alone is owed no more."""
        self.subscriptions.discard(pattern)
        del self.announced[pattern]
        for message in list(self.owed):
            self.owed[message].discard(pattern)
            if not self.owed[message]:
                del self.owed[message]

    def missing(self) -> Counter[str]:
        """How many messages have not arrived, by pattern."""
        there = self.received | {message for _, message in (self.tenure.arrived if self.tenure is not None else ())}
        return Counter(
            pattern for message, patterns in self.owed.items() if message not in there for pattern in patterns
        )


class ModelSite:
    """All clients.

    Args:
        roomy: nothing ever has to be dropped: whoever is told of a loss is told wrongly.
        largest_log: a log drops its oldest message when it has more than so many, and nothing else is dropped. None if
            more goes at once: then what a reader has got before may be counted as lost.
    """

    def __init__(self, *, roomy: bool = False, largest_log: int | None = None) -> None:
        self.roomy = roomy
        self.largest_log = largest_log
        self.clients: dict[str, ModelClient] = {}
        self.channels: dict[int, str] = {}
        self.in_channels: list[int] = []
        self.published = 0

    def publish(self, channel: str, publisher: str, *, exclude: bool) -> int:
        """Publish one message. Returns its number."""
        message = self._next(channel)
        self.in_channels.append(message)
        for client in self.clients.values():
            patterns = {pattern for pattern in client.subscriptions if pattern and reaches(pattern, channel)}
            client.matched[message] = frozenset(patterns)
            if patterns and not (exclude and client.name == publisher):
                client.owe(message, patterns)
        return message

    def queue_for(self, client: ModelClient, channel: str) -> int:
        """Send one message to one client. Returns its number."""
        message = self._next(channel)
        client.matched[message] = frozenset({INBOX})
        client.inbox.append(message)
        client.owe(message, {INBOX})
        return message

    def doubt(self, messages: Iterable[int]) -> None:
        """Whoever published or queued these was not told whether it was done."""
        for client in self.clients.values():
            client.maybe.update(message for message in messages if client.owed.pop(message, None))

    # Owners

    def hold(self, client: ModelClient, *, keeps_alive: bool, explicit: bool = False) -> Tenure:
        """The client has a new owner."""
        self.lose(client)
        client.tenure = Tenure(client, keeps_alive=keeps_alive, explicit=explicit)
        return client.tenure

    def lose(self, client: ModelClient, *, late: bool = False) -> None:
        """The client's owner, if it has one, has lost it, and may be late to know."""
        tenure, client.tenure = client.tenure, None
        if tenure is not None:
            tenure.over = True
            # What is not confirmed by now never will be.
            tenure.arrived.clear()
            if late:
                tenure.late = Late(self.published, {*client.owed, *client.maybe}, set(client.handed))

    def hand(self, tenure: Tenure, message: int, *, marked: bool) -> None:
        """An owner is given a message: check that it should be."""
        client, late = tenure.client, tenure.late
        owed = {*client.owed, *client.maybe}
        if late is not None:
            owed |= late.owed
        else:
            assert not tenure.over, f"{client.name} was given {message} through an owner that has lost it"
            assert self.clients.get(client.name) is client, f"{client.name} is gone and was given {message}"
        assert message in owed, f"{client.name} was given {message}, which is not for it"
        assert message not in tenure.got, f"{client.name} was given {message} twice by one owner"
        before = [other for other in tenure.got if self.channels[other] == self.channels[message]]
        assert not before or before[-1] < message, f"{client.name} was given {message} after {before[-1]}"
        handed = client.handed if late is None else late.handed
        assert marked or message not in handed, f"{client.name} was given {message} again, unmarked"
        tenure.got.append(message)
        if late is not None and message > late.published:
            # Nobody can know that it will come from there; but nobody is there any more to take it.
            return
        client.handed.add(message)
        if not marked:
            assert message not in client.unmarked, f"{client.name} was given {message} unmarked, late, as by another"
            client.unmarked.add(message)

    def arrive(self, tenure: Tenure, message: int, number: int) -> None:
        """A message has arrived by the delivery of this number."""
        tenure.client.arrived.add(message)
        if not tenure.over:
            tenure.arrived.append((number, message))

    def confirm(self, tenure: Tenure, number: int) -> None:
        """The deliveries of an owner up to this number are confirmed."""
        client = tenure.client
        client.received.update(message for at, message in tenure.arrived if at <= number)
        tenure.arrived = [(at, message) for at, message in tenure.arrived if at > number]

    def confirm_by_cursor(self, client: ModelClient) -> None:
        """The client names the last cursor that it was given. Unless that is forgotten, it has all that has arrived."""
        client.received |= client.arrived

    def announce(self, tenure: Tenure, pattern: str, count: int) -> None:
        """An owner is told of a loss: check that there was so much to lose.

        A message that came through one log may be lost from another. Where a log was cut beyond what is known of its
        reader, a loss may be counted too high, as if all of the log were gone; who subscribes while messages are lost
        may be told of all of them; and a client that its link has told of a loss may find it again where it has to
        read by itself. That none is missing is checked to the message (`settle_up`); exact counts have tests of their
        own.
        """
        client = tenure.client
        told = f"{client.name} was told that {count} of {pattern!r} are lost"
        assert not self.roomy, f"{told}; nothing is"
        if tenure.late is None:
            assert pattern in client.subscriptions, f"{told}; it does not subscribe to that"
            most = self._can_be_lost(tenure, pattern)
            assert count <= most, f"{told}; {most} were sent that it has not got"

    def _can_be_lost(self, tenure: Tenure, pattern: str) -> int:
        """How many messages of a log an owner may be told are lost: all but what it got itself through this alone."""
        client = tenure.client
        log = (
            client.inbox
            if pattern == INBOX
            else [one for one in self.in_channels if reaches(pattern, self.channels[one])]
        )
        # Of more drops than this not each is known any more.
        exact = self.largest_log is not None and len(log) <= self.largest_log + _KNOWN_DROPS
        had = set(tenure.got) if exact else set()
        return sum(message not in had or client.matched[message] != {pattern} for message in log)

    def settle_up(self, *, owned: bool = False) -> None:
        """Everything was read: check that whatever did not arrive was announced as lost.

        Args:
            owned: only for clients that someone has.
        """
        for client in self.clients.values():
            if owned and client.tenure is None:
                continue
            for pattern, count in client.missing().items():
                told = client.announced[pattern]
                assert count <= told, f"{client.name} misses {count} of {pattern!r} and was told of {told}"

    def _next(self, channel: str) -> int:
        self.published += 1
        self.channels[self.published] = channel
        return self.published
