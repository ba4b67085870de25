"""CometD's extensions that a server takes part in.

Others need nothing here. Acknowledged messages are built in: a client that has them gets them. Reload is a new connect
with an old client id, from whichever page: it is simply held. Binary data travels as text that only clients read.
"""

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from typing import Final, TypeGuard

from pixied_client.bayeux.extension import Extension
from pixied_client.bayeux.message import BayeuxMessage, Json
from pixied_client.bayeux.request import Request

__all__ = ["TimeStamp", "TimeSync"]

_ACCURATE: Final = 25
"""Milliseconds: a client whose clock is known as well as this does not get the time again."""
_EXACT: Final = 2**53


class TimeSync(Extension):
    """Sends clients the server's time with the replies to their handshakes and connects.

    Args:
        clock: the time in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def incoming(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        """Note when a message came."""
        del request
        asked = message.ext.get("timesync")
        if message.channel.startswith("/meta/") and isinstance(asked, dict):
            message.extend("timesync", {**asked, "ts": self._now()})
        return message

    async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        """Answer it."""
        del request
        asked = message.answers.ext.get("timesync") if message.answers else None
        if isinstance(asked, dict) and (answer := self._answer(asked)):
            message.extend("timesync", answer)
        return message

    def _answer(self, asked: dict[str, Json]) -> dict[str, Json] | None:
        sent_at, came_at = asked.get("tc"), asked.get("ts")
        if not _is_number(sent_at) or not _is_number(came_at):
            return None
        answer = {"tc": sent_at, "ts": came_at, "p": self._now() - came_at}
        lag, offset = asked.get("l"), asked.get("o")
        if not _is_number(lag) or not _is_number(offset):
            return answer
        accuracy = round(sent_at + offset + lag - came_at)
        return {**answer, "a": accuracy} if lag == 0 or abs(accuracy) >= _ACCURATE else None

    def _now(self) -> int:
        return round(1_000 * self._clock())


class TimeStamp(Extension):
    """Puts the time into all replies and delivered messages that have none: `timestamp`, as HTTP writes it.

    Args:
        clock: the time as an aware datetime in UTC.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        """Add the time."""
        del request
        if "timestamp" not in message:
            message["timestamp"] = format_datetime(self._clock(), usegmt=True)
        return message


def _is_number(value: Json) -> TypeGuard[int | float]:
    """Return whether it is a number of milliseconds that makes sense: one that JavaScript counts exactly."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _EXACT
