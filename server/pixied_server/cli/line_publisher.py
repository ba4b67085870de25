"""Many messages at once: lines are sent in batches, and every one of them is accounted for."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import grpc

from pixied_client import Message, PixiedError, PublishResult, RateLimited
from pixied_server.cli.json_lines import LineError, parse_line

__all__ = ["Line", "LinePublisher", "batches"]

BATCH_ITEMS = 500
"""Messages in one call: half of what a server takes by default."""

BATCH_BYTES = 1_000_000
"""What one call holds unless a single line is larger; far below what a server takes by default."""

RATE_PAUSE = 0.5
"""Seconds to wait when the server says that it was too much, but not for how long."""

_REFUSALS = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED})
"""What a server says of a message, in contrast to what it says of itself."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input.

    Args:
        number: Counted from 1.
        size: Its length in bytes, with its line break.
        message: What it says; an error if that is no message, None if it is empty.
    """

    number: int
    size: int
    message: Message | LineError | None


def batches(arriving: Iterable[Sequence[bytes]]) -> Iterator[list[Line]]:
    """Takes lines apart as they arrive, into batches that fit into one call."""
    number = 0
    for raw in arriving:
        for batch in _divided(raw):
            yield [Line(number + index, len(text) + 1, _parse(text)) for index, text in enumerate(batch, start=1)]
            number += len(batch)


def _divided(raw: Sequence[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for text in raw:
        if batch and (len(batch) == BATCH_ITEMS or size + len(text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


def _parse(raw: bytes) -> Message | LineError | None:
    try:
        text = raw.decode().strip()
        return parse_line(text) if text else None
    except UnicodeDecodeError as error:
        return LineError(f"it is not UTF-8: {error}")
    except LineError as error:
        return error


@dataclass(frozen=True, slots=True)
class _Done:
    lines: int = 0
    published: int = 0
    matched: int = 0
    refused: int = 0


@dataclass
class LinePublisher:
    """Publishes lines and counts what became of them.

    Args:
        publish: Publishes all or, raising PixiedError, none.
        report: Called with the number of each line that was refused, and why.
        pause: Waits so many seconds.
    """

    publish: Callable[[Sequence[Message]], Sequence[PublishResult]]
    report: Callable[[int, str], None]
    pause: Callable[[float], None] = time.sleep
    _done: _Done = field(default=_Done(), init=False)

    @property
    def lines(self) -> int:
        """How many lines are done with."""
        return self._done.lines

    @property
    def published(self) -> int:
        """How many of them were published."""
        return self._done.published

    @property
    def matched(self) -> int:
        """How many subscriptions they matched."""
        return self._done.matched

    @property
    def refused(self) -> int:
        """How many of the lines were refused."""
        return self._done.refused

    def send(self, batch: Sequence[Line]) -> None:
        """Publishes a batch in order; what can't be published is reported and counted.

        Raises:
            PixiedError: The server can't go on, and no line is to blame.
        """
        for good, run in groupby(batch, key=lambda line: isinstance(line.message, Message)):
            lines = list(run)
            if good:
                self._publish(lines)
            for line in lines:
                if isinstance(line.message, LineError):
                    self._refuse(line, line.message)
            self._note(lines[-1])

    def _note(self, last: Line, *, published: int = 0, matched: int = 0, refused: int = 0) -> None:
        # All at once: Ctrl-C may come at any moment, and tells what is done.
        done = self._done
        self._done = _Done(last.number, done.published + published, done.matched + matched, done.refused + refused)

    def _publish(self, lines: Sequence[Line]) -> None:
        try:
            results = self.publish([line.message for line in lines if isinstance(line.message, Message)])
        except PixiedError as error:
            if error.code not in _REFUSALS:
                raise
            self._divide(lines, error)
        else:
            matched = sum(result.matched_subscriptions for result in results)
            self._note(lines[-1], published=len(results), matched=matched)

    def _divide(self, lines: Sequence[Line], error: PixiedError) -> None:
        """Halves a refused batch, which did nothing, until the lines that are to blame stand alone."""
        if isinstance(error, RateLimited):
            self.pause(error.retry_after or RATE_PAUSE)
        elif len(lines) == 1:
            self._refuse(lines[0], error)
            return
        middle = (len(lines) + 1) // 2
        for half in (lines[:middle], lines[middle:]):
            if half:
                self._publish(half)

    def _refuse(self, line: Line, reason: Exception) -> None:
        self._note(line, refused=1)
        self.report(line.number, str(reason))
