"""Events, and how processes tell each other of them."""

import asyncio
import json
from dataclasses import asdict
from typing import Any

from pixied_server.engine.abc import Event, EventKind
from pixied_server.engine.redis.process import Process

__all__ = ["Events"]

# So many go in one call.
_SLICE = 500


class Events:
    """What watchers are shown, here and in other processes.

    Args:
        process: this process.

    Attributes:
        watched: whether anyone watches in another process.
    """

    def __init__(self, process: Process) -> None:
        self.watched = False
        self._process = process
        self._waiting: list[str] = []

    @property
    def wanted(self) -> bool:
        """Whether anyone watches."""
        return self.watched or self._process.listener.watching

    def tell(self, kind: EventKind, at: float, *, client_id: str = "", channel: str = "", reason: str = "") -> None:
        """Something happened."""
        if self.wanted:
            self.show(Event(kind, at, client_id=client_id, channel=channel, reason=reason))

    def show(self, event: Event) -> None:
        """Show an event to all who watch."""
        self._process.listener.happened(event)
        if self.watched:
            if not self._waiting:
                self._process.spawn(self._send())
            self._waiting.append(_encoded(event))

    async def _send(self) -> None:
        await asyncio.sleep(0)
        events, self._waiting = self._waiting, []
        for begin in range(0, len(events), _SLICE):
            some = events[begin : begin + _SLICE]
            await self._process.partitions[0].do("events", len(some), self._process.name, *some)

    async def ask_for(self) -> None:
        """Someone begins to watch here: tell it to all processes."""
        _, processes = await self._process.partitions[0].do("processes")
        await asyncio.gather(*[self._process.partitions[0].do("tell", process, "W\n1") for process in processes])

    def hear_watched(self, watched: str) -> None:
        """Another process has watchers."""
        self.watched = watched == "1"

    def hear(self, process: str, text: str) -> None:
        """Something happened in a process."""
        if process != self._process.name:
            self._process.listener.happened(_decoded(text))


def _encoded(event: Event) -> str:
    """An event as a text; what is empty is left out."""
    fields: dict[str, Any] = {name: value for name, value in asdict(event).items() if value or name == "at"}
    return json.dumps({**fields, "kind": event.kind.name})


def _decoded(text: str) -> Event:
    fields = json.loads(text)
    return Event(**{**fields, "kind": EventKind[fields["kind"]]})
