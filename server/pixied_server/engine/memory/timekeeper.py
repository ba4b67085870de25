"""What time demands of the memory engine: ending sessions, and taking away old messages."""

import asyncio
from collections.abc import Callable, Mapping
from math import inf

from pixied_server.core.deadlines import Deadlines
from pixied_server.engine.memory.session import Session

__all__ = ["Timekeeper"]

# One slice of the work, so that a million sessions that end at once do not stop everyone else.
_SLICE = 500
# The deadlines of sessions that ended before them are forgotten when they are so many, and half of all.
_ENDED = 1_000
# How often old messages are looked for, in seconds. Nothing depends on its precision.
_SWEEP = 1.0


class Timekeeper:
    """Notes the deadlines of sessions, and sees to what is due.

    Args:
        clock: tells the time, in seconds.
        sessions: those that are alive, by client id.
        due: is called with a session whose noted deadline has come, and the time. It may have been prolonged since.
        sweep: is called with the time about once a second.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sessions: Mapping[str, Session],
        due: Callable[[Session, float], None],
        sweep: Callable[[float], None],
    ) -> None:
        self._now = clock
        self._sessions = sessions
        self._due = due
        self._sweep = sweep
        # Of client ids: a session that has ended is not kept for its deadline's sake.
        self._deadlines: Deadlines[str] = Deadlines()
        self._ended = 0
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
        if self._ended > _ENDED and 2 * self._ended > len(self._deadlines):
            self._deadlines.keep(self._sessions.__contains__)
            self._ended = 0

    async def run(self) -> None:
        """See to everything when it is due, until cancelled."""
        while True:
            if self.tick():
                await asyncio.sleep(0)
            else:
                await self._sleep()

    def tick(self) -> bool:
        """See to what is due at this moment, or a slice of it. Returns whether more is due."""
        now = self._now()
        if now >= self._swept_at + _SWEEP:
            self._sweep(now)
            self._swept_at = now
        due = self._deadlines.pop(now, _SLICE)
        for client_id in due:
            session = self._sessions.get(client_id)
            if session is None:
                self._ended -= 1
            else:
                session.scheduled = False
                self._due(session, now)
        return len(due) == _SLICE

    async def _sleep(self) -> None:
        """Sleep until something is due, or an earlier deadline is noted."""
        self._asleep_until = min(self._deadlines.next() or inf, self._swept_at + _SWEEP)
        self._earlier.clear()
        try:
            await asyncio.wait_for(self._earlier.wait(), self._asleep_until - self._now())
        except TimeoutError:
            return
