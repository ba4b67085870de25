"""Events, and how processes share them: only those of kinds that a watcher wants."""

import asyncio
import json
from dataclasses import asdict
from typing import Any

from pixied_server.engine.abc import Event, EventKind
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.requests import Requests

__all__ = ["Events"]

# How many go in one call.
_SLICE = 500


class Events:
    """The events that watchers see, here and in other processes.

    Args:
        process: this process.
        requests: asks other processes.

    Attributes:
        others: the kinds that other processes want, one bit each.
    """

    def __init__(self, process: Process, requests: Requests) -> None:
        self.others = 0
        self._process = process
        self._requests = requests
        self._waiting: list[str] = []

    @property
    def own(self) -> int:
        """The kinds that are wanted here, one bit each."""
        return sum(_BITS[kind] for kind in self._process.listener.wanted)

    def watched(self, kind: EventKind) -> bool:
        """Return whether any watcher wants events of this kind."""
        wanted = self._process.listener.wanted
        return bool(wanted and kind in wanted) or bool(self.others and self.others & _BITS[kind])

    def show_if_watched(
        self, kind: EventKind, at: float, *, client_id: str = "", channel: str = "", reason: str = ""
    ) -> None:
        """Make an event and show it, if any watcher wants its kind."""
        if self.watched(kind):
            self.show(Event(kind, at, client_id=client_id, channel=channel, reason=reason))

    def show(self, event: Event) -> None:
        """Show an event to all watchers."""
        self._process.listener.happened(event)
        if self.others & _BITS[event.kind]:
            if not self._waiting:
                self._process.spawn(self._send())
            self._waiting.append(_encoded(event))

    async def _send(self) -> None:
        await asyncio.sleep(0)
        events, self._waiting = self._waiting, []
        for begin in range(0, len(events), _SLICE):
            some = events[begin : begin + _SLICE]
            await self._process.partitions[0].events(self._process.name, some)

    async def ask_for(self) -> None:
        """Ask all live processes for the kinds that are wanted here. They send them once this returns."""
        others = set(await self._process.partitions[0].processes()) - {self._process.name}
        await asyncio.gather(*[self._requests.ask(process, "W", str(self.own)) for process in others])

    def on_watched(self, process: str, name: str, kinds: str) -> None:
        """Send events of these kinds to a process where a watcher begins."""
        self.others |= int(kinds)
        self._process.spawn(self._requests.answer(process, name))

    def on_event(self, process: str, text: str) -> None:
        """Show an event of another process."""
        if process != self._process.name:
            self._process.listener.happened(_decoded(text))


_BITS = {kind: 1 << kind.value for kind in EventKind}


def _encoded(event: Event) -> str:
    """Encode an event as text, without its empty fields."""
    fields: dict[str, Any] = {name: value for name, value in asdict(event).items() if value or name == "at"}
    return json.dumps({**fields, "kind": event.kind.name})


def _decoded(text: str) -> Event:
    fields = json.loads(text)
    return Event(**{**fields, "kind": EventKind[fields["kind"]]})
