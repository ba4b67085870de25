"""Processes, and the state of a partition: see `scripts/processes.lua`."""

from collections.abc import Sequence

from pixied_server.engine.redis.partition.protocol.answers import Answer, Asker, nothing, number, texts

__all__ = ["ProcessesProtocol"]


class ProcessesProtocol(Asker):
    """A partition's operations on processes."""

    def barrier(self, name: str, logs: Sequence[str]) -> Answer[list[int]]:
        """Send this process a barrier. Returns the offset of each log's last message; -1 for no log."""
        return self._ask(lambda result: list(map(int, result[1])), "barrier", name, len(logs), *logs)

    def notify(self, process: str, text: str) -> Answer[int]:
        """Notify a process. Returns how many receive it."""
        return self._ask(number, "notify", process, text)

    def events(self, process: str, events: Sequence[str]) -> Answer[None]:
        """Show events of this process to watchers."""
        return self._ask(nothing, "events", len(events), process, *events)

    def beat(self, dead_after: float, wanted: int) -> Answer[tuple[list[str], int, bool]]:
        """Note that this process lives, and which kinds of events it wants.

        Returns:
            Processes without a beat for so many seconds, the kinds that others want, whether this process was unknown.
        """
        return self._ask(
            lambda result: (texts(result[1]), int(result[2]), bool(result[3])), "beat", repr(dead_after), wanted
        )

    def processes(self) -> Answer[list[str]]:
        """Return all processes."""
        return self._ask(lambda result: texts(result[1]), "processes")

    def leave(self, process: str) -> Answer[None]:
        """Forget a process that is gone."""
        return self._ask(nothing, "leave", process)

    def lease(self, milliseconds: int) -> Answer[bool]:
        """Take or prolong the lease. Returns whether this process has it."""
        return self._ask(lambda result: bool(result[1]), "lease", milliseconds)

    def first_cursor(self) -> Answer[int]:
        """Return the number from which this process counts cursors."""
        return self._ask(number, "first_cursor")

    def head(self) -> Answer[int]:
        """Return the sequence of the youngest message."""
        return self._ask(number, "head")

    def layout(self, version: int, partitions: int) -> Answer[tuple[str, int]]:
        """Return the layout's version and number of partitions; a new partition takes these."""
        return self._ask(lambda result: (result[1].decode(), int(result[2] or 0)), "layout", version, partitions)

    def remind(self, version: int, partitions: int) -> Answer[None]:
        """Write the layout again to a partition that has lost everything."""
        return self._ask(nothing, "remind", version, partitions)
