"""Histories: what was asked of a server and what came of it, and whether that keeps the guarantees of delivery.

A history has a clock of its own: each thing that begins, is answered or arrives is one tick later than the one before.
So two operations overlap exactly if neither was answered before the other began: only then may their order be either.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Delivery", "Fault", "History", "Holding", "Publish", "Subscription"]

_NEVER = float("inf")
_SHOWN = 10


@dataclass
class Publish:
    """A message with a unique name; `answered` is infinite while nobody knows whether it was published."""

    name: str
    channel: str
    publisher: str
    began: int
    answered: float = _NEVER


@dataclass
class Subscription:
    """A client's subscription, from Subscribe to Unsubscribe, if there was one."""

    client: str
    pattern: str
    began: int
    answered: float = _NEVER
    giving_up: float = _NEVER
    given_up: float = _NEVER

    def must_get(self, publish: Publish) -> bool:
        """Whether a message can't be missing: it was published wholly while this was surely in force, and stayed so."""
        covers = self.covers(publish.channel) and self.answered < publish.began
        # Unsubscribe gives up what is still pending, so only a subscription that was kept obliges.
        return covers and publish.answered < _NEVER and self.giving_up == _NEVER

    def may_get(self, publish: Publish) -> bool:
        """Whether a message can be explained: publish and subscription overlap in time."""
        overlap = self.began < publish.answered and publish.began < self.given_up
        return overlap and self.covers(publish.channel)

    def covers(self, channel: str) -> bool:
        """Whether the pattern matches a channel, in the specification's plain words."""
        stem, _, wild = self.pattern.rpartition("/")
        parent, _, _ = channel.rpartition("/")
        if wild == "**":
            return channel.startswith(f"{stem}/")
        return parent == stem if wild == "*" else channel == self.pattern


@dataclass(frozen=True)
class Delivery:
    """A message reached a client."""

    client: str
    name: str
    redelivered: bool
    at: int


@dataclass
class Holding:
    """One front-end's hold on one client, and what it got through it, in order."""

    client: str
    since: int
    deliveries: list[Delivery] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """Something was broken on purpose.

    Attributes:
        what: for people.
        began: when.
        over: when it was over; the same, if it did not last.
        spares_holdings: whether clients stay where they are: then what came late was at stake, whoever brought it.
    """

    what: str
    began: int
    over: int
    spares_holdings: bool = False


class History:
    """See the module.

    Args:
        seed: what the scenario was drawn from, told with every failure.

    Attributes:
        answered: how many messages were surely published.
        gaps: how many messages each client was told it lost.
        got: what each client got.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.publishes: dict[str, Publish] = {}
        self.subscriptions: list[Subscription] = []
        self.holdings: list[Holding] = []
        self.faults: list[Fault] = []
        self.gaps: Counter[str] = Counter()
        self.answered = 0
        self.got: defaultdict[str, set[str]] = defaultdict(set)
        self._clock = itertools.count(1)

    # Recording

    @contextmanager
    def publishing(self, name: str, channel: str, publisher: str = "") -> Iterator[None]:
        """A publish that is answered when the context is left well."""
        publish = self.publishes[name] = Publish(name, channel, publisher, next(self._clock))
        yield
        publish.answered = next(self._clock)
        self.answered += 1

    @contextmanager
    def subscribing(self, client: str, pattern: str) -> Iterator[None]:
        """A new subscription that is answered when the context is left well."""
        subscription = Subscription(client, pattern, next(self._clock))
        self.subscriptions.append(subscription)
        yield
        subscription.answered = next(self._clock)

    @contextmanager
    def unsubscribing(self, client: str, pattern: str) -> Iterator[None]:
        """The end of a subscription that is answered when the context is left well."""
        [subscription] = [
            one
            for one in self.subscriptions
            if (one.client, one.pattern) == (client, pattern) and one.giving_up == _NEVER
        ]
        subscription.giving_up = next(self._clock)
        yield
        subscription.given_up = next(self._clock)

    def held(self, client: str) -> Holding:
        """A front-end takes a client: the next holding of it begins."""
        holding = Holding(client, next(self._clock))
        self.holdings.append(holding)
        return holding

    def delivered(self, holding: Holding, name: str, *, redelivered: bool) -> None:
        """A message reached a client through a holding."""
        holding.deliveries.append(Delivery(holding.client, name, redelivered, next(self._clock)))
        self.got[holding.client].add(name)

    def lost(self, client: str, count: int) -> None:
        """A gap was announced."""
        self.gaps[client] += count

    def fault(self, what: str) -> None:
        """A front-end or its connection is about to be broken."""
        now = next(self._clock)
        self.faults.append(Fault(what, now, now))

    @contextmanager
    def outage(self, what: str) -> Iterator[None]:
        """Something behind the server is broken until the context is left, and front-ends may notice nothing."""
        began = next(self._clock)
        yield
        self.faults.append(Fault(what, began, next(self._clock), spares_holdings=True))

    # Judging

    def check(self) -> None:
        """Hold the history to guarantees 1 to 4, and to having put something at stake.

        Raises:
            AssertionError: lists what is wrong.
        """
        wrong = [
            *self._nothing_at_stake(),
            *self._missing(),
            *self._unexplained(),
            *self._repeated(),
            *self._disorder(),
        ]
        more = [f"... and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        assert not wrong, "\n".join([f"seed {self.seed}:", *wrong[:_SHOWN], *more])

    def at_stake(self, fault: Fault) -> int:
        """How many copies a fault caught on their way, at its moment or while it lasted.

        They were begun before it was over and arrived after it began, through a later holding if it broke holdings.
        """
        return sum(
            self.publishes[one.name].began < fault.over and fault.began < one.at
            for holding in self.holdings
            if holding.since > fault.began or fault.spares_holdings
            for one in holding.deliveries
        )

    def due(self, client: str) -> set[str]:
        """What this client must get, by what was answered until now."""
        mine = [one for one in self.subscriptions if one.client == client]
        return {name for name, publish in self.publishes.items() if any(one.must_get(publish) for one in mine)}

    def missing(self, client: str) -> set[str]:
        """What this client must have got and has not."""
        return self.due(client) - self.got[client]

    def _clients(self) -> set[str]:
        return {one.client for one in self.subscriptions} | {one.client for one in self.holdings}

    def _holdings_of(self, client: str) -> list[Holding]:
        return sorted((one for one in self.holdings if one.client == client), key=lambda one: one.since)

    def _nothing_at_stake(self) -> Iterator[str]:
        for fault in self.faults:
            if not self.at_stake(fault):
                yield f"nothing was on its way when {fault.what}: the test shows nothing"

    def _missing(self) -> Iterator[str]:
        """Guarantees 2 and 4: at least once, unless a gap says so."""
        for client in sorted(self._clients()):
            missing = self.missing(client)
            if len(missing) > self.gaps[client]:
                yield f"{client[:4]} never got {sorted(missing)[:_SHOWN]}, and was told of {self.gaps[client]} lost"

    def _unexplained(self) -> Iterator[str]:
        """Guarantee 4: nothing from before a subscription or from after it."""
        mine = defaultdict(list)
        for subscription in self.subscriptions:
            mine[subscription.client].append(subscription)
        for holding in self.holdings:
            for one in holding.deliveries:
                publish = self.publishes.get(one.name)
                if publish is None:
                    yield f"{holding.client[:4]} got {one.name}, which nobody published"
                elif not any(subscription.may_get(publish) for subscription in mine[holding.client]):
                    yield f"{holding.client[:4]} got {one.name} of {publish.channel} without a subscription"

    def _repeated(self) -> Iterator[str]:
        """Guarantee 3: one copy; another only from another holding, and marked."""
        for client in sorted(self._clients()):
            before: set[str] = set()
            for holding in self._holdings_of(client):
                for name, times in Counter(one.name for one in holding.deliveries).items():
                    if times > 1:
                        yield f"{client[:4]} got {name} {times} times from one front-end"
                for one in holding.deliveries:
                    if one.name in before and not one.redelivered:
                        yield f"{client[:4]} got {one.name} again, and it was not marked"
                before |= {one.name for one in holding.deliveries}

    def _disorder(self) -> Iterator[str]:
        """Guarantee 1: what one publisher sends to one channel is in order in each holding, and so are first copies."""
        for client in sorted(self._clients()):
            first: dict[str, None] = {}
            for holding in self._holdings_of(client):
                names = [one.name for one in holding.deliveries]
                yield from self._out_of_order(client, names)
                first.update(dict.fromkeys(names))
            yield from self._out_of_order(client, list(first))

    def _out_of_order(self, client: str, names: list[str]) -> Iterator[str]:
        last: dict[tuple[str, str], Publish] = {}
        for publish in (self.publishes[name] for name in names if name in self.publishes):
            before = last.get((publish.publisher, publish.channel))
            if before is not None and before.began > publish.began:
                yield f"{client[:4]} got {publish.name} after {before.name}"
            last[publish.publisher, publish.channel] = publish
