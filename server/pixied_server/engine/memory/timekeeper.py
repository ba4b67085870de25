"""What time demands of the memory engine: ending sessions, and taking away old messages."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from math import inf

from pixied_server.core.deadlines import Deadlines
from pixied_server.core.turns import Turns
from pixied_server.engine.memory.session import Session

__all__ = ["Timekeeper"]

# The deadlines of sessions that ended before them are forgotten when they are so many, and half of all: so many are
# looked at for each further session that ends.
_ENDED = 1_000
_STEPS = 8
# How often old messages are looked for, in seconds. Nothing depends on its precision.
_SWEEP = 1.0


class Timekeeper:
    """Notes the deadlines of sessions, and sees to what is due.

    Args:
        clock: tells the time, in seconds.
        sessions: those that are alive, by client id.
        due: is called with a session whose noted deadline has come, and the time. It may have been prolonged since.
        sweep: is called with the time about once a second, and does one thing in each of its steps.
        turns: tells when others are to go on: a million sessions that end at once stop nobody else.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sessions: Mapping[str, Session],
        due: Callable[[Session, float], None],
        sweep: Callable[[float], Iterator[None]],
        turns: Turns,
    ) -> None:
        self._now = clock
        self._sessions = sessions
        self._due = due
        self._sweep = sweep
        self._turns = turns
        # The sweep that is under way.
        self._sweeping: Iterator[None] | None = None
        # Of client ids: a session that has ended is not kept for its deadline's sake.
        self._deadlines: Deadlines[str] = Deadlines()
        # How many of them have ended, and their being forgotten, if that is under way.
        self._ended = 0
        self._forgetting: Iterator[None] | None = None
        self._earlier = asyncio.Event()
        self._asleep_until = inf
        self._swept_at = -inf

    def schedule(self, session: Session) -> None:
        """Note a session's deadline, unless an earlier one of it is noted: then that one leads to it."""
        if session.scheduled:
            return
        session.scheduled = True
        self._deadlines.put(session.client_id, session.deadline)
        if session.deadline < self._asleep_until:
            self._asleep_until = session.deadline
            self._earlier.set()

    def ended(self, session: Session) -> None:
        """A session is over: its deadline means nothing any more."""
        if not session.scheduled:
            return
        self._ended += 1
        if self._forgetting is None and self._ended > _ENDED and 2 * self._ended > len(self._deadlines):
            self._forgetting = self._deadlines.keep(self._lives)
        if self._forgetting is not None and _is_over(self._forgetting, _STEPS):
            self._forgetting = None

    def _lives(self, client_id: str) -> bool:
        lives = client_id in self._sessions
        self._ended -= not lives
        return lives

    async def run(self) -> None:
        """See to everything when it is due, until cancelled."""
        while True:
            if self.tick():
                await self._turns.give()
            else:
                await self._sleep()

    def tick(self) -> bool:
        """See to what is due at this moment, until the turn is over. Returns whether more is due."""
        now = self._now()
        while due := self._deadlines.pop(now, 1):
            self._see_to(due[0], now)
            if self._turns.over:
                return True
        return self._sweep_on(now)

    def _see_to(self, client_id: str, now: float) -> None:
        session = self._sessions.get(client_id)
        if session is None:
            self._ended -= 1
        else:
            session.scheduled = False
            self._due(session, now)

    def _sweep_on(self, now: float) -> bool:
        """Sweep, or go on with it. Returns whether there is more to do."""
        if self._sweeping is None:
            if now < self._swept_at + _SWEEP:
                return False
            self._sweeping = self._sweep(now)
            self._swept_at = now
        if any(self._turns.over for _ in self._sweeping):
            return True
        self._sweeping = None
        return False

    async def _sleep(self) -> None:
        """Sleep until something is due, or an earlier deadline is noted."""
        self._asleep_until = min(self._deadlines.next() or inf, self._swept_at + _SWEEP)
        self._earlier.clear()
        try:
            await asyncio.wait_for(self._earlier.wait(), self._asleep_until - self._now())
        except TimeoutError:
            return


def _is_over(work: Iterator[None], steps: int) -> bool:
    """Do so many steps. Returns whether there was one too few."""
    return len(list(islice(work, steps))) < steps
