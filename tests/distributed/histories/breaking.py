"""Steps that break something."""

import asyncio
from collections import Counter
from contextlib import nullcontext
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition
from tests.distributed.histories.receiving import Receiving
from tests.distributed.histories.sending import MEANWHILE, PEERS, Meanwhile
from tests.distributed.histories.story import step
from tests.engine.histories import CHANNELS

__all__ = ["FAULTS", "Breaking"]

FAULTS = {"silence", "cut", "delay", "hang", "give up", "kill", "fail over"}
"""What can be broken."""

_LATE = st.sampled_from([0.0, 0.001, 0.003])
# Seconds until connections are cut while messages are sent.
_SOON = 0.001


class Breaking(Receiving):
    """See the module.

    No step has a precondition that hangs on the time at which something comes: what is drawn would hang on it too, and
    Hypothesis takes that for a fault of the test.

    Attributes:
        broken: how often each of `FAULTS` was done, in all histories.
    """

    broken: ClassVar[Counter[str]] = Counter()

    # Notifications

    @step(at=PEERS, meanwhile=MEANWHILE)
    def silence(self, at: int, meanwhile: Meanwhile) -> None:
        """A process's connections for notifications bring nothing any more."""
        self.broken["silence"] += 1
        self.peers[at].bench.store.silence()
        self.run_now(self.sending(meanwhile))

    @step(at=PEERS)
    def resume(self, at: int) -> None:
        """They bring all that has come, and bring on."""
        self.peers[at].bench.store.resume()

    @step(at=PEERS, meanwhile=MEANWHILE, for_long=st.booleans())
    def cut(self, at: int, meanwhile: Meanwhile, *, for_long: bool) -> None:
        """They are cut, with all that they had not brought, while messages are sent; others come at once, or later."""
        store = self.peers[at].bench.store

        async def cutting() -> None:
            await asyncio.sleep(_SOON)
            store.cut()

        self.broken["cut"] += 1
        with store.unreached() if for_long else nullcontext():
            self.run_both(cutting(), self.sending(meanwhile))

    @step(at=PEERS, notifications=_LATE, answers=_LATE)
    def delay(self, at: int, notifications: float, answers: float) -> None:
        """What comes for a process comes later from now on."""
        self.broken["delay"] += bool(notifications or answers)
        self.peers[at].bench.store.notifications_late = notifications
        self.peers[at].bench.store.answers_late = answers

    # Processes

    @step(at=PEERS, meanwhile=MEANWHILE, given_up=st.booleans())
    def hang(self, at: int, meanwhile: Meanwhile, *, given_up: bool) -> None:
        """A process does nothing, for now, and the other one may take it for dead."""
        if not self.peers[1 - at].hangs:
            self.broken["hang"] += 1
            self.peers[at].bench.store.hang()
            self.run_now(self.sending(meanwhile))
            if given_up:
                self.give_up(at=at)

    @step(at=PEERS)
    def give_up(self, at: int) -> None:
        """The other one takes a process that hangs for dead."""
        if self.peers[at].hangs:
            self.broken["give up"] += 1
            self.reap(self.peers[1 - at], self.peers[at])

    @step(at=PEERS)
    def wake(self, at: int) -> None:
        """A process that hangs goes on."""
        self.wake_up(self.peers[at])

    @step(at=PEERS, meanwhile=MEANWHILE)
    def kill(self, at: int, meanwhile: Meanwhile) -> None:
        """A process is gone without a word, while the other one sends; a new one takes its place."""
        self.broken["kill"] += 1
        peer, (mix, _) = self.peers[at], meanwhile
        self.run_both(peer.bench.kill(), self.sending((mix, 1 - at)))
        peer.late.clear()
        self.dead.append(peer)
        self.peers[at] = self.run_now(self.open_peer())
        self.fronts[at] = self.new_front(at)

    @step(at=PEERS)
    def find_dead(self, at: int) -> None:
        """A process finds those dead that were killed."""
        self.reap_dead(self.at(at))

    # The store

    @precondition(lambda self: self.failovers > 0)
    @step(channel=CHANNELS, at=PEERS)
    def fail_over(self, channel: str, at: int) -> None:
        """The store fails over, while messages are published."""
        self.broken["fail over"] += 1
        self.failovers -= 1
        publishing = self.publishing(channel, 2, "", self.at(at).site)
        self.run_both(asyncio.to_thread(self.store.fail_over), publishing)
