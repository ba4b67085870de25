"""The clients of a link that are behind: each reads its logs, a little at a time, until it is live.

A client that has read everything up to the hub's head joins the link's audiences with that progress, in the same turn
of the event loop. From the moment a read begins its patterns are expected there, so that what is published meanwhile
is not passed over.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from pixied_server.delivery.attachment import Attachment
from pixied_server.delivery.audience import Audiences
from pixied_server.delivery.events import Batch, Lost
from pixied_server.engine.abc import Engine, Reading
from pixied_server.errors import EngineUnavailable

__all__ = ["CatchUp", "Pause"]

# How many clients catch up before others get a turn.
_SLICE = 500
# How many of them read together, and the part of them that does where messages are too large for that.
_AT_ONCE = 200
_FEWER = 4
# What one of them reads at a time: all share a delivery.
_MESSAGES = 1_000
_BYTES = 100_000
# Seconds until the next read where a store did not answer.
_PAUSE = 0.1


class Pause:
    """A moment without reads, after the store did not answer.

    Args:
        over: set when it ends.
    """

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return self._timer is not None

    def begin(self) -> None:
        """Begin it, or stay in it."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self._end)

    def _end(self) -> None:
        self._timer = None
        self._over.set()


class CatchUp:
    """See the module.

    Args:
        engine: the engine.
        audiences: the link's audiences, which clients join when they are live.
        pause: begun when the store does not answer.
    """

    def __init__(self, engine: Engine, audiences: Audiences, pause: Pause) -> None:
        self._engine = engine
        self._audiences = audiences
        self._pause = pause
        # In the order in which they are served.
        self._behind: OrderedDict[Attachment, None] = OrderedDict()
        # Those that a read is under way for.
        self._reading: set[Attachment] = set()
        # For how many is read together: fewer, while messages are large.
        self._at_once = _AT_ONCE

    def __bool__(self) -> bool:
        return bool(self._behind)

    def add(self, attachment: Attachment) -> None:
        """Add a client that is behind. If a read is under way for it, another one follows."""
        self._behind[attachment] = None

    def discard(self, attachment: Attachment) -> None:
        """Drop a client that is no longer on the link."""
        self._behind.pop(attachment, None)
        self._reading.discard(attachment)

    async def read(self, batches: list[Batch], losses: list[Lost], number: int, room: int) -> int:
        """Read for the clients that are behind, each a little.

        Args:
            batches: gets the messages.
            losses: gets what the logs have lost of them.
            number: of the delivery that they go out with.
            room: about how many bytes it still takes.

        Returns:
            How many bytes the messages take.
        """
        taken = 0
        left = min(len(self._behind), _SLICE)
        while left > 0 and taken < room and self._behind and not self._pause:
            readings = await self._read_for(list(islice(self._behind, min(self._at_once, left))), room - taken)
            left -= len(readings)
            for attachment, reading in readings:
                losses += [Lost((attachment.handle,), loss.pattern, loss.count) for loss in reading.losses]
                batches += attachment.caught(reading, number)
                taken += sum(entry.message.size for entry in reading.entries)
                if reading.done and attachment not in self._behind:
                    for pattern in attachment.claim.patterns():
                        self._audiences.add(pattern, attachment.handle, reading.upto)
                    attachment.join(reading.upto)
                else:
                    self._behind[attachment] = None
        return taken

    async def _read_for(self, group: Sequence[Attachment], room: int) -> list[tuple[Attachment, Reading]]:
        """Read for clients, as much as there is room for. Those whose messages are too large to share it come next."""
        patterns = []
        for attachment in group:
            del self._behind[attachment]
            self._reading.add(attachment)
            patterns.append(attachment.claim.patterns())
            for pattern in patterns[-1]:
                self._audiences.expect(pattern, attachment.handle)
        size = min(_BYTES, room // len(group) + 1)
        # For several clients at once, each message has to fit: they would come to many times the room.
        least = 1 if len(group) == 1 else 0
        outcomes = await self._engine.together(
            attachment.claim.read(messages=_MESSAGES, size=size, least=least) for attachment in group
        )
        readings, large = [], []
        for attachment, before, outcome in zip(group, patterns, outcomes, strict=True):
            if not isinstance(outcome, Reading | EngineUnavailable):
                raise outcome
            if attachment not in self._reading:
                # It left: its next owner does not know of this reading, and reads again.
                continue
            self._reading.discard(attachment)
            if isinstance(outcome, EngineUnavailable):
                self._behind[attachment] = None
                self._pause.begin()
                continue
            if outcome.large and not least:
                large.append(attachment)
            if least or not outcome.large or outcome.entries or outcome.losses:
                readings.append((attachment, _still_wanted(outcome, before, attachment.claim.patterns())))
        for attachment in reversed(large):
            self._behind[attachment] = None
            self._behind.move_to_end(attachment, last=False)
        self._at_once = max(1, len(group) // _FEWER) if large else min(_AT_ONCE, 2 * self._at_once)
        return readings


def _still_wanted(reading: Reading, before: Sequence[str], now: Sequence[str]) -> Reading:
    """What was read for a client, without what it has unsubscribed from meanwhile."""
    if now != before:
        others = set(now)
        for pattern in before:
            if pattern not in others:
                reading = reading.without(pattern, others)
    return reading
