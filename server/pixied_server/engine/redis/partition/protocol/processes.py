"""Processes, and what a partition is: see `scripts/processes.lua`."""

from collections.abc import Sequence

from pixied_server.engine.redis.partition.protocol.answers import Answer, Asker, nothing, number, texts

__all__ = ["ProcessesProtocol"]


class ProcessesProtocol(Asker):
    """What a partition can be asked about processes."""

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
        """Say that this process lives, and which kinds of events it wants.

        Returns:
            Who has not said so for so many seconds, which kinds others want, and whether this process was given up.
        """
        return self._ask(
            lambda result: (texts(result[1]), int(result[2]), bool(result[3])), "beat", repr(dead_after), wanted
        )

    def processes(self) -> Answer[list[str]]:
        """All processes."""
        return self._ask(lambda result: texts(result[1]), "processes")

    def leave(self, process: str) -> Answer[None]:
        """A process is gone."""
        return self._ask(nothing, "leave", process)

    def lease(self, milliseconds: int) -> Answer[bool]:
        """Take or prolong the lease. Returns whether this process has it."""
        return self._ask(lambda result: bool(result[1]), "lease", milliseconds)

    def first_cursor(self) -> Answer[int]:
        """The number from which this process counts cursors."""
        return self._ask(number, "first_cursor")

    def head(self) -> Answer[int]:
        """The sequence of the youngest message."""
        return self._ask(number, "head")

    def layout(self, version: int, partitions: int) -> Answer[tuple[str, int]]:
        """The layout's version and number of partitions; these where the partition is new."""
        return self._ask(lambda result: (result[1].decode(), int(result[2] or 0)), "layout", version, partitions)

    def remind(self, version: int, partitions: int) -> Answer[None]:
        """Tell a partition that has lost everything what it was."""
        return self._ask(nothing, "remind", version, partitions)
