"""The naive model of a site: what each client is owed, kept for each client by itself.

It knows no logs, no cursors and no links: publish looks at every client, and every client has a set of messages. That
is slow, and plainly right. Messages are numbered in the order in which they were published; that number is their text.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["INBOX", "ModelClient", "ModelSite", "Tenure", "reaches"]

INBOX = ""


def reaches(pattern: str, channel: str) -> bool:
    """Whether a publish to the channel reaches the pattern, by way of a regular expression."""
    stem, _, last = pattern.rpartition("/")
    wild = {"*": "[^/]+", "**": ".+"}.get(last, re.escape(last))
    return re.fullmatch(f"{re.escape(stem)}/{wild}", channel) is not None


@dataclass
class Tenure:
    """The time for which one holder has one client.

    Attributes:
        client: the client.
        keeps_alive: the session does not run out meanwhile.
        got: the messages handed to this holder, in order.
        lost: how many messages it was told are lost, by pattern.
    """

    client: "ModelClient"
    keeps_alive: bool
    got: list[int] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


@dataclass
class ModelClient:
    """One client.

    Attributes:
        subscriptions: what it subscribes to, and how many messages matched each since.
        owed: what it should get or has got: each message, and the patterns through which.
        handed: what was given to some holder; a further copy has to be marked.
        received: what arrived.
        announced: how many messages it was told are lost, by pattern, since it subscribed.
        tenure: who holds it.
    """

    name: str
    timeout: float
    deadline: float
    subscriptions: dict[str, int] = field(default_factory=lambda: {INBOX: 0})
    owed: dict[int, set[str]] = field(default_factory=dict)
    handed: set[int] = field(default_factory=set)
    received: set[int] = field(default_factory=set)
    announced: Counter[str] = field(default_factory=Counter)
    tenure: Tenure | None = None

    def owe(self, message: int, patterns: set[str]) -> None:
        """A message is on its way to the client through these patterns."""
        self.owed[message] = patterns

    def subscribe(self, pattern: str) -> None:
        """What matches from now on is owed."""
        self.subscriptions.setdefault(pattern, 0)

    def unsubscribe(self, pattern: str) -> None:
        """What came through this pattern alone is owed no more."""
        if self.subscriptions.pop(pattern, None) is None:
            return
        del self.announced[pattern]
        if self.tenure is not None:
            del self.tenure.lost[pattern]
        for message in list(self.owed):
            self.owed[message].discard(pattern)
            if not self.owed[message]:
                del self.owed[message]

    def missing(self) -> Counter[str]:
        """How many messages have not arrived, by pattern."""
        return Counter(
            pattern for message, patterns in self.owed.items() if message not in self.received for pattern in patterns
        )


class ModelSite:
    """All clients."""

    def __init__(self) -> None:
        self.clients: dict[str, ModelClient] = {}
        self.channels: dict[int, str] = {}
        self.published = 0

    def publish(self, channel: str, publisher: str, *, exclude: bool) -> int:
        """Publish one message. Returns its number."""
        message = self._next(channel)
        for client in self.clients.values():
            patterns = {pattern for pattern in client.subscriptions if pattern and reaches(pattern, channel)}
            for pattern in patterns:
                client.subscriptions[pattern] += 1
            if patterns and not (exclude and client.name == publisher):
                client.owe(message, patterns)
        return message

    def queue_for(self, client: ModelClient, channel: str) -> int:
        """Send one message to one client. Returns its number."""
        message = self._next(channel)
        client.subscriptions[INBOX] += 1
        client.owe(message, {INBOX})
        return message

    def hand(self, tenure: Tenure, message: int, *, marked: bool) -> None:
        """A holder is given a message: check that it should be."""
        client = tenure.client
        assert self.clients.get(client.name) is client, f"{client.name} is gone and was given {message}"
        assert client.tenure is tenure, f"{client.name} was given {message} through a holder that has lost it"
        assert message in client.owed, f"{client.name} was given {message}, which is not for it"
        assert message not in tenure.got, f"{client.name} was given {message} twice by one holder"
        before = [other for other in tenure.got if self.channels[other] == self.channels[message]]
        assert not before or before[-1] < message, f"{client.name} was given {message} after {before[-1]}"
        assert marked or message not in client.handed, f"{client.name} was given {message} again, unmarked"
        tenure.got.append(message)
        client.handed.add(message)

    def announce(self, tenure: Tenure, pattern: str, count: int) -> None:
        """A holder is told of a loss: check that there was so much to lose.

        Where a log was cut beyond what is known of its reader, a loss may be counted too high: as if all messages of
        the time had been of this pattern. So the count is held against all of them, and that there was any loss, and
        that none is missing, to the message (`settle_up`). Exact counts have tests of their own.
        """
        client = tenure.client
        tenure.lost[pattern] += count
        assert client.subscriptions.get(pattern), f"{client.name} was told of lost {pattern!r}; there was none"
        assert tenure.lost[pattern] <= self.published, (
            f"{client.name} was told that {tenure.lost[pattern]} of {pattern!r} are lost; {self.published} were sent"
        )

    def settle_up(self) -> None:
        """Everything was read: check that whatever did not arrive was announced as lost."""
        for client in self.clients.values():
            for pattern, count in client.missing().items():
                told = client.announced[pattern]
                assert count <= told, f"{client.name} misses {count} of {pattern!r} and was told of {told}"

    def _next(self, channel: str) -> int:
        self.published += 1
        self.channels[self.published] = channel
        return self.published
